"""Bicubic, generators and precomputed images, measured against HR images."""

import hashlib
import json
import pathlib
from collections import defaultdict

import keras
import numpy as np
from PIL import Image

from srgan_tf import UserError, __version__, metrics, pixels
from srgan_tf import features as extractors
from srgan_tf.data import sources
from srgan_tf.evaluation import summary, testset
from srgan_tf.networks import files
from srgan_tf.upscaling import tiles

METRICS = summary.METRICS
BORDER = pixels.SCALE  # pixels that PSNR and SSIM leave out at each side, as papers do
FEATURE_SIZE = (299, 299)  # antialiased bicubic, before the network of FID and KID
TAKEN = ("", "lr", "bicubic", "sr", "hr")  # names that no candidate may have
GALLERY_SIDE = 512  # pixels of HR
GALLERY_ROWS, PAGE_ROWS = 4, 20  # images of each test set; of all, or the same


class Evaluator:
    """The metrics to compute, and the network of FID and KID, built once.

    features, weights: for FID and KID, see features.build_embedding; or "none".
    quality: False for FID and KID alone, of images of any size.
    """

    def __init__(self, features="none", weights=None, quality=True):
        least = 2 * BORDER + metrics.WINDOW  # without up to 3 pixels that are cut
        self.minimum_side = least + pixels.SCALE - 1 if quality else pixels.SCALE
        self.quality, self.title = quality, None
        # Layers have any scale; only Inception's is that of published distances.
        self.normalizes = ":" in features
        if features != "none":
            self._embedding = extractors.build_embedding(features, weights)
            self.title = self._embedding.title

    def scores(self, pictures, images):
        """{candidate: {metric: value}} of {candidate: image} against pictures.hr."""
        if not self.quality:
            return {}
        hr, scores = pictures.hr, {}
        for name, image in images.items():
            y = [hr, image]
            if pictures.grey:  # as papers measure
                y = [np.asarray(Image.fromarray(each).convert("L")) for each in y]
            scores[name] = {
                "psnr_y": metrics.psnr(*y, BORDER, luma=True),
                "ssim_y": metrics.ssim(*y, BORDER, luma=True),
                "psnr_rgb": metrics.psnr(hr, image, BORDER),
                "ssim_rgb": metrics.ssim(hr, image, BORDER),
            }
        return scores

    def embed(self, images):
        """Features, float32 [images, dimensions], of uint8 [h, w, 3] RGB images."""
        if self.title is None:
            return []
        resized = [pixels.bicubic_resize(image, FEATURE_SIZE) for image in images]
        return self._embedding.predict_on_batch(np.array(resized, np.float32))


def load_generators(models, precomputed=()):
    """{candidate: generator} of {candidate: file}; UserError for a taken name."""
    for name in [*models, *precomputed]:
        if name.lower() in TAKEN or (name in models and name in precomputed):
            raise UserError(f"the name {name!r} is taken: choose another.")
    return {name: files.load_generator(path) for name, path in models.items()}


def candidates(pictures, upscalers):
    """{name: uint8 [h, w, 3]}: bicubic, each upscaler's SR image, precomputed ones."""
    images = {"bicubic": pixels.bicubic_up(pictures.lr)}
    images |= {name: upscaler(pictures.lr) for name, upscaler in upscalers.items()}
    return images | pictures.precomputed


def compare(
    hr, models=None, precomputed=None, lr=None, evaluator=None, *, center_crop=0,
    limit=0, seed=None, validation_of=None, progress=None,
):  # fmt: skip
    """Measures bicubic, models and precomputed images on one or more test sets.

    hr, lr: {test set: paths}. models: {candidate: file of a generator}. precomputed:
    {candidate: paths}. center_crop, limit, seed: see TestSet. validation_of: {test set:
    a run's info file}, whose validation images alone are measured. progress: called as
    progress(done, total) after each image.
    Returns {test set: report} and {test set: rows}: [(name, {title: uint8 [h, w, 3]},
    {candidate: {metric: value}})] of the first images. A report holds "protocol";
    "images", their number; "results", {candidate: {metric: value or None, metric_std:
    its standard deviation}}, by one bootstrap of the images for all; "differences" of
    each two, {"B - A": likewise}; "warnings".
    """
    models, precomputed, lr = models or {}, precomputed or {}, lr or {}
    evaluator, infos = evaluator or Evaluator(), validation_of or {}
    if unknown := ", ".join(lr.keys() - hr.keys()):
        raise UserError(f"LR images of {unknown}, but no HR images of that test set.")
    generators = load_generators(models, precomputed)
    upscalers = {name: tiles.Upscaler(each) for name, each in generators.items()}
    test_sets = {
        name: testset.TestSet(
            paths, lr.get(name), precomputed, center_crop=center_crop, limit=limit,
            seed=seed, minimum_side=evaluator.minimum_side,
            any_size=not evaluator.quality,
            only=_split(infos[name])["validation"] if infos.get(name) else None,
        )
        for name, paths in hr.items()
    }  # fmt: skip
    few = [name for name, each in test_sets.items() if len(each) < 2]
    if few and not evaluator.quality:
        raise UserError(f"{few[0]} has one image: FID needs at least two.")
    facts = {n: f"{models[n]}, step {x.settings.step}" for n, x in generators.items()}
    names, reports, rows = ["bicubic", *models, *precomputed], {}, {}
    count = max(GALLERY_ROWS, PAGE_ROWS // len(hr))
    for name, test_set in test_sets.items():
        measured = _measure(test_set, upscalers, evaluator, progress, count)
        scores, features, rows[name] = measured
        paths = {"hr": hr[name], "lr": lr.get(name), "precomputed": precomputed}
        paths["validation_of"] = infos.get(name)
        reports[name] = {
            "protocol": paths | {"models": facts} | _protocol(test_set, evaluator),
            "images": len(test_set),
            **summary.summarize(names, scores, features, test_set.independent),
            "warnings": _warnings(test_set, features) + _seen(test_set, models),
        }
    return reports, rows


def _measure(test_set, upscalers, evaluator, progress, count):
    """Scores and features, see summary.summarize, and `count` rows of the gallery."""
    scores, features, rows = [], defaultdict(list), []
    others = [(name, x) for name, each in test_set.independent.items() for x in each]
    total, progress = len(test_set) + len(others), progress or (lambda *counts: None)
    for done, pictures in enumerate(test_set, 1):
        images = candidates(pictures, upscalers)
        scores.append(evaluator.scores(pictures, images))
        seen = images | {"hr": pictures.hr}
        for name, vector in zip(seen, evaluator.embed(seen.values()), strict=False):
            features[name].append(vector)
        if len(rows) < count:
            panels = {"LR": pictures.lr} | images | {"HR": pictures.hr}
            rows.append((pictures.name, middle(panels), scores[-1]))
        progress(done, total)
    for done, (name, entry) in enumerate(others, len(test_set) + 1):
        if (image := test_set.read(entry)) is not None:
            features[name].extend(evaluator.embed([image]))
        progress(done, total)
    features = {name: np.stack(each) for name, each in features.items()}
    if evaluator.normalizes:
        rms = np.sqrt(np.mean(np.square(features["hr"], dtype=float)))
        features = {name: each / rms for name, each in features.items()}
    return scores, features, rows


def middle(panels, side=GALLERY_SIDE):
    """{title: image} of a gallery row, of large images the same middle part of each.

    panels: "LR" and "HR" among them. side: of the part, in pixels of HR.
    """
    lr, parts, side = panels["LR"].shape, dict(panels), side // pixels.SCALE
    scales = {lr: 1, panels["HR"].shape: pixels.SCALE}  # others: any size, for FID
    top, left = (max(0, length - side) // 2 for length in lr[:2])
    for title, image in panels.items():
        if scale := scales.get(image.shape):
            rows = slice(top * scale, (top + side) * scale)
            columns = slice(left * scale, (left + side) * scale)
            parts[title] = image[rows, columns].copy()
    return parts


def _protocol(test_set, evaluator):
    side, versions = test_set.center_crop, {"srgan_tf": __version__}
    return {
        "size": f"the middle {side}x{side}" if side else "whole, cut to multiples of 4",
        "border": BORDER if evaluator.quality else None,
        "fid": evaluator.title,
        "features": "divided by their RMS in HR" if evaluator.normalizes else None,
        "skipped": test_set.skipped,
        "versions": versions | {"keras": keras.__version__, "numpy": np.__version__},
    }


def _warnings(test_set, features):
    count, dimensions = features["hr"].shape if features else (0, 0)
    few = f"{count} images for {dimensions} dimensions of features: FID is biased."
    other = "shows other images: its FID lies above that of pairs."
    return [
        *[few] * (count < dimensions),
        *(f"{name} {other}" for name in test_set.independent),
        *[f"{test_set.skipped} images were left out."] * (test_set.skipped > 0),
    ]


def _split(info):
    """The split in a run's info file; UserError if it has none."""
    try:
        return json.loads(pathlib.Path(info).read_text("utf-8"))["split"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{info} holds no split of a run: give its info.") from error


def _seen(test_set, models):
    """Warnings of test images that a model was trained on, by its info file."""
    warnings, hashes = [], {}
    for model, path in models.items():
        path = pathlib.Path(path).resolve()
        info = path.parent.parent / "info" / f"{path.stem}.json"
        if not info.exists():
            continue
        try:
            trained = {sha256 for _, sha256 in _split(info)["train"]}
        except (UserError, TypeError, ValueError, KeyError):  # of another program
            warnings.append(f"{info} does not tell what {model} was trained on.")
            continue
        for entry in (roles["hr"] for roles in test_set.files):
            if entry not in hashes:
                hashes[entry] = hashlib.sha256(entry.read()).hexdigest()
        if names := [x.name for x, sha256 in hashes.items() if sha256 in trained]:
            names = sources.first_names(names)
            warnings.append(f"{model} was trained on some of these images: {names}.")
    return warnings
