import importlib.util
import subprocess
import sys

# The library: a fork's address and tag, or the folder of a clone, on Drive perhaps.
SOURCE = "git+https://github.com/srgan-tf/srgan_tf@v0.2.0"  # @param {type: "string"}
WITHOUT_DRIVE = False  # @param {type: "boolean"}
find = importlib.util.find_spec
# A folder of that name, as a clone is, has no origin and is not the package.
there = getattr(find("srgan_tf"), "origin", None)
if find("google") and find("google.colab") and not there:
    # No dependencies: Colab has them, and its TensorFlow and Keras fit its GPU.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", SOURCE]
    if subprocess.run(pip).returncode:
        advice = "Open its address in a browser, correct SOURCE, run this cell again."
        sys.exit(f"{SOURCE} could not be installed.\n{advice}")

from srgan_tf import colab  # noqa: E402

colab.choose_backend()
ROOT = colab.root(without_drive=WITHOUT_DRIVE)
print(colab.hardware())
