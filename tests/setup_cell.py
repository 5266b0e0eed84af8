import importlib.util
import subprocess
import sys

TAG, REPOSITORY = "v0.1.0", "https://github.com/srgan-tf/srgan_tf"
find = importlib.util.find_spec
if find("google") and find("google.colab") and not find("srgan_tf"):
    # No dependencies: Colab has them, and its TensorFlow and Keras fit its GPU.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, f"git+{REPOSITORY}@{TAG}"], check=True)

from srgan_tf import colab  # noqa: E402

ROOT = colab.root()
print(colab.hardware())
