"""PSNR, SSIM, Fréchet distance, KID and their bootstrap: pure functions on arrays."""

import numpy as np
import scipy.linalg
import scipy.ndimage

from srgan_tf import UserError, pixels, streams

PEAK, WINDOW, SIGMA, K1, K2 = 255.0, 11, 1.5, 0.01, 0.03  # Wang et al. 2004
BLOCK = 512  # rows at a time: bounds the memory of SSIM and of KID


def psnr(a, b, border=0, luma=False):
    """Peak signal-to-noise ratio of two images, in dB; inf where they are identical.

    a, b: [height, width, 3] RGB or [height, width], 0-255, integer or float.
    border: pixels left out at each border; the papers leave out the scale, 4.
    luma: compare Y (pixels.luma) of RGB, of integers rounded to 8 bits as in the papers
    (up to 0.1 dB). A grey image [height, width] is its own Y: as RGB it gains 1.3 dB.
    Raises UserError for other ranges or shapes, or if the border leaves too little.
    """
    a, b = _comparable(a, b, border, luma, smallest=1)
    error = np.mean(np.square(np.subtract(a, b, dtype=np.float64)))
    return float(10 * np.log10(PEAK**2 / error)) if error else float("inf")


def ssim(a, b, border=0, luma=False):
    """Structural similarity of two images, at most 1: mean over pixels and channels.

    Arguments as for `psnr`. Valid region, population variance: Wang et al. 2004, eq. 13
    """
    a, b = _comparable(a, b, border, luma, smallest=WINDOW)
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    total = count = 0
    for top in range(0, len(a) - WINDOW + 1, BLOCK):
        rows = slice(top, top + BLOCK + WINDOW - 1)
        x, y = a[rows].astype(np.float64), b[rows].astype(np.float64)
        mean_x, mean_y = _blur(x), _blur(y)
        means, product = mean_x**2 + mean_y**2, mean_x * mean_y
        variances = _blur(x * x + y * y) - means  # of x and of y, summed
        covariance = _blur(x * y) - product
        luminance = (2 * product + c1) / (means + c1)
        similarity = luminance * (2 * covariance + c2) / (variances + c2)
        total, count = total + similarity.sum(), count + similarity.size
    return float(total / count)


def _blur(image):
    half = WINDOW // 2
    window = np.exp(-0.5 * (np.arange(-half, half + 1) / SIGMA) ** 2)
    window /= window.sum()
    rows = scipy.ndimage.correlate1d(image, window, axis=0)[half:-half]
    return scipy.ndimage.correlate1d(rows, window, axis=1)[:, half:-half]


def _comparable(a, b, border, luma, smallest):
    """Both images, checked, without their borders and, if luma is true, as Y."""
    a, b = np.asarray(a), np.asarray(b)
    shaped = a.shape == b.shape and a.ndim > 1 and a.shape[2:] in ((), (3,))
    if not shaped or border < 0 or min(a.shape[:2]) < 2 * border + smallest:
        raise UserError(f"cannot compare {a.shape} and {b.shape} with border={border}")
    for image in (a, b):
        lowest, highest = image.min(), image.max()  # NaN, if there is one
        unit = image.dtype.kind == "f" and 0 < highest <= 1
        if unit or not (lowest >= 0 and highest <= PEAK):
            raise UserError(f"pixels must be 0 to 255, but are {lowest} to {highest}")
    inner = slice(border, a.shape[0] - border), slice(border, a.shape[1] - border)
    a, b = a[inner], b[inner]
    if luma and a.ndim == 3:
        rounded = np.rint if a.dtype.kind in "ui" and b.dtype.kind in "ui" else np.array
        a, b = rounded(pixels.luma(a)), rounded(pixels.luma(b))
    return a, b


def frechet_distance(features_a, features_b):
    """Fréchet distance between Gaussians fitted to two sets of features.

    features_a, features_b: float [images, dimensions], at least two images each.
    Returns a float >= 0, in squared feature units. Computed in float64; exact for any
    rank: trace((S1·S2)^½) is the sum of the singular values of F1·F2ᵀ, if S = Fᵀ·F.
    (Eigenvalues of S1^½·S2·S1^½ take as long but lose half the digits to squaring.)
    Raises UserError for other shapes, NaN and infinity. Heusel et al. 2017, eq. 6.
    """
    (mean_a, a), (mean_b, b) = map(_gaussian, _checked(features_a, features_b))
    root = scipy.linalg.svdvals(a @ b.T).sum()
    covariances = np.square(a).sum() + np.square(b).sum() - 2 * root
    return float(max(0.0, np.square(mean_a - mean_b).sum() + covariances))


def _gaussian(features):
    """Mean, and F of min(images, dimensions) rows where the covariance is Fᵀ·F."""
    mean = features.mean(axis=0)
    factor = (features - mean) / np.sqrt(len(features) - 1)
    if len(factor) > len(mean):
        (factor,) = scipy.linalg.qr(factor, overwrite_a=True, mode="r")
    return mean, factor[: len(mean)]


def _checked(a, b, paired=False):
    """Both sets of features, in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    alike = a.shape[1:] == b.shape[1:] and (len(a) == len(b) or not paired)
    if not alike or min(len(a), len(b)) < 2:
        raise UserError(f"features {a.shape} and {b.shape} cannot be compared")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UserError("features hold NaN or infinity: check the extractor's weights")
    return a, b


def kid(features_a, features_b, paired):
    """Kernel distance (squared MMD) of two sets of features; kernel (x·y / d + 1)³.

    Features and errors as for `frechet_distance`. Unbiased: it can be negative.
    paired: row i of both shows the same photograph. Then i against i is left out of all
    three means (the u-statistic of Gretton et al. 2012, eq. 4): 0 on identical sets.
    Else a against b keeps every pair (their eq. 3; Bińkowski et al. 2018).
    """
    once = [np.arange(len(each))[None] for each in (features_a, features_b)]
    return float(kid_resamples(features_a, features_b, *once[: 2 - paired])[0])


def bootstrap_indices(images, resamples, seed):
    """The images of each resample: int [resamples, images], a function of the seed.

    Drawn with replacement, at least two different images in each. Use the same indices
    for all candidates: then the choice of images cancels in their differences.
    """
    if images < 2:
        raise UserError(f"{images} image has no standard deviation: add images")
    rng = streams.rng(streams.BOOTSTRAP, seed, images)
    indices = rng.integers(images, size=(resamples, images))
    while (alike := (indices == indices[:, :1]).all(axis=1)).any():
        indices[alike] = rng.integers(images, size=(alike.sum(), images))
    return indices


def mean_resamples(values, indices):
    """Means, float [resamples], of the values [images] of PSNR or SSIM."""
    return np.asarray(values, np.float64)[indices].mean(axis=1)


def frechet_resamples(features_a, features_b, indices_a, indices_b=None):
    """Fréchet distances, float [resamples], of resampled sets.

    indices_b: None for paired sets; independent sets take indices from two seeds.
    Only the std is of use: a resample holds 63 % of the images, so its distance grows.
    """
    a, b = _checked(features_a, features_b, paired=indices_b is None)
    pairs = zip(indices_a, indices_a if indices_b is None else indices_b, strict=True)
    return np.array([frechet_distance(a[i], b[j]) for i, j in pairs])


def kid_resamples(features_a, features_b, indices_a, indices_b=None):
    """KID, float [resamples], of resampled sets, paired if indices_b is None.

    An image drawn twice is no pair: its kernel with itself would raise every resample.
    """
    paired = indices_b is None
    a, b = _checked(features_a, features_b, paired)
    indices_b = indices_a if paired else indices_b
    within = _mean_kernel(a, a, indices_a, indices_a, leave_out_same=True)
    within += _mean_kernel(b, b, indices_b, indices_b, leave_out_same=True)
    return within - 2 * _mean_kernel(a, b, indices_a, indices_b, leave_out_same=paired)


def _mean_kernel(a, b, indices_a, indices_b, leave_out_same):
    """Mean of the kernel over each resample, with i against i or without."""
    # How often each resample holds each image: [resamples, images].
    counts_a = np.apply_along_axis(np.bincount, 1, indices_a, minlength=len(a))
    counts_b = np.apply_along_axis(np.bincount, 1, indices_b, minlength=len(b))
    total = 0.0
    for top in range(0, len(a), BLOCK):
        rows = slice(top, top + BLOCK)
        kernel = (a[rows] @ b.T / a.shape[1] + 1) ** 3
        if leave_out_same:
            np.fill_diagonal(kernel[:, top:], 0)
        total += np.sum(counts_a[:, rows] @ kernel * counts_b, axis=1)
    pairs = indices_a.shape[1] * indices_b.shape[1]
    if leave_out_same:
        pairs = pairs - np.sum(counts_a * counts_b, axis=1)
    return total / pairs
