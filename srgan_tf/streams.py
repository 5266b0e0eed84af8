"""Random numbers as a function of what they are for: there is no state to save.

Step N draws the same numbers whatever happened before it. The first word of a key is
the number of a stream, so that no two uses share numbers. Within a stream all keys have
the same length, because NumPy pads short keys with zeros.
"""

import numpy as np

SPLIT, ORDER, PATCH, LABELS, SELECTION, BOOTSTRAP, FEATURES = range(1, 8)


def rng(stream, *key):
    """A NumPy random generator for a stream and a key of non-negative integers."""
    return np.random.Generator(np.random.PCG64([stream, *key]))
