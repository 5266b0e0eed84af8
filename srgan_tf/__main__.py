"""`python -m srgan_tf` is `srgan`."""

from srgan_tf.cli import main

main()
