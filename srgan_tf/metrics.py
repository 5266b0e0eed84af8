"""PSNR, SSIM, Fréchet distance, KID and their bootstrap: pure functions on arrays."""

import itertools

import numpy as np
import scipy.linalg
import scipy.ndimage

from srgan_tf import UserError, images

PEAK = 255.0
WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03  # Wang et al. 2004
BLOCK = 512  # rows at a time: bounds the memory of SSIM and of KID


def psnr(a, b, crop=0, luma=False):
    """Peak signal-to-noise ratio of two images, in dB; inf where they are identical.

    a, b: [height, width, 3] RGB or [height, width], 0-255, integer or float.
    crop: pixels left out at each border; the papers crop `scale` = 4.
    luma: compare Y (images.luma) instead of RGB. As in MATLAB, and so in the papers'
    tables, Y of integers is rounded to 8 bits and Y of floats is not, which reads up to
    0.1 dB apart; and a grey image [height, width] is compared as it is (Set14 has one:
    taken as RGB it would gain 1.3 dB).
    Raises UserError for other ranges or shapes, or if the crop leaves nothing.
    """
    a, b = _comparable(a, b, crop, luma, smallest=1)
    error = np.mean(np.square(np.subtract(a, b, dtype=np.float64)))
    return float(10 * np.log10(PEAK**2 / error)) if error else float("inf")


def ssim(a, b, crop=0, luma=False):
    """Structural similarity of two images, at most 1: mean over pixels and channels.

    Arguments as of `psnr`. Gaussian window of 11x11, sigma 1.5, where it fits wholly
    (valid region); population variance; K = (0.01, 0.03). Wang et al. 2004, eq. 13.
    Raises UserError as `psnr` does, and for images smaller than the window.
    """
    a, b = _comparable(a, b, crop, luma, smallest=WINDOW)
    total = pixels = 0
    for top in range(0, len(a) - WINDOW + 1, BLOCK):
        rows = slice(top, top + BLOCK + WINDOW - 1)
        similarity = _ssim_map(a[rows], b[rows])
        total, pixels = total + similarity.sum(), pixels + similarity.size
    return float(total / pixels)


def _ssim_map(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = _blur(a), _blur(b)
    means, product = mean_a**2 + mean_b**2, mean_a * mean_b
    variances = _blur(a * a + b * b) - means  # of a and of b, summed
    covariance = _blur(a * b) - product
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    luminance = (2 * product + c1) / (means + c1)
    return luminance * (2 * covariance + c2) / (variances + c2)


def _blur(image):
    half = WINDOW // 2
    window = np.exp(-0.5 * (np.arange(-half, half + 1) / SIGMA) ** 2)
    window /= window.sum()
    rows = scipy.ndimage.correlate1d(image, window, axis=0)[half:-half]
    return scipy.ndimage.correlate1d(rows, window, axis=1)[:, half:-half]


def _comparable(a, b, crop, luma, smallest):
    """Both images checked, cropped and, if asked, turned to Y."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim < 2 or a.shape[2:] not in ((), (3,)):
        raise UserError(
            f"images of shape {a.shape} and {b.shape} cannot be compared: both must be "
            "[height, width, 3] or [height, width], of one size."
        )
    if crop < 0 or min(a.shape[:2]) < 2 * crop + smallest:
        raise UserError(
            f"images of shape {a.shape} cropped by {crop} at each border are smaller "
            f"than {smallest}x{smallest}: compare larger images or crop less."
        )
    for image in (a, b):
        low, high = image.min(), image.max()  # NaN, if there is one
        unit = image.dtype.kind == "f" and 0 < high <= 1
        if image.dtype.kind not in "uif" or not (low >= 0 and high <= PEAK) or unit:
            raise UserError(
                f"{image.dtype} values from {low} to {high}: images of 0 to 255 are "
                "needed; images.to_uint8 and images.read_image make them."
            )
    window = slice(crop, a.shape[0] - crop), slice(crop, a.shape[1] - crop)
    a, b = a[window], b[window]
    if not luma or a.ndim == 2:
        return a, b
    as_stored = np.rint if a.dtype.kind in "ui" and b.dtype.kind in "ui" else np.asarray
    return as_stored(images.luma(a)), as_stored(images.luma(b))


def _gaussian(features):
    """Mean, float64 [dimensions], and factor, float64 [rows, dimensions], of features.

    transpose(factor) @ factor is their covariance: the factor is the centred features
    over sqrt(images - 1), or of many images their triangular QR factor.
    """
    features = _checked(features)
    mean = features.mean(axis=0)
    factor = (features - mean) / np.sqrt(len(features) - 1)
    if len(factor) > len(mean):
        (factor,) = scipy.linalg.qr(factor, overwrite_a=True, mode="r")
    return mean, factor[: len(mean)]


def frechet_distance(features_a, features_b):
    """Fréchet distance between Gaussians fitted to two sets of features.

    features_a, features_b: float [images, dimensions], at least two images each.
    Returns a float >= 0, in squared feature units. Computed in float64; exact for any
    rank: trace((S1·S2)^½), the sum of the roots of the eigenvalues of S1·S2, is the sum
    of the singular values of factor1·factor2ᵀ, of at most min(images, dimensions) rows.
    (Eigenvalues of S1^½·S2·S1^½ take as long but lose half the digits to squaring.)
    Raises UserError for fewer than two images, different dimensions, or non-finite
    features. Heusel et al. 2017, eq. 6.
    """
    (mean_a, a), (mean_b, b) = map(_gaussian, (features_a, features_b))
    _require_same(mean_a.size, mean_b.size, "dimensions")
    root = scipy.linalg.svdvals(a @ b.T).sum()
    spread = np.square(a).sum() + np.square(b).sum() - 2 * root
    return float(max(0.0, np.square(mean_a - mean_b).sum() + spread))


def kid(features_a, features_b, paired):
    """Kernel distance (squared MMD) of two sets of features; kernel (x·y / d + 1)³.

    features_a, features_b: float [images, dimensions], at least two images each.
    paired: row i of both shows the same photograph. Then i against i is left out of all
    three means (the u-statistic of Gretton et al. 2012, eq. 4): 0 on identical sets.
    For independent sets, of any two sizes, the mean over a and b keeps every pair
    (their eq. 3; Bińkowski et al. 2018). Both are unbiased, so may be negative.
    Raises UserError as `frechet_distance` does, and for paired sets of two sizes.
    """
    once = [np.arange(len(each))[None] for each in (features_a, features_b)]
    return float(kid_resamples(features_a, features_b, *once[: 2 - paired])[0])


def bootstrap_indices(images, resamples, seed):
    """Which images each resample holds: int [resamples, images], by the seed alone.

    Drawn with replacement, at least two different images in each. Use the same indices
    for every candidate and metric: then the difference of two candidates is free of
    what they share, the choice of images. Raises UserError for fewer than two images.
    """
    if images < 2:
        raise UserError(f"no deviation can be told from {images} image: add images.")
    generator = np.random.Generator(np.random.PCG64([seed, images]))
    indices = generator.integers(images, size=(resamples, images))
    while (alike := (indices == indices[:, :1]).all(axis=1)).any():
        indices[alike] = generator.integers(images, size=(alike.sum(), images))
    return indices


def mean_resamples(values, indices):
    """Means, float [resamples], of the values [images] of PSNR or SSIM."""
    return np.asarray(values, np.float64)[indices].mean(axis=1)


def frechet_resamples(features_a, features_b, indices_a, indices_b=None):
    """Fréchet distances, float [resamples], of resampled sets: for their deviation.

    indices_b: None for paired sets. A photograph is then drawn with its counterpart,
    the unit that was sampled; apart, they would show the bias and the spread of
    independent sets, which take indices of their own, from two seeds.
    A resample holds 63 % of the images, some repeatedly, so its rank is lower and its
    distance lies above that of the whole sets: report the distance of all images, and
    of the resamples the standard deviation alone.
    """
    a, b, indices_b = _resampled(features_a, features_b, indices_a, indices_b)
    pairs = zip(indices_a, indices_b, strict=True)
    return np.array([frechet_distance(a[one], b[other]) for one, other in pairs])


def kid_resamples(features_a, features_b, indices_a, indices_b=None):
    """KID, float [resamples], of resampled sets, paired if indices_b is None.

    An image drawn twice is no pair of two images: kernels of an image with itself stay
    left out however often it was drawn, else every resample would lie above the KID.
    """
    paired = indices_b is None
    a, b, indices_b = _resampled(features_a, features_b, indices_a, indices_b)
    counts_a, counts_b = (  # how often a resample holds an image: (resamples, images)
        np.array([np.bincount(row, minlength=len(each)) for row in indices], np.float64)
        for each, indices in ((a, indices_a), (b, indices_b))
    )
    within = _mean_kernel(a, a, counts_a, counts_a, leave_out_same=True)
    within += _mean_kernel(b, b, counts_b, counts_b, leave_out_same=True)
    return within - 2 * _mean_kernel(a, b, counts_a, counts_b, leave_out_same=paired)


def bootstrap_deviations(resamples):
    """Standard deviations from {name: float [resamples]} made with the same indices.

    Returns {name: deviation} and {(first, second): deviation of second - first} of each
    two names in their order; NaN where a resample is infinite.
    """
    pairs = list(itertools.combinations(resamples, 2))
    with np.errstate(invalid="ignore"):  # PSNR of identical images: inf - inf
        alone = {name: np.std(each, ddof=1) for name, each in resamples.items()}
        differences = [np.std(resamples[b] - resamples[a], ddof=1) for a, b in pairs]
    return alone, dict(zip(pairs, differences, strict=True))


def _mean_kernel(a, b, counts_a, counts_b, leave_out_same):
    """Mean of the kernel over each resample; without i against i if asked."""
    total = 0.0
    for top in range(0, len(a), BLOCK):
        rows = slice(top, top + BLOCK)
        kernel = (a[rows] @ b.T / a.shape[1] + 1) ** 3
        if leave_out_same:
            np.fill_diagonal(kernel[:, top:], 0)
        total += np.sum(counts_a[:, rows] @ kernel * counts_b, axis=1)
    pairs = counts_a.sum(axis=1) * counts_b.sum(axis=1)
    if leave_out_same:
        pairs = pairs - np.sum(counts_a * counts_b, axis=1)
    return total / pairs


def _resampled(features_a, features_b, indices_a, indices_b):
    """Both features checked, and the indices of b: those of a if the sets are pairs."""
    a, b = _checked(features_a), _checked(features_b)
    _require_same(a.shape[1], b.shape[1], "dimensions")
    if indices_b is None:
        _require_same(len(a), len(b), "images")
        indices_b = indices_a
    return a, b, indices_b


def _checked(features):
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise UserError(f"features {features.shape}: at least two images are needed.")
    if not np.isfinite(features).all():
        raise UserError("features hold NaN or infinity: check the extractor's weights.")
    return features


def _require_same(a, b, what):
    if a != b:
        remedy = "use the same extractor, and for pairs the same images."
        raise UserError(f"features of {a} and {b} {what} are not comparable: {remedy}")
