"""Photographs to upscale: what they are called, what they keep, and bad ones."""

import logging
import os
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageCms

import srgan_tf
from srgan_tf import UserError, pixels
from srgan_tf.data import photographs
from srgan_tf.networks import files as networks
from srgan_tf.networks import generators
from srgan_tf.upscaling import files, tiles

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def touch(folder, *names):
    """Files that are no photographs."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names(folder, paths, output=None, kind=None):
    """{photograph: result} of a plan, all relative to the folder."""
    jobs, failed = files.plan([folder / path for path in paths], output, kind)
    assert failed == 0
    return {
        os.path.relpath(job.label, folder): os.path.relpath(job.output, folder)
        for job in jobs
    }


IN = {"in/b.png": "in/b_x4.png", "in/c/d.TIF": "in/c/d_x4.png"}


@pytest.mark.parametrize(
    ("paths", "output", "kind", "expected"),
    [
        (["a.jpg", "in"], None, None, {"a.jpg": "a_x4.png", **IN}),
        (["a.jpg"], None, "webp", {"a.jpg": "a_x4.webp"}),
        (["in", "in/../in", "in/b.png"], None, None, IN),  # the same twice
        (["in/c", "a.jpg"], "o", "bmp", {"in/c/d.TIF": "o/d.bmp", "a.jpg": "o/a.bmp"}),
        (["in"], "o.1", None, {"in/b.png": "o.1/b.png", "in/c/d.TIF": "o.1/c/d.png"}),
        (["in"], "in", None, IN),
        (["a.jpg"], "x.TIF", None, {"a.jpg": "x.TIF"}),
        (["link.png"], None, None, {"link.png": "link_x4.png"}),  # beside the link
        (["set.zip"], None, None, {"set.zip/c/e.jpg": "set_x4/c/e_x4.png"}),
        (["set.zip", "./set.zip"], "out", None, {"set.zip/c/e.jpg": "out/c/e.png"}),
    ],
)  # fmt: skip
def test_what_results_are_called(tmp_path, paths, output, kind, expected):
    touch(tmp_path, "a.jpg", "in/b.png", "in/c/d.TIF", "in/text.txt")
    (tmp_path / "link.png").symlink_to("in/b.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "a.jpg", "c/e.jpg")
        archive.write(tmp_path / "a.jpg", "notes.txt")
    assert names(tmp_path, paths, output and tmp_path / output, kind) == expected


def test_results_of_earlier_runs_are_passed_over(tmp_path, caplog):
    touch(tmp_path, "a.jpg", "a_x4.png", "b_x4.png", "c.png", "c_x4.jpg")
    expected = {"a.jpg": "a_x4.png", "c.png": "c_x4.png"}
    expected["b_x4.png"] = "b_x4_x4.png"  # the result of nothing here: a photograph
    with caplog.at_level(logging.INFO, "srgan_tf"):
        assert names(tmp_path, ["."]) == expected
    assert caplog.records[-1].args == (2,)
    assert names(tmp_path, ["*"]) == expected  # a pattern, in quotes
    assert names(tmp_path, ["a_x4.png"]) == {"a_x4.png": "a_x4_x4.png"}
    touch(tmp_path, "deep/d.png", "out/a.png", "out/deep/d.png")
    found = names(tmp_path, ["."], tmp_path / "out")
    assert found["deep/d.png"] == "out/deep/d.png"
    assert not {"out/a.png", "out/deep/d.png"} & set(found)


def test_no_result_replaces_an_input_or_another_result(tmp_path):
    touch(tmp_path, "a.png", "a_x4.png", "b.jpg", "out/b.png")
    (tmp_path / "link.png").symlink_to("a.png")
    for paths, output in (
        (["a.png"], "./out/../a.png"), (["a.png", "a_x4.png"], "."),
        (["b.jpg", "out/b.png"], "out"), (["link.png"], "a.png"),
    ):  # fmt: skip
        with pytest.raises(UserError, match="input"):
            files.plan([tmp_path / x for x in paths], tmp_path / output)
    touch(tmp_path, "in/a.jpg", "in/a.png", "x/in/a.png")
    for output in (None, tmp_path / "new"):
        found = names(tmp_path, ["in", "x/in"], output)
        assert len(found) == len(set(found.values())) == 3
    with pytest.raises(UserError, match=r"one\.png"):
        names(tmp_path, ["in"], tmp_path / "one.png")


def test_paths_that_hold_nothing(tmp_path, caplog):
    touch(tmp_path, "a.png", "text.txt", "folder/x.txt")
    paths = ["a.png", "text.txt", "none.png", "folder", "*.gif"]
    jobs, failed = files.plan([tmp_path / x for x in paths])
    assert [job.label for job in jobs] == [str(tmp_path / "a.png")] and failed == 4
    for path, record in zip(paths[1:], caplog.records, strict=True):
        assert record.levelname == "ERROR"
        assert str(tmp_path / path) in record.getMessage()
    with pytest.raises(UserError, match=r"none\.png"):
        files.plan([tmp_path / "none.png", tmp_path / "text.txt"])


def photo(height, width, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, True)


def upscaler(lr, progress):
    progress(0.5)
    progress(1)
    return lr.repeat(4, axis=0).repeat(4, axis=1)


def run(paths, output=None, upscaler=upscaler):
    """How many failed."""
    (jobs, failed), steps = files.plan(paths, output), []
    failed += files.run(jobs, upscaler, lambda *done: steps.append(done))
    assert steps == sorted(steps) and steps[-1] == (len(jobs), len(jobs))
    return failed


def test_what_a_photograph_has_is_kept(tmp_path):
    colour, deep = photo(9, 12), photo(9, 12, np.uint16)
    alpha = colour[::-1, :, 1]
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter
    Image.fromarray(np.dstack([colour, alpha])).save(tmp_path / "alpha.png")
    Image.fromarray(colour).save(tmp_path / "turned.jpg", exif=exif, icc_profile=SRGB)
    Image.fromarray(colour[..., 0]).save(tmp_path / "grey.png")
    photographs.write_image(tmp_path / "deep.png", deep)
    assert run([tmp_path], tmp_path / "out") == 0

    alpha_sr, deep_sr, grey_sr, turned_sr = (
        photographs.read_photograph(path) for path in sorted(tmp_path.glob("out/*"))
    )
    np.testing.assert_array_equal(alpha_sr.alpha, pixels.bicubic_up(alpha))
    np.testing.assert_array_equal(alpha_sr.pixels, upscaler(colour, print))
    np.testing.assert_array_equal(deep_sr.pixels, upscaler(deep, print))
    assert grey_sr.grey and grey_sr.pixels.shape == (36, 48, 3)
    assert turned_sr.pixels.shape == (48, 36, 3) and turned_sr.icc == SRGB


def test_bad_files_and_results_are_named_and_the_rest_goes_on(tmp_path, caplog):
    photographs.write_image(tmp_path / "good.png", photo(8, 9))
    photographs.write_image(tmp_path / "sub" / "good.png", photo(8, 9))
    touch(tmp_path, "a_page.jpg")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:99])
    assert run([tmp_path], tmp_path / "out") == 2
    for name, record in zip(["a_page.jpg", "cut.png"], caplog.records, strict=True):
        assert str(tmp_path / name) in record.getMessage()
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2

    def fail(lr, progress):
        raise MemoryError

    (tmp_path / "good_x4.png").mkdir()
    (tmp_path / "file").write_text("no folder")
    for options in (None,), (tmp_path / "file",), (tmp_path / "out", fail):
        caplog.clear()
        assert run([tmp_path / "good.png"], *options) == 1
        assert "good.png" in caplog.text
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The file of a small generator."""
    settings = generators.GeneratorSettings("compact", 1, 4, False)
    path = tmp_path_factory.mktemp("model") / "small.h5"
    networks.save_generator(generators.build_generator(settings), path)
    return path


def test_one_photograph_of_any_kind_is_given_back_as_that_kind(model, tmp_path):
    lr, deep = photo(6, 9), photo(6, 9, np.uint16)
    sr = srgan_tf.upscale(lr, model=model)
    whole = tiles.Upscaler(networks.load_generator(model))(lr)
    np.testing.assert_array_equal(sr, whole)
    assert srgan_tf.upscale(deep, model).dtype == np.uint16
    image = srgan_tf.upscale(Image.fromarray(lr), model)
    np.testing.assert_array_equal(np.array(image), sr)
    photographs.write_image(tmp_path / "a.png", lr)
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        found = srgan_tf.upscale(path, model)
        assert found == tmp_path / "a_x4.png"
        np.testing.assert_array_equal(photographs.read_image(found), sr)
    # Another model of the same name is read anew.
    copy = tmp_path / "model.h5"
    copy.write_bytes(model.read_bytes())
    np.testing.assert_array_equal(srgan_tf.upscale(lr, copy), sr)
    settings = generators.GeneratorSettings("srresnet", 1, 4)
    networks.save_generator(generators.build_generator(settings), copy)
    assert not np.array_equal(srgan_tf.upscale(lr, copy), sr)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "P"])
def test_a_pillow_image_keeps_its_mode_profile_and_orientation(model, mode):
    image = Image.fromarray(photo(6, 9)).convert(mode)
    image.info["icc_profile"] = SRGB
    image.getexif()[274] = 6  # to be turned by a quarter
    found = srgan_tf.upscale(image, model)
    expected = mode if mode in ("L", "LA", "RGBA") else "RGB"
    assert (found.mode, found.size) == (expected, (24, 36))
    assert found.info == ({"icc_profile": SRGB} if "RGB" in expected else {})


def test_what_cannot_be_upscaled_is_named(model):
    for wrong, subject in (
        (photo(6, 9)[..., 0], r"uint8 \[6, 9\]"), (photo(6, 9) / 255, "float64"),
        (np.zeros((6, 9, 4), np.uint8), "4"), ("nowhere.jpg", "nowhere.jpg"),
        (".", "no regular file"), (Image.new("I;16B", (9, 6)), "I;16B"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=subject):
            srgan_tf.upscale(wrong, model)
