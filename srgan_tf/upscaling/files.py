"""Finds photographs to upscale, names their results, and writes them."""

import collections
import dataclasses
import functools
import glob
import io
import logging
import os
import pathlib

import numpy as np
from PIL import Image, ImageOps

from srgan_tf import UserError, pixels
from srgan_tf.data import photographs, sources
from srgan_tf.networks import files
from srgan_tf.upscaling import tiles

MARK = f"_x{pixels.SCALE}"  # ends the name of a result beside its photograph
LARGEST_WEBP = 16383  # pixels a side
# A photograph: its name in messages, what reads its bytes, the path of its result.
Job = collections.namedtuple("Job", "label read output")
logger = logging.getLogger(__name__)


def plan(paths, output=None, kind=None):
    """Finds photographs in files, folders, zips and patterns: (jobs, failed).

    output: a folder, the file of a single photograph, or None: beside the photographs,
    or in a folder beside their zip. kind: the suffix of the results, else "png".
    failed: how many paths hold no photograph; the log names them. NAME_x4 is the result
    beside a photograph, NAME elsewhere; results of earlier runs are passed over unless
    given by name. Raises UserError if nothing is found or a result would be an input.
    """
    found, errors = {}, []
    for path in map(str, paths):
        matches = [] if os.path.exists(path) else glob.glob(path, recursive=True)
        for match in map(pathlib.Path, sorted(matches) or [path]):
            try:
                for entry in sources.list_photographs(match):
                    root = match if match.is_dir() else match.parent
                    root = match.with_name(match.stem + MARK) if entry.zipped else root
                    found.setdefault(root.resolve() / entry.name, entry)
            except UserError as error:
                errors.append(error)
    if not found:
        raise errors[0]
    for error in errors:
        logger.error("failed: %s", error)
    results = _results(found, output and pathlib.Path(output).resolve(), kind or "png")
    earlier = {path.with_suffix("") for path in results}  # of any kind
    given = {str(pathlib.Path(path)) for path in paths}
    jobs = [
        Job(found[place].label, found[place].read, path)
        for path, place in results.items()
        if found[place].label in given or place.with_suffix("") not in earlier
    ]
    if len(jobs) < len(found):
        logger.info("passed over: %d results of earlier runs", len(found) - len(jobs))
    inputs = {os.path.realpath(job.label) for job in jobs}
    for job in jobs:
        if os.path.realpath(job.output) in inputs:
            raise UserError(f"{job.output}, the result of {job.label}, is an input.")
    return jobs, len(errors)


def _results(found, output, kind):
    """{path of a result: place of its photograph}."""
    if output and output.suffix.lower() in photographs.EXTENSIONS:
        if len(found) > 1:
            raise UserError(f"{output} is one file, for {len(found)} photographs.")
        return {output: next(iter(found))}
    results = {}
    for place, entry in found.items():
        folder = (output / entry.name).parent if output else place.parent
        path = folder / f"{place.stem}{MARK if folder == place.parent else ''}.{kind}"
        while path in results:
            path = path.with_stem(path.stem + place.suffix)
        results[path] = place
    return results


def run(jobs, upscaler, progress=None):
    """Upscales photographs and returns how many failed; the log names those.

    upscaler: a tiles.Upscaler. progress: called with (images done, images). 16 bits,
    grey, the colour profile and alpha are kept where the format of the result can.
    """
    failed, total, progress = 0, len(jobs), progress or (lambda done, total: None)
    for index, job in enumerate(jobs):
        try:
            photo = photographs.read_photograph(job.read())
            side = pixels.SCALE * max(photo.pixels.shape)
            if job.output.suffix == ".webp" and side > LARGEST_WEBP:
                raise UserError(f"WebP ends at {LARGEST_WEBP} pixels: use --format png")
            sr = _enlarged(photo, upscaler, lambda x, i=index: progress(i + x, total))
            photographs.write_image(job.output, sr)
        except (UserError, MemoryError) as error:
            failed += 1
            logger.error("failed: %s: %s", job.label, str(error) or "out of memory")
        progress(index + 1, total)
    return failed


def _enlarged(photo, upscaler, progress=None):
    """A Photograph, 4 times as large."""
    sr = upscaler(photo.pixels, progress)
    alpha = None if photo.alpha is None else pixels.bicubic_up(photo.alpha)
    return dataclasses.replace(photo, pixels=sr, alpha=alpha)


def upscale(photo, model):
    """What srgan_tf.upscale says."""
    path = files.find_model(model).resolve()
    upscaler = _upscaler(path, path.stat().st_mtime_ns)
    if isinstance(photo, Image.Image):
        return _upscale_pillow(photo, upscaler)
    if isinstance(photo, np.ndarray):
        if photo.dtype in ("uint8", "uint16") and photo.shape[2:] == (3,):
            return upscaler(photo)
        found = f"{photo.dtype} {list(photo.shape)}"
        raise UserError(f"the array is {found}: give uint8 [height, width, 3].")
    enlarged = _enlarged(photographs.read_photograph(photo), upscaler)
    result = pathlib.Path(photo)
    result = result.with_name(f"{result.stem}{MARK}.png")
    photographs.write_image(result, enlarged)
    return result


@functools.lru_cache(1)
def _upscaler(path, _):
    return tiles.Upscaler(files.load_generator(path))


def _upscale_pillow(image, upscaler):
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "I;16B", "F"):  # Pillow would cut them to 8 bits
        raise UserError(f"a Pillow image of mode {image.mode}: give its path, or RGB.")
    if image.mode not in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"):  # those of PNG
        image = image.convert("RGB")
    image.save(file := io.BytesIO(), "PNG", compress_level=1)
    enlarged = _enlarged(photographs.read_photograph(file.getvalue()), upscaler)
    result = photographs.to_pillow(enlarged, keep_alpha=True)
    if enlarged.icc:
        result.info["icc_profile"] = enlarged.icc
    return result
