"""Fréchet distance: ours against the scipy.linalg.sqrtm form, on one set of features.

    python benchmarks/frechet_distance.py [IMAGES [DIMENSIONS]]     (default 500 2048)

Prints seconds and value of both, and the ratio of the times. About half a minute.
"""

import sys
import time

import numpy as np
import scipy.linalg

from srgan_tf import metrics


def sqrtm_form(a, b):
    """The distance as pytorch-fid and TensorFlow-GAN compute it, from covariances."""
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(one @ other).real
    return np.square(a.mean(0) - b.mean(0)).sum() + np.trace(one + other - 2 * root)


def timed(function, *arguments):
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def main():
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    dimensions = int(sys.argv[2]) if len(sys.argv) > 2 else 2048
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, dimensions + 1) ** -0.5
    a = rng.normal(size=(images, dimensions)) * spectrum
    b = a + 0.3 * rng.normal(size=(images, dimensions)) * spectrum + 0.01
    metrics.frechet_distance(a[:9], b[:9])  # loads LAPACK outside the measurement

    ours, our_seconds = timed(metrics.frechet_distance, a, b)
    theirs, their_seconds = timed(sqrtm_form, a, b)
    print(f"{images} images, {dimensions} dimensions")
    print(f"srgan_tf            {our_seconds:8.3f} s   {ours:.9f}")
    print(f"scipy.linalg.sqrtm  {their_seconds:8.3f} s   {theirs:.9f}")
    print(f"ratio               {their_seconds / our_seconds:8.1f}")


if __name__ == "__main__":
    main()
