"""A stand-in for Colab's own package: put tests/fake_colab on PYTHONPATH."""
