import importlib.util
import subprocess
import sys

TAG, REPOSITORY = "v0.2.0", "https://github.com/srgan-tf/srgan_tf"
find = importlib.util.find_spec
# A folder of that name, as a clone is, has no origin and is not the package.
there = getattr(find("srgan_tf"), "origin", None)
if find("google") and find("google.colab") and not there:
    # No dependencies: Colab has them, and its TensorFlow and Keras fit its GPU.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, f"git+{REPOSITORY}@{TAG}"], check=True)

from srgan_tf import colab  # noqa: E402

ROOT = colab.root()
print(colab.hardware())
