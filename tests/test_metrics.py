"""Metrics against closed forms, definitions and the goldens of shared/goldens.md."""

import numpy as np
import pytest

from srgan_tf import UserError, metrics


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture
def pair():
    """The formula images of the goldens, uint8 [48, 40, 3]."""
    y, x, c = np.mgrid[0:48, 0:40, 0:3]
    a = (7 * x + 13 * y + 29 * c + (x * y) // 5) % 256
    b = np.clip(a + ((31 * x + 17 * y + 7 * c) % 21) - 10, 0, 255)
    return a.astype(np.uint8), b.astype(np.uint8)


@pytest.fixture
def features():
    """The formula features of the goldens, [6, 10] each: of rank 5 at most."""
    n, d = np.mgrid[0:6, 0:10]
    return np.sin(1 + 1.7 * n + 0.9 * d), 1.2 * np.cos(0.5 + 0.8 * n - 1.3 * d)


@pytest.mark.parametrize(
    ("dtype", "options", "decibel", "similarity"),
    [
        (np.uint8, {}, 32.593385, 0.98896478),
        (np.uint8, {"border": 4}, 32.586732, 0.98873664),
        (np.float32, {"border": 4, "luma": True}, 39.710772, 0.99626244),
        (np.uint8, {"border": 4, "luma": True}, 39.621088, 0.99628969),
    ],
)
def test_psnr_and_ssim_of_the_formula_images(
    pair, dtype, options, decibel, similarity, monkeypatch
):
    a, b = (image.astype(dtype) for image in pair)
    assert metrics.psnr(a, b, **options) == pytest.approx(decibel, abs=1e-6)
    for rows in (512, 1, 7, 38):  # of 38 valid rows, so many at a time
        monkeypatch.setattr(metrics, "BLOCK", rows)
        assert metrics.ssim(a, b, **options) == pytest.approx(similarity, abs=1e-8)


def test_psnr_by_hand_and_of_identical_images(pair):
    a, b = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 90, np.uint8)
    assert metrics.psnr(a, b) == pytest.approx(10 * np.log10(255**2 / 100))
    assert metrics.psnr(b, a) == metrics.psnr(a, b)  # no wrapping of uint8
    assert metrics.psnr(np.full((2, 2), 255), np.zeros((2, 2))) == 0
    framed = pair[0].copy()
    framed[:4], framed[-4:], framed[:, :4], framed[:, -4:] = 0, 0, 0, 0
    assert metrics.psnr(pair[0], framed, border=4) == float("inf")
    assert metrics.psnr(pair[0], framed, border=3) < 30
    for luma in (False, True):
        same = np.zeros((11, 11, 3), np.float32)
        assert metrics.psnr(same, same, luma=luma) == float("inf")
        assert metrics.ssim(same, same, luma=luma) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_images_that_cannot_be_compared(metric, pair):
    a, b = pair
    small = 18 if metric is metrics.ssim else 8  # SSIM needs a window of 11 pixels
    for one, other, subject in (
        (a, b[:, :39], r"\(48, 40, 3\) and \(48, 39, 3\)"),
        (a[..., :2], b[..., :2], r"\(48, 40, 2\)"),
        (a[:small, :small], b[:small, :small], "border=4"),
    ):
        with pytest.raises(UserError, match=subject):
            metric(one, other, border=4)
    nan, infinite = b.astype(np.float32), b.astype(np.float32)
    nan[3, 4, 1], infinite[3, 4, 1] = np.nan, np.inf
    negative, deep = a.astype(np.int16) - 20, a.astype(np.uint16) * 257
    for wrong in (a / 255, a / 127.5 - 1, a * 1.01, negative, deep, nan, infinite):
        with pytest.raises(UserError, match="0 to 255"):
            metric(a, wrong)


def test_a_grey_image_is_its_own_y(pair):
    a, b = (image[..., 0] for image in pair)
    assert metrics.psnr(a, b, luma=True) == metrics.psnr(a, b)
    assert metrics.ssim(a, b, luma=True) == metrics.ssim(a, b)
    rgb = [np.repeat(image[..., None], 3, axis=2) for image in (a, b)]
    gain = metrics.psnr(*rgb, luma=True) - metrics.psnr(a, b)
    assert gain == pytest.approx(20 * np.log10(255 / 219), abs=0.1)


def test_frechet_distance_of_the_goldens(features):
    x, y = [[0, 0], [2, 0], [0, 2], [2, 2]], [[1, 1], [5, 1], [1, 5], [5, 5]]
    assert metrics.frechet_distance(x, y) == pytest.approx(32 / 3, rel=1e-14)
    distance = metrics.frechet_distance(*features)
    assert distance == pytest.approx(8.2100644739, abs=1e-9)
    assert distance == pytest.approx(8.2100643205, abs=1e-6)  # scipy.linalg.sqrtm's


def test_frechet_distance_is_exact_to_all_digits():
    # Spectrum over 12 decades: scaling gives (1.01 - 1)^2 of the trace.
    a = random(200, 40) * np.logspace(0, -6, 40)
    a, expected = a - a.mean(0), 1e-4 * np.var(a, axis=0, ddof=1).sum()
    assert metrics.frechet_distance(a, 1.01 * a) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("count", [12, 60])  # fewer and more images than dimensions
def test_frechet_distance_closed_forms(count):
    distance = metrics.frechet_distance
    a, b = random(count, 20), random(count, 20, seed=1) * 1.5 + 0.2
    shift, rotation = random(20, seed=2), np.linalg.qr(random(20, 20, seed=3))[0]
    assert 0 <= distance(a, a[::-1]) < 1e-12
    assert distance(a, a + shift) == pytest.approx(shift @ shift)
    assert distance(3 * a, 3 * b) == pytest.approx(9 * distance(a, b))
    turned, moved = (a @ rotation, b @ rotation), (a + 5 * shift, b + 5 * shift)
    for pair in ((b, a), (a[::-1], b), turned, moved):
        assert distance(*pair) == pytest.approx(distance(a, b), rel=1e-10)
    a, b = (each.astype(np.float32) + 1000 for each in (a, b))  # computed in float64
    assert distance(a, b) == distance(a.astype(float), b.astype(float))


def kid_in_loops(a, b, paired):
    """Means over pairs of images, written as they are read."""

    def mean(one, other, without_same):
        pairs = np.ndindex(len(one), len(other))
        pairs = [(i, j) for i, j in pairs if i != j or not without_same]
        return np.mean([(one[i] @ other[j] / a.shape[1] + 1) ** 3 for i, j in pairs])

    return mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, paired)


def test_kid_by_its_definition(monkeypatch, features):
    assert metrics.kid(*features, False) == pytest.approx(0.1893595294, abs=1e-10)
    assert metrics.kid(*features, True) == pytest.approx(0.1591504513, abs=1e-10)
    a, b, c = random(7, 4), random(7, 4, seed=1) + 0.5, random(5, 4, seed=2)
    monkeypatch.setattr(metrics, "BLOCK", 3)
    for other, paired in ((b, True), (b, False), (c, False)):
        expected = pytest.approx(kid_in_loops(a, other, paired), rel=1e-12)
        assert metrics.kid(a, other, paired) == expected
    assert metrics.kid(a, a, paired=True) == pytest.approx(0, abs=1e-12)
    assert metrics.kid(a, a, paired=False) < -0.1  # hence the u-statistic for pairs


@pytest.mark.parametrize("paired", [(), (True,), (False,)])
def test_features_that_cannot_be_compared(paired):
    distance, a = metrics.kid if paired else metrics.frechet_distance, random(5, 4)
    nan, infinite = a.copy(), a.copy()
    nan[2, 1], infinite[2, 1] = np.nan, np.inf
    for one, other in ((a, a[:, :3]), (a[:1], a[:1]), (a, nan), (infinite, a)):
        with pytest.raises(UserError):
            distance(one, other, *paired)


def test_bootstrap_indices_are_a_function_of_the_seed():
    indices = metrics.bootstrap_indices(30, resamples=8, seed=1)
    assert indices.shape == (8, 30)
    assert set(np.ravel(indices)) == set(range(30))
    np.testing.assert_array_equal(indices, metrics.bootstrap_indices(30, 8, seed=1))
    assert (indices != metrics.bootstrap_indices(30, 8, seed=2)).any()
    assert len(np.unique(indices[0])) < 30  # with replacement
    # Every resample holds two images.
    indices = metrics.bootstrap_indices(2, resamples=200, seed=0)
    assert (indices[:, 0] != indices[:, 1]).all() and set(indices[:, 0]) == {0, 1}
    with pytest.raises(UserError, match="1 image"):
        metrics.bootstrap_indices(1, resamples=3, seed=0)


def test_resamples_of_a_mean_have_its_standard_error():
    values = random(200) * 3 + 28
    indices = metrics.bootstrap_indices(200, resamples=2000, seed=0)
    resamples = metrics.mean_resamples(values, indices)
    assert resamples[5] == pytest.approx(np.mean([values[i] for i in indices[5]]))
    assert np.std(resamples) == pytest.approx(values.std() / np.sqrt(200), rel=0.08)


def test_resamples_that_hold_every_image_once_are_the_whole(features):
    a, b = features
    once = np.array([[0, 1, 2, 3, 4, 5], [3, 0, 5, 1, 4, 2]])
    for resamples, whole in (
        (metrics.frechet_resamples(a, b, once), metrics.frechet_distance(a, b)),
        (metrics.kid_resamples(a, b, once), metrics.kid(a, b, paired=True)),
        (metrics.kid_resamples(a, b, once, once), metrics.kid(a, b, paired=False)),
    ):
        np.testing.assert_allclose(resamples, [whole, whole], rtol=1e-12)


def test_pairs_are_resampled_together():
    a, shift = random(20, 30), random(30, seed=1)
    indices = metrics.bootstrap_indices(20, resamples=5, seed=0)
    other = metrics.bootstrap_indices(20, resamples=5, seed=1)
    paired = metrics.frechet_resamples(a, a + shift, indices)
    np.testing.assert_allclose(paired, shift @ shift)
    assert (metrics.frechet_resamples(a, a + shift, indices, other) > paired + 1).all()
    np.testing.assert_allclose(metrics.kid_resamples(a, a, indices), 0, atol=1e-12)
    for resamples in (metrics.frechet_resamples, metrics.kid_resamples):
        with pytest.raises(UserError):  # pairs of 20 and 19
            resamples(a, a[:19], indices)


def test_an_image_drawn_twice_is_no_pair(features):
    a, b = (each[:3] for each in features)
    # Drawn: 0, 0, 1. Only 0 with 1 and 1 with 0 are pairs of two images.
    resample = metrics.kid_resamples(a, b, np.array([[0, 0, 1]]))
    assert resample == pytest.approx(kid_in_loops(a[:2], b[:2], True), rel=1e-12)
    # Independent: b, drawn as 1, 2, 2, meets every image of a.
    resample = metrics.kid_resamples(a, b, np.array([[0, 0, 1]]), np.array([[1, 2, 2]]))
    kernel = (a @ b.T / 10 + 1) ** 3
    between = kernel[np.ix_([0, 0, 1], [1, 2, 2])].mean()
    within = (a[0] @ a[1] / 10 + 1) ** 3 + (b[1] @ b[2] / 10 + 1) ** 3
    assert resample == pytest.approx(within - 2 * between, rel=1e-12)
