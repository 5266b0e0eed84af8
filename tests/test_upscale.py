"""upscale.py and jobs.py: tiles that leave no trace; files and what they keep."""

import dataclasses
import io
import os
import re
import struct
import subprocess
import sys
import zipfile
import zlib

import keras
import numpy as np
import pytest
from PIL import Image, ImageCms

from srgan_tf import UserError, cli, images, jobs, networks, upscale

SMALL = networks.GeneratorSettings(residual_blocks=2, filters=4)


def build(architecture="srresnet", seed=1, **options):
    """A small generator, every weight of it random, that uses all of its range."""
    settings = dataclasses.replace(SMALL, architecture=architecture, **options)
    model = networks.build_generator(settings)
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name == "kernel":
            spread = (3 / np.prod(weight.shape[:3])) ** 0.5
            weight.assign(random.uniform(-spread, spread, weight.shape))
        else:
            weight.assign(random.uniform(0.1, 0.9, weight.shape))
    return model


@pytest.fixture(scope="module")
def generator():
    return build()


@pytest.fixture(scope="module")
def upscaler(generator):
    return upscale.Upscaler(generator)


def photo(height, width, kind=np.uint8, seed=0):
    top = np.iinfo(kind).max
    random = np.random.default_rng(seed)
    return random.integers(0, top, (height, width, 3), kind, endpoint=True)


def in_one_piece(generator, pixels):
    """float32 0-255: what the network itself makes of float32 0-255."""
    values = images.to_range(pixels[np.newaxis], generator.settings.low_range)
    high = keras.ops.convert_to_numpy(generator(values, training=False)[0])
    return images.to_pixels(high, generator.settings.high_range)


# Receptive fields


@pytest.mark.parametrize(
    ("architecture", "body", "whole"),
    [  # 9x9, 16 blocks of two 3x3, 3x3; then 3x3, 3x3 at 2 and 9x9 at 4 times
        ("srresnet", 4 + 32 + 1, 37 + 1 + 1 / 2 + 4 / 4),
        ("upsampling", 37, 39.5),
        ("inception_a", 37, 39.5),  # of the branches the longest counts: two 3x3
        ("deconv", 1 + 32 + 1, 34 + 1 / 2 + 1 / 4 + 1 / 4),
    ],
)
def test_receptive_fields_by_hand(architecture, body, whole):
    settings = networks.GeneratorSettings(architecture, filters=1)
    fields = upscale.receptive_field(networks.build_generator(settings))
    reaches = {layer.name: reach for layer, reach, _ in fields}
    scales = [scale for _, _, scale in fields]
    assert reaches["body_add"] == body and fields[-1][1] == whole
    assert scales[-1] == 4 and scales == sorted(scales)


@pytest.mark.parametrize("architecture", networks.GENERATORS)
def test_a_pixel_is_seen_as_far_as_computed_and_no_further(architecture):
    model = build(architecture)
    *_, (_, reach, _) = upscale.receptive_field(model)
    reach, side = int(np.ceil(reach)), 35
    low = photo(side, side).astype(np.float32)
    changed = low.copy()
    changed[side // 2, side // 2] += 1000
    differs = in_one_piece(model, low) != in_one_piece(model, changed)
    rows = np.flatnonzero(differs.any(axis=(1, 2))) // 4
    columns = np.flatnonzero(differs.any(axis=(0, 2))) // 4
    for found in (rows, columns):
        assert (found.min(), found.max()) == (side // 2 - reach, side // 2 + reach)


# Windows


def test_windows_by_hand():
    # 80 pixels without the halos, by 3, rounded up: 27 + 2 * 10
    spans = [(0, 0, 36, 47), (26, 36, 63, 73), (53, 63, 100, 100)]
    assert upscale._spans(100, 3, 10) == spans
    assert upscale._spans(20, 1, 10) == [(0, 0, 20, 20)]


@pytest.mark.parametrize("halo", [0, 3, 40])
@pytest.mark.parametrize("area", [1, 1000, 12000, 10**9])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (90, 7), (101, 97), (411, 300)])
def test_windows_share_an_image_and_see_enough_around(size, area, halo):
    windows = upscale._windows(*size, area, halo)
    owners = np.zeros(size, int)
    for y, x in windows:
        owners[y[1] : y[2], x[1] : x[2]] += 1
        for (start, first, last, stop), length in zip((y, x), size, strict=True):
            assert 0 <= start <= first < last <= stop <= length
            assert start == 0 or first - start >= halo
            assert stop == length or stop - last >= halo
    assert (owners == 1).all()
    shapes = {(y[3] - y[0], x[3] - x[0]) for y, x in windows}
    assert len(shapes) == 1
    assert np.prod(shapes.pop()) <= max(area, (2 * halo + 8) ** 2)


# Tiles


@pytest.mark.parametrize(
    ("model", "tile", "batch"),
    [
        (("srresnet",), 1, 1),
        (("srresnet",), 20, 3),
        (("upsampling",), 12, 1),
        (("inception_a",), 16, 1),
        (("deconv",), 5, 2),
    ],
)
def test_tiles_give_what_the_whole_image_gives(model, tile, batch):
    model = build(*model)
    tiled = upscale.Upscaler(model, tile, batch)
    pixels = photo(61, 47)
    floats = pixels.astype(np.float32)
    tiles = upscale._windows(61, 47, tiled.area, tiled.halo)
    assert len(tiles) > 2
    expected = in_one_piece(model, floats)
    assert expected.min() < 30 and expected.max() > 225  # nothing is saturated
    # also for the float32 noise of other orders of summation
    np.testing.assert_allclose(tiled(floats), expected, rtol=0, atol=1e-5 * 255)
    high = tiled(pixels)
    assert high.dtype == np.uint8 and high.shape == (244, 188, 3)
    difference = high.astype(int) - networks.super_resolve(model, pixels)
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 1e-3


@pytest.mark.parametrize("size", [(1, 1), (1, 60), (60, 1), (3, 2)])
def test_small_and_narrow_images(generator, size):
    pixels = photo(*size)
    high = upscale.upscale_pixels(generator, pixels, tile=1)
    difference = high.astype(int) - networks.super_resolve(generator, pixels)
    assert high.shape == (4 * size[0], 4 * size[1], 3)
    assert np.abs(difference).max() <= 1


def test_16_bits_stay_16_bits(generator, upscaler):
    deep = photo(20, 24, np.uint16)
    expected = in_one_piece(generator, deep / np.float32(257))
    high = upscaler(deep)
    assert high.dtype == np.uint16
    assert np.abs(high - np.clip(expected, 0, 255) * 257.0).max() <= 1
    assert (high % 257 != 0).mean() > 0.9  # not 8 bits made 16
    white = images.to_uint16(np.float32([-1.1, -1, 0, 1, 1.1]))
    assert white.tolist() == [0, 0, 32768, 65535, 65535]  # 32767.5 to even


def test_other_ranges_are_kept():
    model = build(low_range=(0.0, 1.0))
    pixels = photo(30, 31)
    difference = upscale.upscale_pixels(model, pixels, 1).astype(int)
    difference -= networks.super_resolve(model, pixels)
    assert np.abs(difference).max() <= 1


def test_progress_comes_to_one(generator):
    parts = []
    upscale.upscale_pixels(generator, photo(40, 40), 1, log=parts.append)
    parts = [event["part"] for event in parts]
    assert len(parts) > 4 and parts == sorted(parts) and parts[-1] == 1


# Memory


def test_auto_takes_what_memory_there_is(generator, monkeypatch):
    areas = []
    for free in (2**20, 2**30, 2**33, 2**40):
        monkeypatch.setattr(upscale, "free_memory", lambda free=free: free)
        areas.append(upscale.Upscaler(generator).area)
    assert areas[0] < areas[1] < areas[2] == areas[3]
    assert areas[3] == 2**30 // (5 * 4 * SMALL.filters)
    half = upscale.Upscaler(generator, batch=2).area
    assert half == areas[3] // 2


def test_an_image_too_large_for_the_memory_is_refused(upscaler, monkeypatch):
    assert upscale.free_memory() > 2**20
    monkeypatch.setattr(upscale, "free_memory", lambda: 2**20)
    with pytest.raises(UserError, match=r"100x90 pixels become .* GiB, more mem"):
        upscaler(photo(90, 100))


class ResourceExhaustedError(Exception):
    """As TensorFlow calls it."""


@pytest.mark.parametrize("error", [ResourceExhaustedError, MemoryError])
def test_out_of_memory_goes_on_with_smaller_tiles(generator, monkeypatch, error):
    cramped, pixels, said = upscale.Upscaler(generator), photo(90, 100), []
    expected = cramped(pixels)
    predict = cramped.front.model.predict_on_batch

    def fail(stack):
        if stack.shape[1] * stack.shape[2] > 3000:
            raise error("OOM when allocating tensor")
        return predict(stack)

    monkeypatch.setattr(cramped.front.model, "predict_on_batch", fail)
    difference = cramped(pixels, said.append).astype(int) - expected
    assert np.abs(difference).max() <= 1
    messages = [event["message"] for event in said if "message" in event]
    # 9000 pixels, a quarter of them: 47 squared, 2 * 12 of them halo
    assert messages == ["out of memory: going on with --tile 23"]
    cramped(pixels, said.append)  # it has learnt
    assert len([event for event in said if "message" in event]) == 1


def test_no_memory_at_all_and_other_errors(generator, monkeypatch):
    cramped = upscale.Upscaler(generator)

    def fail(stack):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(cramped.front.model, "predict_on_batch", fail)
    with pytest.raises(UserError, match="even small tiles need more memory"):
        cramped(photo(90, 100))

    def fail_otherwise(stack):
        raise RuntimeError("no room for errors")

    monkeypatch.setattr(cramped.front.model, "predict_on_batch", fail_otherwise)
    with pytest.raises(RuntimeError, match="no room"):
        cramped(photo(9, 9))


@pytest.mark.parametrize(("option", "value"), [("tile", 0), ("batch", -1)])
def test_senseless_tiles_are_refused(generator, option, value):
    with pytest.raises(UserError, match=f"--{option} {value}: give a whole number"):
        upscale.Upscaler(generator, **{option: value})


# Blending


def test_blend_interpolates_every_weight(generator):
    other = build(seed=2, step=7)
    for amount in (0, 0.25, 1):
        mixed = upscale.blend(generator, other, amount)
        assert mixed.settings == generator.settings
        for weight, a, b in zip(
            mixed.weights, generator.weights, other.weights, strict=True
        ):
            a, b = keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
            expected = {0: a, 0.25: 0.75 * a + 0.25 * b, 1: b}[amount]
            np.testing.assert_allclose(weight, expected, rtol=1e-6)
            if amount in (0, 1):
                np.testing.assert_array_equal(weight, expected)
    moving = [weight for weight in mixed.weights if "moving" in weight.path]
    assert len(moving) == 2 * (2 * 2 + 1)  # mean and variance of every BN


def test_only_generators_of_one_network_blend(generator):
    with pytest.raises(UserError, match="residual_blocks is 2 in one and 3 in the"):
        upscale.blend(generator, build(residual_blocks=3), 0.5)
    with pytest.raises(UserError, match=r"low_range is .* in one and \(0.0, 1.0\)"):
        upscale.blend(generator, build(low_range=(0.0, 1.0)), 0.5)
    with pytest.raises(UserError, match=r"--blend 1\.5: give a number from 0 to 1"):
        upscale.blend(generator, generator, 1.5)


# Names


def touch(folder, *names):
    """Files with distinct bytes; they are not read here."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def names(folder, paths, output=None, kind=None, log=None):
    """{input: output} of a plan, all relative to the folder."""
    found, failed = jobs.plan([folder / path for path in paths], output, kind, log)
    assert failed == 0
    return {
        os.path.relpath(job.label, folder): os.path.relpath(job.output, folder)
        for job in found
    }


def test_results_beside_their_photographs(tmp_path):
    touch(tmp_path, "a.jpg", "in/b.png", "in/c/d.TIF", "in/e/d.png", "in/text.txt")
    assert names(tmp_path, ["a.jpg", "in"]) == {
        "a.jpg": "a_x4.png",
        "in/b.png": "in/b_x4.png",
        "in/c/d.TIF": "in/c/d_x4.png",
        "in/e/d.png": "in/e/d_x4.png",
    }
    assert names(tmp_path, ["a.jpg"], kind="webp") == {"a.jpg": "a_x4.webp"}
    # the same file twice is one photograph
    assert len(names(tmp_path, ["a.jpg", "in/../a.jpg", "in", "in/b.png"])) == 4
    (tmp_path / "in" / "link.png").symlink_to("b.png")  # but a link is one of its own
    assert names(tmp_path, ["in"])["in/link.png"] == "in/link_x4.png"


def test_results_in_a_folder_keep_the_structure(tmp_path):
    touch(tmp_path, "a.jpg", "in/b.png", "in/c/d.tif", "more.v2/b.png")
    out = tmp_path / "out.v1"
    assert names(tmp_path, ["a.jpg", "in"], out) == {
        "a.jpg": "out.v1/a.png",
        "in/b.png": "out.v1/b.png",
        "in/c/d.tif": "out.v1/c/d.png",
    }
    assert names(tmp_path, ["in", "more.v2"], out, "jpg") == {
        "in/b.png": "out.v1/in/b.jpg",
        "in/c/d.tif": "out.v1/in/c/d.jpg",
        "more.v2/b.png": "out.v1/more.v2/b.jpg",
    }
    # into the folder itself: beside them
    assert names(tmp_path, ["in"], tmp_path / "in")["in/c/d.tif"] == "in/c/d_x4.png"


def test_a_single_result_in_a_file(tmp_path):
    touch(tmp_path, "a.jpg", "in/b.png", "in/c.png")
    assert names(tmp_path, ["a.jpg"], tmp_path / "x.TIF") == {"a.jpg": "x.TIF"}
    assert names(tmp_path, ["a.jpg"], tmp_path / "x.jpeg", "jpg")
    with pytest.raises(UserError, match=r"x\.png is one file for 2 photographs"):
        names(tmp_path, ["in"], tmp_path / "x.png")
    with pytest.raises(UserError, match=r"x\.png is no jpg: leave out --format"):
        names(tmp_path, ["a.jpg"], tmp_path / "x.png", "jpg")
    (tmp_path / "folder.png").mkdir()
    found = names(tmp_path, ["in"], tmp_path / "folder.png")
    assert found["in/b.png"] == "folder.png/b.png"


def test_no_two_results_are_called_the_same(tmp_path):
    touch(tmp_path, "in/a.jpg", "in/A.png", "in/b.png", "x/in/b.png", "y/in/b.png")
    out = tmp_path / "out"
    assert names(tmp_path, ["in"], out) == {
        "in/a.jpg": "out/a.jpg.png",
        "in/A.png": "out/A.png.png",
        "in/b.png": "out/b.png",
    }
    assert names(tmp_path, ["in"])["in/a.jpg"] == "in/a.jpg_x4.png"
    with pytest.raises(UserError, match=r"b\.png and .*b\.png would both become .*out"):
        names(tmp_path, ["x/in", "y/in"], out)


def test_results_of_earlier_runs_are_passed_over(tmp_path):
    touch(tmp_path, "a.jpg", "a_x4.png", "b_x4.png", "_x4.png", "c.png", "c.png_x4.jpg")
    said = []
    expected = {
        "a.jpg": "a_x4.png",
        "_x4.png": "_x4_x4.png",
        "b_x4.png": "b_x4_x4.png",  # of nothing here: a photograph
        "c.png": "c_x4.png",
    }
    assert names(tmp_path, ["."], log=said.append) == expected
    assert said == [{"message": "passed over: 2 results of earlier runs"}]
    assert names(tmp_path, ["*"]) == expected  # a pattern, in quotes
    assert names(tmp_path, ["a_x4.png"]) == {"a_x4.png": "a_x4_x4.png"}  # if named
    touch(tmp_path, "out/a.png", "out/deep/b.png", "other/d.png")
    found = names(tmp_path, ["."], tmp_path / "out")
    assert found["other/d.png"] == "out/other/d.png" and len(found) == 5
    with pytest.raises(UserError, match="out holds results of earlier runs only"):
        (tmp_path / "out" / "a.png").unlink()
        names(tmp_path, ["out"], tmp_path / "out" / "deep")


def test_zips_and_their_results(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ("in/a.png", "b.jpg", "b_x4.png", "notes.txt"):
            archive.writestr(name, name.encode())
    found = names(tmp_path, ["set.zip"])
    assert found == {
        "set.zip/in/a.png": "set_x4/in/a.png",
        "set.zip/b.jpg": "set_x4/b.png",
        "set.zip/b_x4.png": "set_x4/b_x4.png",
    }
    out = names(tmp_path, ["set.zip", "./set.zip"], tmp_path / "out")
    assert out["set.zip/in/a.png"] == "out/in/a.png"
    found, _ = jobs.plan([tmp_path / "set.zip"])
    assert found[0].read() == b"in/a.png"
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../a.png", b"")
    with pytest.raises(UserError, match=r"evil\.zip is unsafe"):
        jobs.plan([tmp_path / "evil.zip"])


def test_no_result_replaces_an_input(tmp_path):
    touch(tmp_path, "a.png", "a_x4.png", "b.jpg", "out/b.png")
    words = "the result of .*, would replace an input: leave that out or choose"
    for paths, output in [
        (["a.png"], "a.png"),
        (["a.png"], "./out/../a.png"),
        (["a.png", "a_x4.png"], None),
        (["b.jpg", "out/b.png"], "out"),
        (["b.jpg", "a.png"], "linked"),
    ]:
        if output == "linked":
            (tmp_path / output).mkdir()
            os.link(tmp_path / "a.png", tmp_path / output / "b.png")
        with pytest.raises(UserError, match=words):
            jobs.plan([tmp_path / x for x in paths], output and tmp_path / output)


def test_paths_that_hold_nothing(tmp_path):
    touch(tmp_path, "a.png", "text.txt", "folder/x.txt")
    paths = ["a.png", "text.txt", "none.png", "folder", "*.gif"]
    said = []
    found, failed = jobs.plan([tmp_path / x for x in paths], log=said.append)
    assert [job.label for job in found] == [str(tmp_path / "a.png")] and failed == 4
    for path, event in zip(paths[1:], said, strict=True):
        assert event["message"].startswith(f"failed: {tmp_path / path} ")
    with pytest.raises(UserError, match=r"none\.png does not exist"):
        jobs.plan([tmp_path / "none.png", tmp_path / "text.txt"])


# Files


def run(tmp_path, upscaler, paths, output=None, kind=None):
    """The messages of a plan and its run, and how many failed."""
    said = []
    found, failed = jobs.plan(paths, output, kind, said.append)
    failed += jobs.run(found, upscaler, said.append)
    assert said[-1] == {"image": len(found), "images": len(found)}
    assert not [x for x in tmp_path.rglob("*") if "partial" in x.name]
    return [event["message"] for event in said if "message" in event], failed


def test_what_a_photograph_has_is_kept(tmp_path, upscaler):
    colour = photo(9, 12)
    alpha = photo(9, 12, seed=1)[..., 0]
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter
    Image.fromarray(np.dstack([colour, alpha])).save(tmp_path / "alpha.png")
    Image.fromarray(colour).save(tmp_path / "turned.jpg", exif=exif, icc_profile=icc)
    Image.fromarray(colour[..., 0]).save(tmp_path / "grey.png")
    deep = images.Photograph(photo(9, 12, np.uint16), photo(9, 12, np.uint16)[..., 0])
    images.write_image(tmp_path / "deep.png", deep)
    assert run(tmp_path, upscaler, [tmp_path], tmp_path / "out") == ([], 0)

    found = images.read_photograph(tmp_path / "out" / "alpha.png")
    np.testing.assert_array_equal(found.alpha, images.bicubic_up(alpha))
    np.testing.assert_array_equal(found.pixels, upscaler(colour))
    with Image.open(tmp_path / "out" / "turned.png") as turned:
        assert turned.size == (36, 48) and turned.info["icc_profile"] == icc
    with Image.open(tmp_path / "out" / "grey.png") as grey:
        assert grey.mode == "L" and grey.size == (48, 36)
    found = images.read_photograph(tmp_path / "out" / "deep.png")
    np.testing.assert_array_equal(found.pixels, upscaler(deep.pixels))
    np.testing.assert_array_equal(found.alpha, images.bicubic_up(deep.alpha))

    run(tmp_path, upscaler, [tmp_path / "alpha.png"], kind="webp")
    assert images.read_photograph(tmp_path / "alpha_x4.webp").alpha is not None
    run(tmp_path, upscaler, [tmp_path / "alpha.png"], kind="jpg")
    assert images.read_photograph(tmp_path / "alpha_x4.jpg").alpha is None


def png_that_promises(width, height):
    def chunk(name, body):
        check = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )


def encoded(pixels, kind, **options):
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, kind, **options)
    return file.getvalue()


def bad_folder(folder):
    """Names of files that cannot be upscaled, and of unusual ones that can."""
    jpeg, png = encoded(photo(8, 9), "JPEG"), encoded(photo(8, 9), "PNG")
    frames = [Image.fromarray(photo(5, 5, seed=seed)) for seed in (1, 2)]
    bad = {
        "empty.jpg": b"",
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut.png": png[: len(png) // 2],
        "head.png": png[:20],
        "page.jpg": b"<!DOCTYPE html><html>404</html>",
        "drawing.png": b'<?xml version="1.0"?><svg/>',
        "noise.webp": np.random.default_rng(0).bytes(500),
        "zeros.tif": bytes(500),
        "text.bmp": b"BM but no picture",
        "animation.jpg": encoded(frames[0], "GIF"),
        "frames.png": encoded(
            frames[0], "PNG", save_all=True, append_images=frames[1:]
        ),
        "pages.tif": encoded(
            frames[0], "TIFF", save_all=True, append_images=frames[1:]
        ),
        "floats.tif": encoded(np.ones((4, 4), np.float32), "TIFF"),
        "wide.png": png_that_promises(60000, 60000),
        "short.png": png_that_promises(9000, 9000),
        "new\nline.png": b"",
    }
    good = {
        "pixel.png": encoded(photo(1, 1), "PNG"),
        "cmyk.jpg": encoded(Image.fromarray(photo(4, 5)).convert("CMYK"), "JPEG"),
        "palette.png": encoded(Image.fromarray(photo(4, 5)).convert("P"), "PNG"),
        "png.jpg": png,
        "deep/photo.jpg": jpeg,
        "folder.png/photo.png": png,
    }
    for name, content in (bad | good).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "empty.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    return [*bad, "gone.png", "pipe.png"], list(good)


def test_bad_files_are_named_and_the_rest_goes_on(tmp_path, upscaler):
    folder, out = tmp_path / "in", tmp_path / "out"
    bad, good = bad_folder(folder)
    messages, failed = run(tmp_path, upscaler, [folder], out)
    assert failed == len(bad)
    for name in bad:
        named = [x for x in messages if x.startswith(f"failed: {folder / name}")]
        assert len(named) == 1, name
    for name in ("empty.png", "folder.png"):
        assert f"{folder / name} is a folder, not a photograph." in messages
    assert len(messages) == len(bad) + 2
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) == len(good)
    for path in written:
        assert min(images.read_image(path).shape[:2]) >= 4


def test_results_that_cannot_be_written(tmp_path, upscaler):
    images.write_image(tmp_path / "a.png", photo(4, 5))
    images.write_image(tmp_path / "wide.png", photo(1, 4100))
    (tmp_path / "a_x4.png").mkdir()
    (tmp_path / "file").write_text("no folder")
    messages, failed = run(tmp_path, upscaler, [tmp_path / "a.png"])
    assert failed == 1 and f"{tmp_path / 'a_x4.png'} cannot be written" in messages[0]
    messages, failed = run(tmp_path, upscaler, [tmp_path / "a.png"], tmp_path / "file")
    assert failed == 1 and messages[0].endswith(f"{tmp_path / 'file'}: File exists.")
    calls = []
    messages, failed = run(tmp_path, calls.append, [tmp_path / "wide.png"], kind="webp")
    assert failed == 1 and "16400x4, too large: write a PNG" in messages[0]
    assert not calls  # known before the work

    def fail(pixels, log):
        raise MemoryError

    messages, failed = run(tmp_path, fail, [tmp_path / "a.png"])
    assert failed == 1 and "a.png needs more memory than there is" in messages[0]


# The command


def command(capsys, *arguments):
    """(exit code, lines of standard output, standard error) of `srgan upscale`."""
    with pytest.raises(SystemExit) as stop:
        cli.main(["upscale", *map(str, arguments)])
    printed = capsys.readouterr()
    return stop.value.code, printed.out.splitlines(), printed.err


@pytest.fixture
def models(tmp_path, generator):
    folder = tmp_path / "models"
    networks.save_generator(generator, folder / "srresnet.h5")
    networks.save_generator(build(seed=2), folder / "other.h5")
    networks.save_generator(build(residual_blocks=3), folder / "larger.h5")
    return folder


def test_command(tmp_path, capsys, models, generator, monkeypatch):
    pixels = photo(16, 20)
    (tmp_path / "in").mkdir()
    images.write_image(tmp_path / "in" / "a.png", pixels)
    monkeypatch.chdir(tmp_path)  # with models/srresnet.h5
    code, out, error = command(capsys, "in/a.png")
    assert (code, out) == (0, ["done: 1 of 1 photographs, in/a_x4.png"])
    first = images.read_image("in/a_x4.png")
    np.testing.assert_array_equal(first, upscale.upscale_pixels(generator, pixels))
    assert "1/1" in error

    options = "--blend", 0.5, "--with", models / "other.h5", "--tile", 1, "--batch", 2
    code, out, error = command(capsys, "in", "-o", "out", "--format", "jpg", *options)
    assert (code, out) == (0, ["done: 1 of 1 photographs, out/a.jpg"])
    mixed = upscale.blend(generator, networks.load_generator(models / "other.h5"), 0.5)
    found = images.read_image("out/a.jpg").astype(int)
    expected = upscale.upscale_pixels(mixed, pixels)
    assert np.abs(found - expected).mean() < 6 < np.abs(found - first).mean()

    (tmp_path / "in" / "bad.png").write_bytes(b"<html>")
    code, out, error = command(capsys, "in", "-o", "out")
    assert (code, out) == (1, ["done: 1 of 2 photographs, out"])
    assert "failed: in/bad.png is a web page" in error and "Traceback" not in error
    assert command(capsys, "in/bad.png")[:2] == (1, [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.png"], "none.png does not exist"),
        (["a.png", "--blend", "0.5"], "--blend and --with go together"),
        (["a.png", "--blend", "2", "--with", "models/other.h5"], "--blend 2.0: give a"),
        (["a.png", "--blend", "1", "--with", "models/larger.h5"], "residual_blocks is"),
        (["a.png", "--tile", "x"], "argument --tile: x: give a whole number or auto"),
        (["a.png", "--tile", "0"], "--tile 0: give a whole number, 1 or more"),
        (["a.png", "--model", "a.png"], "a.png is not an HDF5 file"),
        (["a.png", "-o", "a.png"], "would replace an input"),
    ],
)
def test_mistakes(tmp_path, capsys, models, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    images.write_image("a.png", photo(4, 4))
    before = (tmp_path / "a.png").read_bytes()
    code, out, error = command(capsys, *arguments)
    assert (code, out) == (2, []) and words in error and "Traceback" not in error
    assert (tmp_path / "a.png").read_bytes() == before
    assert sorted(os.listdir()) == ["a.png", "models"]


def test_the_default_model_is_found_or_asked_for(tmp_path, models, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert upscale.default_model().resolve() == models / "srresnet.h5"
    monkeypatch.chdir(tmp_path / "models")
    monkeypatch.setattr(upscale, "__file__", str(tmp_path / "srgan_tf" / "upscale.py"))
    assert upscale.default_model() == models / "srresnet.h5"  # beside the package
    monkeypatch.setattr(upscale, "__file__", str(tmp_path / "a" / "b" / "upscale.py"))
    with pytest.raises(UserError, match=r"srresnet\.h5 is missing: give --model FILE"):
        upscale.default_model()


def test_wrong_paths_are_told_without_loading_keras(tmp_path):
    words = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "srgan_tf",
        "upscale",
        "none.png",
    ]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "none.png does not exist" in done.stderr
    assert not re.search(r"\b(keras|tensorflow)\b", done.stderr)
