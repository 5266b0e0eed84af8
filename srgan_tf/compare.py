"""Bicubic, generators and finished images, measured against high-resolution ones."""

import hashlib
import importlib
import itertools
import math
import os
import pathlib
import zipfile
import zlib
from collections import defaultdict

import keras
import numpy as np
import PIL

from . import UserError, __version__, data, features, images, metrics, networks
from .testset import TestSet
from .upscale import Upscaler

# Of a report, in its order; "vgg" is the mean squared difference of VGG19's features.
METRICS = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "vgg", "fid", "kid")
SEED, RESAMPLES, FID_RESAMPLES = 0, 1000, 30  # of the bootstrap; an FID takes 0.1 s
FEATURE_SIZE = (299, 299)  # what the networks of FID get: antialiased bicubic
VGG_LAYERS = (  # the deepest that a file of weights holds is taken
    "block5_conv4", "block4_conv4", "block3_conv4", "block2_conv2", "block1_conv2",
)  # fmt: skip
TAKEN = ("", "low", "bicubic", "high")  # no names for candidates
GALLERY_ROWS, GALLERY_SIDE = 4, 512  # of each test set, their middle, for a gallery


class Gauges:
    """What to measure, and the networks for it, built once for all test sets.

    extractor: a name of features.build_embedding for FID and KID, or "none".
    weights: as there; with a file of VGG19's its features' distance is measured too.
    crop: pixels left out at each border for PSNR and SSIM. quality: False for FID and
    KID alone, of images of any size.
    """

    def __init__(self, extractor="none", weights=None, crop=images.SCALE, quality=True):
        if crop < 0:
            raise UserError(f"a crop of {crop} pixels: choose 0 or more.")
        if not quality and extractor == "none":
            raise UserError("without features there is no FID: choose some.")
        smallest = 2 * crop + metrics.WINDOW if quality else 1
        self.minimum_side = math.ceil(smallest / images.SCALE) * images.SCALE
        self.crop, self.quality, weights = crop, quality, weights or {}
        self.title = self.dimensions = self.vgg_layer = None
        if extractor != "none":
            try:
                self._embedding = features.build_embedding(extractor, weights)
            except UserError as error:
                ways = "Or take other features for FID, random ones or none."
                raise UserError(f"{error} {ways}") from error
            self.title = self._embedding.title
            self.dimensions = self._embedding.output_shape[-1]
        if quality and extractor.startswith("vgg19:"):
            self._load_vgg([extractor.partition(":")[2]], weights)
        elif quality and weights.get("vgg19"):
            self._load_vgg(VGG_LAYERS, weights)

    def _load_vgg(self, layers, weights):
        for layer in layers:
            self.vgg_layer = f"vgg19/{layer}"
            try:
                self._vgg = features.build_extractor([self.vgg_layer], weights)
                return
            except UserError as error:
                missing = error
        raise missing

    def scores(self, pictures, made):
        """{candidate: {metric: value}} of one image."""
        high, scores = pictures.high, {}
        seen = self.vgg_layer and self._seen(high)
        for name, image in made.items():
            y = (_grey(high), _grey(image)) if pictures.grey else (high, image)
            scores[name] = {
                "psnr_y": metrics.psnr(*y, crop=self.crop, luma=True),
                "ssim_y": metrics.ssim(*y, crop=self.crop, luma=True),
                "psnr_rgb": metrics.psnr(high, image, crop=self.crop),
                "ssim_rgb": metrics.ssim(high, image, crop=self.crop),
            }
            if self.vgg_layer:
                difference = np.square(seen - self._seen(image))
                scores[name]["vgg"] = float(difference.mean(dtype=np.float64))
        return scores

    def _seen(self, image):
        outputs = self._vgg(image[np.newaxis].astype(np.float32), training=False)
        return keras.ops.convert_to_numpy(outputs[self.vgg_layer])

    def embed(self, pictures):
        """Features, float32 [images, dimensions], of uint8 [h, w, 3] RGB pictures."""
        resized = [images.bicubic_resize(each, FEATURE_SIZE) for each in pictures]
        return self._embedding.predict_on_batch(np.stack(resized).astype(np.float32))

    def key(self, test_set):
        """A hash of the high images' files, their cut and resize, and the extractor."""
        words = [self.title, FEATURE_SIZE, test_set.side, PIL.__version__]
        words += [source.sha256 for source in test_set.sources]
        state = hashlib.sha256(repr(words).encode())
        for variable in self._embedding.weights:
            state.update(keras.ops.convert_to_numpy(variable).tobytes())
        return state.hexdigest()[:32]


def _grey(image):
    """One channel of RGB, weighed as for a grey JPEG; grey images keep their values."""
    return np.rint(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def load_generators(models, finished=()):
    """{candidate: Upscaler} of {candidate: file}; UserError for names that clash."""
    for name in [*models, *finished]:
        if name in TAKEN or (name in models and name in finished):
            raise UserError(f"the name {name!r} is taken: choose another.")
    return {
        name: Upscaler(networks.load_generator(path)) for name, path in models.items()
    }


def candidates(pictures, generators):
    """{name: uint8 [h, w, 3]}: bicubic, what each generator makes, finished images."""
    made = {"bicubic": images.bicubic_up(pictures.low)}
    for name, generator in generators.items():
        made[name] = generator(pictures.low)
    return made | pictures.finished


def compare(
    high, models=None, finished=None, low=None, gauges=None, *, high_size=0,
    crop_mode="center", limit=0, cache=None, log=None,
):  # fmt: skip
    """Measure bicubic, models and finished images on one or more test sets.

    high, low: {test set: paths}; these and the rest are testset.TestSet's.
    models: {candidate: file of a generator}. finished: {candidate: paths}.
    gauges: what to measure. cache: a folder to keep features of high images in.
    log: gets {"message"} for an image left out, {"image", "images"} after each done.
    Returns {test set: report} and the first rows of a gallery, [(caption, {title: uint8
    [h, w, 3]})]. A report holds "protocol"; "images", their number; "results",
    {candidate: {metric: value, metric_sd: its standard deviation}}; "differences" of
    each two, {"B - A": as before}; "warnings". None is what was not measured.
    Deviations come from one bootstrap over the images, the same for all candidates.
    Raises UserError for what cannot be compared.
    """
    log, gauges = log or (lambda event: None), gauges or Gauges()
    models, finished, low = models or {}, finished or {}, low or {}
    if low and low.keys() != high.keys():
        raise UserError(
            f"low images for {', '.join(low)}, high ones for {', '.join(high)}: name "
            "both alike, for each test set."
        )
    generators = load_generators(models, finished)
    sets = {
        name: TestSet(
            paths, low.get(name), finished, high_size=high_size, crop_mode=crop_mode,
            minimum_side=gauges.minimum_side, limit=limit, loose=not gauges.quality,
            log=log,
        )
        for name, paths in high.items()
    }  # fmt: skip
    parts = [[each, *each.independent.values()] for each in sets.values()]
    done, total = itertools.count(1), sum(map(len, itertools.chain(*parts)))
    facts = {
        "models": {
            name: {"file": str(models[name]), "recipe": model.settings.recipe,
                   "step": model.settings.step}
            for name, model in generators.items()
        },
        "finished": {name: _texts(paths) for name, paths in finished.items()},
    }  # fmt: skip
    reports, rows = {}, []
    for name, test_set in sets.items():
        scores, vectors, shown = _measure(
            test_set, generators, gauges, cache,
            lambda: log({"image": next(done), "images": total}),
        )  # fmt: skip
        names = ["bicubic", *models, *finished]
        results, differences = _summarise(names, scores, vectors, test_set.independent)
        paths = _texts(high[name]), _texts(low.get(name))
        protocol = _protocol(test_set, gauges, *paths) | facts
        reports[name] = {
            "protocol": protocol, "images": len(test_set), "results": results,
            "differences": differences, "warnings": _warnings(test_set, gauges),
        }  # fmt: skip
        prefix = f"{name}: " if len(high) > 1 else ""
        rows += [(prefix + caption, panels) for caption, panels in shown]
    return reports, rows


def _texts(paths):
    """Paths as JSON has them."""
    single = isinstance(paths, (str, os.PathLike))
    return [str(path) for path in ([paths] if single else paths or ())]


def _measure(test_set, generators, gauges, cache, progress):
    """{candidate: {metric: values}}, {candidate or "high": features}, gallery rows."""
    scores, vectors = defaultdict(lambda: defaultdict(list)), defaultdict(list)
    rows, kept = [], None
    if cache and gauges.title:
        cache = pathlib.Path(cache) / f"features-{gauges.key(test_set)}.npz"
        kept = _read_features(cache, (len(test_set), gauges.dimensions))
    for pictures in test_set:
        made = candidates(pictures, generators)
        if gauges.quality:
            for name, values in gauges.scores(pictures, made).items():
                for metric, value in values.items():
                    scores[name][metric].append(value)
        if gauges.title:
            seen = made if kept is not None else made | {"high": pictures.high}
            for name, vector in zip(seen, gauges.embed(seen.values()), strict=True):
                vectors[name].append(vector)
        if len(rows) < GALLERY_ROWS:
            panels = {"low": pictures.low} | made | {"high": pictures.high}
            rows.append((pictures.name, middle(panels)))
        progress()
    for name, sources in test_set.independent.items():
        for pixels in data.stream(data.Source.pixels, sources):
            vectors[name].extend(gauges.embed([pixels]))
            progress()
    vectors = {name: np.stack(each) for name, each in vectors.items()}
    if kept is not None:
        vectors["high"] = kept
    elif cache and gauges.title:
        _keep_features(cache, vectors["high"])
    return scores, vectors, rows


def middle(panels, side=GALLERY_SIDE):
    """{title: pixels} of a gallery row, of large images the same middle part of each.

    panels: low and high among them. side: of the part, in pixels of high.
    """
    low, high, side = panels["low"], panels["high"], side // images.SCALE
    top, left = (max(0, length - side) // 2 for length in low.shape[:2])
    cut = dict(panels)
    for name, image in panels.items():
        scale = {low.shape: 1, high.shape: images.SCALE}.get(image.shape)
        if scale:  # else an image of any size, for FID
            rows, columns = (
                slice(start * scale, (start + side) * scale) for start in (top, left)
            )
            cut[name] = image[rows, columns].copy()
    return cut


def _read_features(path, shape):
    """Features kept before; None if there are none or they are damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            kept = file["features"]
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return kept if kept.shape == shape and np.isfinite(kept).all() else None


def _keep_features(path, vectors):
    """All of them: mean, covariance, kernels and resamples follow from no less."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with images.whole(path) as partial, open(partial, "wb") as file:
        np.savez(file, features=vectors)


def _summarise(names, scores, vectors, independent):
    """The "results" and "differences" of a report."""
    values, resampled = {name: {} for name in names}, defaultdict(dict)
    for name in names:
        for metric, each in scores[name].items():
            values[name][metric] = float(np.mean(each))
            if len(each) > 1:
                drawn = metrics.bootstrap_indices(len(each), RESAMPLES, SEED)
                resampled[metric][name] = metrics.mean_resamples(each, drawn)
        pair = vectors.get("high", ()), vectors.get(name, ())
        if min(map(len, pair)) > 1:
            drawn = [  # once for both of a pair, else for each
                metrics.bootstrap_indices(len(each), RESAMPLES, SEED + place)
                for place, each in enumerate(pair[: 1 + (name in independent)])
            ]
            few = [indices[:FID_RESAMPLES] for indices in drawn]
            values[name]["fid"] = metrics.frechet_distance(*pair)
            values[name]["kid"] = metrics.kid(*pair, paired=len(drawn) == 1)
            resampled["fid"][name] = metrics.frechet_resamples(*pair, *few)
            resampled["kid"][name] = metrics.kid_resamples(*pair, *drawn)
    results = {name: {} for name in names}
    differences = {pair: {} for pair in itertools.combinations(names, 2)}
    for metric in METRICS:
        alone, apart = metrics.bootstrap_deviations(resampled[metric])
        for name, cells in results.items():
            cells[metric] = values[name].get(metric)
            cells[f"{metric}_sd"] = _known(alone.get(name))
        for (first, second), cells in differences.items():
            both = [values[name].get(metric) for name in (second, first)]
            cells[metric] = None if None in both else _known(both[0] - both[1])
            cells[f"{metric}_sd"] = _known(apart.get((first, second)))
    return results, {f"{b} - {a}": cells for (a, b), cells in differences.items()}


def _known(value):
    """A float; None for none and for NaN, which infinite PSNRs have as deviation."""
    return None if value is None or math.isnan(value) else float(value)


def _protocol(test_set, gauges, high, low):
    backend = importlib.import_module(keras.backend.backend())
    side = test_set.side
    return {
        "high": high,
        "low": low or "antialiased bicubic of high, rounded to 8 bits",
        "images": len(test_set),
        "skipped": test_set.skipped,
        "size": f"the middle {side}x{side}" if side else "whole, cut to multiples of 4",
        "scale": images.SCALE,
        "crop": gauges.crop if gauges.quality else None,
        "fid": gauges.title,
        "dimensions": gauges.dimensions,
        "resize": gauges.title and "{}x{}, antialiased bicubic".format(*FEATURE_SIZE),
        "vgg": gauges.vgg_layer,
        "independent": list(test_set.independent),
        "bootstrap": f"{RESAMPLES} resamples of the images, {FID_RESAMPLES} for FID",
        "versions": {"srgan_tf": __version__}
        | {module.__name__: module.__version__ for module in (backend, keras, np, PIL)},
    }


def _warnings(test_set, gauges):
    words = []
    if len(test_set) < (gauges.dimensions or 0):
        words.append(
            f"{len(test_set)} images are fewer than the {gauges.dimensions} dimensions "
            "of the features: FID is biased; compare it for these very images only."
        )
    for name in test_set.independent:
        words.append(f"{name} shows other images: its FID lies above that of pairs.")
    if test_set.skipped:
        words.append(f"{test_set.skipped} images were left out.")
    return words
