"""Metrics against goldens, closed forms, TensorFlow and textbook definitions."""

import pathlib

import numpy as np
import pytest
import scipy.linalg

from srgan_tf import UserError, images, metrics

BENCHMARKS = pathlib.Path(__file__).parents[2] / "shared" / "data"


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


# PSNR and SSIM


@pytest.mark.parametrize(
    ("dtype", "options", "decibel", "similarity"),
    [
        (np.uint8, {}, 32.593385, 0.98896478),
        (np.uint8, {"crop": 4}, 32.586732, 0.98873664),
        (np.float32, {"crop": 4, "luma": True}, 39.710772, 0.99626244),
        (np.uint8, {"crop": 4, "luma": True}, 39.621088, 0.99628969),
    ],
)
def test_psnr_and_ssim_of_the_formula_images(pair, dtype, options, decibel, similarity):
    a, b = (image.astype(dtype) for image in pair)
    assert metrics.psnr(a, b, **options) == pytest.approx(decibel, abs=1e-6)
    assert metrics.ssim(a, b, **options) == pytest.approx(similarity, abs=1e-8)


def test_y_made_by_the_caller_is_the_same_y(pair):
    a, b = (np.rint(images.luma(image)).astype(np.uint8) for image in pair)
    assert metrics.psnr(a, b, crop=4) == pytest.approx(39.621088, abs=1e-6)
    assert metrics.ssim(a, b, crop=4) == pytest.approx(0.99628969, abs=1e-8)


@pytest.mark.parametrize(
    ("name", "decibel", "similarity"),
    [("set5", 28.418, 0.8101), ("set14", 25.993, 0.7023)],
)
def test_bicubic_on_the_benchmarks_of_the_papers(name, decibel, similarity):
    folder = BENCHMARKS / name
    if not folder.is_dir():
        pytest.skip(f"needs the benchmark images in {folder}")
    scores = []
    for file in sorted((folder / "HR").iterdir()):
        high = images.read_image(file)
        bicubic = images.bicubic_up(images.read_image(folder / "LR_x4" / file.name))
        if images.read_photograph(file).grey:
            high, bicubic = high[..., 0], bicubic[..., 0]
        both = (metrics.psnr, metrics.ssim)
        scores.append([metric(high, bicubic, crop=4, luma=True) for metric in both])
    means = np.mean(scores, axis=0)
    assert means[0] == pytest.approx(decibel, abs=0.005)
    assert means[1] == pytest.approx(similarity, abs=0.0005)


def test_psnr_by_hand():
    a, b = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 90, np.uint8)
    assert metrics.psnr(a, b) == pytest.approx(10 * np.log10(255**2 / 100))
    assert metrics.psnr(b, a) == metrics.psnr(a, b)  # no wrapping of uint8
    assert metrics.psnr(np.full((2, 2), 255), np.zeros((2, 2))) == 0


def test_crop_ignores_the_border_only(pair):
    a = pair[0]
    b = a.copy()
    b[:4], b[-4:], b[:, :4], b[:, -4:] = 0, 0, 0, 0
    assert metrics.psnr(a, b, crop=4) == float("inf")
    assert metrics.psnr(a, b, crop=3) < 30


def test_identical_images(pair):
    a = pair[0]
    assert metrics.psnr(a, a) == float("inf")
    assert metrics.ssim(a, a) == pytest.approx(1, abs=1e-15)
    assert metrics.ssim(a, a, luma=True) == pytest.approx(1, abs=1e-15)


def test_ssim_of_flat_images_is_the_luminance_term():
    a, b = np.full((11, 11), 50), np.full((11, 11), 200)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 50 * 200 + c1) / (50**2 + 200**2 + c1)
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-12)


def test_ssim_of_one_window_by_its_definition(pair):
    a, b = (image[:11, :11, 0].astype(float) for image in pair)
    squares = (np.arange(11) - 5.0) ** 2
    window = np.exp(-(squares[:, None] + squares) / (2 * 1.5**2))
    window /= window.sum()
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    variance_a, variance_b = (
        (window * (a - mean_a) ** 2).sum(),
        (window * (b - mean_b) ** 2).sum(),
    )
    covariance = (window * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    expected *= (2 * covariance + c2) / (variance_a + variance_b + c2)
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-12)


def test_ssim_in_strips_is_ssim(monkeypatch, pair):
    whole = metrics.ssim(*pair)
    for rows in (1, 7, 38):  # 38 valid rows
        monkeypatch.setattr(metrics, "BLOCK", rows)
        assert metrics.ssim(*pair) == pytest.approx(whole, abs=1e-14)


def test_agrees_with_tensorflow(pair):
    tf = pytest.importorskip("tensorflow")
    a, b = (image.astype(np.float32) for image in pair)
    assert metrics.psnr(a, b) == pytest.approx(
        float(tf.image.psnr(a, b, 255)), abs=1e-5
    )
    assert metrics.ssim(a, b) == pytest.approx(
        float(tf.image.ssim(a, b, 255)), abs=1e-5
    )


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_images_that_cannot_be_compared(metric, pair):
    a, b = pair
    with pytest.raises(UserError, match=r"\(48, 40, 3\) and \(48, 39, 3\)"):
        metric(a, b[:, :39])
    with pytest.raises(UserError, match="cannot be compared"):
        metric(a[..., :2], b[..., :2])
    with pytest.raises(UserError, match="cannot be compared"):
        metric(a[0, :, 0], b[0, :, 0])
    with pytest.raises(UserError, match="cropped by 20"):
        metric(a, b, crop=20)
    negative, deep = a.astype(np.int16) - 20, a.astype(np.uint16) * 257
    for wrong in (a / 255, a / 127.5 - 1, a * 1.01, negative, deep, a > 9):
        with pytest.raises(UserError, match="0 to 255 are needed"):
            metric(a, wrong)
    for value in (np.nan, np.inf):
        wrong = b.astype(np.float32)
        wrong[3, 4, 1] = value
        with pytest.raises(UserError, match="0 to 255 are needed"):
            metric(a, wrong)


def test_black_images_are_no_mistake_of_range():
    black = np.zeros((11, 11, 3), np.float32)
    assert metrics.psnr(black, black) == float("inf")
    assert metrics.ssim(black, black) == 1


def test_ssim_needs_a_window_of_pixels(pair):
    a, b = (image[:18, :18] for image in pair)
    assert metrics.psnr(a, b, crop=4) > 30
    with pytest.raises(UserError, match="smaller than 11x11"):
        metrics.ssim(a, b, crop=4)


def test_a_grey_image_is_its_own_y(pair):
    a, b = (image[..., 0] for image in pair)
    assert metrics.psnr(a, b, luma=True) == metrics.psnr(a, b)
    assert metrics.ssim(a, b, luma=True) == metrics.ssim(a, b)
    same_as_rgb = [np.repeat(image[..., None], 3, axis=2) for image in (a, b)]
    assert metrics.ssim(*same_as_rgb) == pytest.approx(metrics.ssim(a, b), abs=1e-14)
    gain = metrics.psnr(*same_as_rgb, luma=True) - metrics.psnr(a, b)
    assert gain == pytest.approx(20 * np.log10(255 / 219), abs=0.1)


# Fréchet distance


def covariance_forms(a, b):
    """The distance by scipy's sqrtm and by symmetric eigenvalues, of covariances."""
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    rest = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(one) + np.trace(other)
    values, vectors = scipy.linalg.eigh(one)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    values = scipy.linalg.eigvalsh(root @ other @ root)
    by_sqrtm = rest - 2 * np.trace(scipy.linalg.sqrtm(one @ other)).real
    return by_sqrtm, rest - 2 * np.sqrt(np.maximum(values, 0)).sum()


def test_frechet_distance_by_hand():
    x, y = [[0, 0], [2, 0], [0, 2], [2, 2]], [[1, 1], [5, 1], [1, 5], [5, 5]]
    assert metrics.frechet_distance(x, y) == pytest.approx(32 / 3, rel=1e-14)


def test_frechet_distance_of_the_formula_features(features):
    distance = metrics.frechet_distance(*features)
    assert distance == pytest.approx(8.2100644739, abs=1e-9)
    assert distance == pytest.approx(8.2100643205, abs=1e-6)  # scipy.linalg.sqrtm's


@pytest.mark.parametrize(("images_a", "images_b"), [(80, 80), (300, 50), (51, 49)])
def test_frechet_distance_agrees_with_covariance_forms(images_a, images_b):
    mixing = random(40, 40, seed=2) / 6
    a = random(images_a, 40) @ mixing
    b = random(images_b, 40, seed=1) @ mixing.T + 0.3
    by_sqrtm, by_eigenvalues = covariance_forms(a, b)
    distance = metrics.frechet_distance(a, b)
    assert distance == pytest.approx(by_eigenvalues, rel=1e-6)
    assert distance == pytest.approx(by_sqrtm, rel=1e-6)


def test_frechet_distance_is_exact_at_any_rank():
    # In the plane the root has a closed form; 28 more dimensions add nothing to it.
    a, b = random(90, 2), random(70, 2, seed=1) @ [[2, 0.5], [0, 0.3]] + 1
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    trace = np.sqrt(
        np.trace(one @ other) + 2 * np.sqrt(np.linalg.det(one) * np.linalg.det(other))
    )
    expected = np.square(a.mean(0) - b.mean(0)).sum() - 2 * trace
    expected += np.trace(one) + np.trace(other)
    plane = np.linalg.qr(random(30, 30))[0][:2]
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)
    assert metrics.frechet_distance(a @ plane, b @ plane) == pytest.approx(
        expected, rel=1e-12
    )
    few = metrics.frechet_distance(
        a[:20] @ plane, b[:15] @ plane
    )  # images < dimensions
    assert few == pytest.approx(metrics.frechet_distance(a[:20], b[:15]), rel=1e-12)


def test_frechet_distance_where_eigenvalues_of_covariances_fail():
    # Spectrum over 12 decades: scaling gives (1.01 - 1)^2 of the trace to all digits.
    a = random(200, 40) * np.logspace(0, -6, 40)
    a -= a.mean(0)
    expected = 1e-4 * np.var(a, axis=0, ddof=1).sum()
    assert metrics.frechet_distance(a, 1.01 * a) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("count", [12, 60])  # fewer and more images than dimensions
def test_frechet_distance_closed_forms(count):
    a, b = random(count, 20), random(count, 20, seed=1) * 1.5 + 0.2
    distance = metrics.frechet_distance(a, b)
    same = pytest.approx(distance, rel=1e-10)
    shift = random(20, seed=2)
    rotation = np.linalg.qr(random(20, 20, seed=3))[0]
    order = np.random.default_rng(4).permutation(count)
    assert 0 <= metrics.frechet_distance(a, a) < 1e-12
    assert metrics.frechet_distance(a, a[order]) < 1e-12
    assert metrics.frechet_distance(a, a + shift) == pytest.approx(shift @ shift)
    assert metrics.frechet_distance(3 * a, 3 * b) == pytest.approx(9 * distance)
    assert metrics.frechet_distance(b, a) == same
    assert metrics.frechet_distance(a[order], b) == same
    assert metrics.frechet_distance(a @ rotation, b @ rotation) == same
    assert metrics.frechet_distance(a + 5 * shift, b + 5 * shift) == same


def test_frechet_distance_of_float32_features_is_computed_in_float64():
    a = (1000 + random(60, 20)).astype(np.float32)
    b = (1000 + random(60, 20, seed=1)).astype(np.float32)
    expected = metrics.frechet_distance(a.astype(float), b.astype(float))
    assert metrics.frechet_distance(a, b) == expected


@pytest.mark.parametrize("count", [12, 60])
def test_gaussian_is_that_of_the_features(count):
    features = random(count, 20)
    mean, factor = metrics._gaussian(features)
    np.testing.assert_allclose(mean, features.mean(0))
    covariance = np.cov(features, rowvar=False)
    np.testing.assert_allclose(factor.T @ factor, covariance, atol=1e-14)
    assert len(factor) == min(count, 20)


# KID


def test_kid_of_the_formula_features(features):
    biased_diagonal = metrics.kid(*features, paired=False)
    assert biased_diagonal == pytest.approx(0.1893595294, abs=1e-10)
    u_statistic = metrics.kid(*features, paired=True)
    assert u_statistic == pytest.approx(0.1591504513, abs=1e-10)


def kid_in_loops(a, b, paired):
    """Means over pairs of images, written as they are read."""

    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    def mean(one, other, without_same):
        rows = [(i, j) for i in range(len(one)) for j in range(len(other))]
        rows = [(i, j) for i, j in rows if not (without_same and i == j)]
        return np.mean([kernel(one[i], other[j]) for i, j in rows])

    return mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, paired)


def test_kid_by_its_definition(monkeypatch):
    a, b, c = random(7, 4), random(7, 4, seed=1) + 0.5, random(5, 4, seed=2)
    for block in (512, 3):
        monkeypatch.setattr(metrics, "BLOCK", block)
        for other, paired in ((b, True), (b, False), (c, False)):
            expected = pytest.approx(kid_in_loops(a, other, paired), rel=1e-12)
            assert metrics.kid(a, other, paired) == expected


def test_kid_of_identical_sets():
    a = random(9, 4)
    assert metrics.kid(a, a, paired=True) == pytest.approx(0, abs=1e-12)
    assert metrics.kid(a, a, paired=False) < -0.1  # hence the u-statistic for pairs


def test_kid_of_one_distribution_is_zero_on_average():
    values = [
        metrics.kid(random(20, 3, seed=s), random(15, 3, seed=s + 1000), paired=False)
        for s in range(300)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)


@pytest.mark.parametrize(
    "distance",
    [
        metrics.frechet_distance,
        lambda a, b: metrics.kid(a, b, paired=True),
        lambda a, b: metrics.kid(a, b, paired=False),
    ],
)
def test_features_that_cannot_be_compared(distance):
    a = random(5, 4)
    with pytest.raises(UserError, match="4 and 3 dimensions"):
        distance(a, a[:, :3])
    with pytest.raises(UserError, match="at least two images"):
        distance(a[:1], a[:1])
    with pytest.raises(UserError, match="at least two images"):
        distance(a[0], a[0])
    for value in (np.nan, np.inf):
        wrong = a.copy()
        wrong[2, 1] = value
        with pytest.raises(UserError, match="NaN or infinity"):
            distance(a, wrong)


def test_pairs_need_as_many_images():
    with pytest.raises(UserError, match="5 and 4 images"):
        metrics.kid(random(5, 4), random(4, 4), paired=True)


# Bootstrap


def test_bootstrap_indices_are_a_function_of_the_seed():
    indices = metrics.bootstrap_indices(30, resamples=8, seed=1)
    assert indices.shape == (8, 30)
    assert indices.min() >= 0 and indices.max() <= 29
    np.testing.assert_array_equal(indices, metrics.bootstrap_indices(30, 8, seed=1))
    assert (indices != metrics.bootstrap_indices(30, 8, seed=2)).any()
    assert len(np.unique(indices[0])) < 30  # with replacement
    assert (indices[0] != indices[1]).any()


def test_every_resample_holds_two_images():
    indices = metrics.bootstrap_indices(2, resamples=200, seed=0)
    assert (indices[:, 0] != indices[:, 1]).all()
    assert {0, 1} == set(indices[:, 0])
    with pytest.raises(UserError, match="1 image"):
        metrics.bootstrap_indices(1, resamples=3, seed=0)


def test_resamples_of_a_mean_have_its_standard_error():
    values = random(200) * 3 + 28
    indices = metrics.bootstrap_indices(200, resamples=2000, seed=0)
    resamples = metrics.mean_resamples(values, indices)
    assert resamples[5] == pytest.approx(np.mean([values[i] for i in indices[5]]))
    deviation = metrics.bootstrap_deviations({"A": resamples})[0]["A"]
    assert deviation == pytest.approx(values.std() / np.sqrt(200), rel=0.08)


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
    with pytest.raises(UserError, match="20 and 19 images"):
        metrics.frechet_resamples(a, a[:19], indices)


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


def test_resampled_kid_is_not_biased_upward():
    a = random(40, 5)
    b = a + 0.3 * random(40, 5, seed=1) + 0.1
    indices = metrics.bootstrap_indices(40, resamples=400, seed=0)
    resamples = metrics.kid_resamples(a, b, indices)
    error = resamples.std() / np.sqrt(400)
    assert abs(resamples.mean() - metrics.kid(a, b, paired=True)) < 5 * error


def test_deviations_of_candidates_and_of_their_differences():
    resamples = {
        "bicubic": np.array([1.0, 2.0, 3.0]),
        "A": np.array([11.0, 12.0, 13.0]),
        "B": np.array([3.0, 2.0, 1.0]),
    }
    alone, differences = metrics.bootstrap_deviations(resamples)
    assert alone == {"bicubic": 1, "A": 1, "B": 1}
    # Of one choice of images, A leads bicubic by the same amount each time.
    expected = {("bicubic", "A"): 0, ("bicubic", "B"): 2, ("A", "B"): 2}
    assert differences == expected


def test_deviation_of_infinite_psnr_is_not_a_number():
    resamples = {"same": np.array([np.inf, np.inf]), "A": np.array([30.0, 31.0])}
    alone, differences = metrics.bootstrap_deviations(resamples)
    assert np.isnan(alone["same"]) and np.isnan(differences["same", "A"])
    assert alone["A"] == pytest.approx(np.sqrt(0.5))
