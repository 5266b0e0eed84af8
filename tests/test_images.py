"""images.py: files of every kind, good and bad; ranges; luma; bicubic."""

import functools
import io
import os
import pathlib
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from srgan_tf import UserError, images

# pytest drops the filters that images.py sets; see test_the_libraries_do_not_warn.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:PIL")
SHARED = pathlib.Path(__file__).parents[2] / "shared"


def formula_image(height=48, width=40):
    """The formula image of the goldens, RGB uint8."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    return ((7 * x + 13 * y + 29 * c + (x * y) // 5) % 256).astype(np.uint8)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, kind, **options)
    return file.getvalue()


def deep_encoded(pixels, suffix=".png"):
    """16 bits through OpenCV; pixels: uint16, grey, RGB or RGBA."""
    order = {2: ..., 3: (..., [2, 1, 0])}[pixels.ndim]
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        order = (..., [2, 1, 0, 3])
    return cv2.imencode(suffix, np.ascontiguousarray(pixels[order]))[1].tobytes()


def deep_formula_image():
    return formula_image(12, 8).astype(np.uint16) * 250 + 7


def png_chunk(kind, body):
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def png_header(width, height, depth=8, colour=2):
    body = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", body)


# Reading


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_come_back_exactly(kind):
    image = formula_image()
    options = {"lossless": True} if kind == "WEBP" else {}
    photograph = images.read_photograph(encoded(image, kind, **options))
    np.testing.assert_array_equal(photograph.pixels, image)
    assert photograph.pixels.dtype == np.uint8
    assert photograph.alpha is None and not photograph.grey and photograph.icc is None


def test_source_is_a_path_bytes_or_an_open_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(formula_image(), "PNG"))
    with open(path, "rb") as file:
        sources = [path, str(path), path.read_bytes(), file]
        for source in sources:
            np.testing.assert_array_equal(images.read_image(source), formula_image())


def test_grey_is_three_equal_channels_and_remembered():
    grey = formula_image()[..., 0]
    for kind in ("PNG", "TIFF", "BMP"):
        photograph = images.read_photograph(encoded(grey, kind))
        assert photograph.grey
        np.testing.assert_array_equal(photograph.pixels, np.dstack([grey] * 3))
    bits = Image.fromarray(grey).convert("1")
    photograph = images.read_photograph(encoded(bits, "PNG"))
    assert photograph.grey and set(np.unique(photograph.pixels)) == {0, 255}


def test_grey_with_alpha():
    grey, alpha = formula_image()[..., 0], formula_image()[..., 1]
    image = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    photograph = images.read_photograph(encoded(image, "PNG"))
    assert photograph.grey
    np.testing.assert_array_equal(photograph.pixels[..., 2], grey)
    np.testing.assert_array_equal(photograph.alpha, alpha)


def test_palette_with_and_without_a_transparent_colour():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    photograph = images.read_photograph(encoded(image, "PNG"))
    assert photograph.pixels.tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert photograph.alpha is None and not photograph.grey
    photograph = images.read_photograph(encoded(image, "PNG", transparency=1))
    assert photograph.pixels.tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert photograph.alpha.tolist() == [[255, 0]]


def test_cmyk_jpeg_becomes_rgb_and_loses_its_profile():
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta + yellow: red
    profile = b"\0" * 16 + b"CMYK" + b"\0" * 108
    photograph = images.read_photograph(encoded(ink, "JPEG", icc_profile=profile))
    assert np.abs(photograph.pixels.astype(int) - [255, 0, 0]).max() <= 3
    assert photograph.icc is None


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bits_are_kept(suffix):
    deep = deep_formula_image()
    photograph = images.read_photograph(deep_encoded(deep, suffix))
    assert photograph.pixels.dtype == np.uint16
    np.testing.assert_array_equal(photograph.pixels, deep)
    assert photograph.alpha is None and not photograph.grey
    photograph = images.read_photograph(deep_encoded(deep[..., 0], suffix))
    assert photograph.grey
    np.testing.assert_array_equal(photograph.pixels, np.dstack([deep[..., 0]] * 3))


def test_16_bit_alpha_is_kept():
    deep = deep_formula_image()
    photograph = images.read_photograph(deep_encoded(np.dstack([deep, deep[..., 1]])))
    np.testing.assert_array_equal(photograph.pixels, deep)
    np.testing.assert_array_equal(photograph.alpha, deep[..., 1])


def test_16_bit_grey_with_alpha():
    values = deep_formula_image()[..., :2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = png_header(8, 12, depth=16, colour=4)
    data += png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    photograph = images.read_photograph(data)
    assert photograph.grey
    np.testing.assert_array_equal(photograph.pixels[..., 1], values[..., 0])
    np.testing.assert_array_equal(photograph.alpha, values[..., 1])


def test_read_image_rounds_16_bits_to_8():
    deep = np.array([[0, 128, 129, 257, 32767, 65535]], np.uint16)
    image = images.read_image(deep_encoded(deep))
    # 128/257 = 0.498 → 0, 129/257 = 0.502 → 1, 32767/257 = 127.498 → 127
    assert image[0, :, 0].tolist() == [0, 0, 1, 1, 127, 255]


def test_read_image_lays_alpha_over_white():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 103, 255, 51]]], np.uint8)
    image = images.read_image(encoded(rgba, "PNG"))
    # 0.2 of the colour and 0.8 of white: 0 → 204, 103 → 224.6, 255 → 255
    assert image.tolist() == [[[10, 20, 30], [255, 255, 255], [204, 225, 255]]]
    deep = deep_encoded(rgba.astype(np.uint16) * 257)
    np.testing.assert_array_equal(images.read_image(deep), image)


# Orientation: what a viewer shows, by Pillow's own transpositions.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(pixels, orientation):
    if orientation == 1:
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(TURNS[orientation]))


def exif_bytes(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()


def deep_tiff(pixels, orientation=1, private=False):
    """A 16-bit RGB TIFF by hand: OpenCV's writer sets no orientation.

    private: with a tag that libtiff does not know and that OpenCV would warn of.
    """
    height, width, _ = pixels.shape
    tags = [(256, 4, width), (257, 4, height), (258, 3, 152), (259, 3, 1), (262, 3, 2)]
    tags += [(273, 4, 160), (274, 3, orientation), (277, 3, 3), (278, 4, height)]
    tags += [(279, 4, pixels.nbytes)] + [(65000, 4, 1)] * private
    data = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    for tag, kind, value in tags:
        count = 3 if tag == 258 else 1
        short = kind == 3 and count == 1
        packed = struct.pack("<HH", value, 0) if short else struct.pack("<I", value)
        data += struct.pack("<HHI", tag, kind, count) + packed
    data = (data + bytes(4)).ljust(152, b"\0") + struct.pack("<3H", 16, 16, 16)
    return data.ljust(160, b"\0") + pixels.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation):
    image = formula_image(12, 8)
    expected = upright(image, orientation)
    for kind in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        if kind == "TIFF":
            options = {"tiffinfo": {274: orientation}, "compression": "tiff_lzw"}
        else:
            options["exif"] = exif_bytes(orientation)
        found = images.read_photograph(encoded(image, kind, **options))
        np.testing.assert_array_equal(found.pixels, expected, err_msg=kind)
    jpeg = encoded(image, "JPEG", exif=exif_bytes(orientation))
    plain = images.read_image(encoded(image, "JPEG"))
    found = images.read_image(jpeg)
    np.testing.assert_array_equal(found, upright(plain, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_to_16_bits(orientation):
    deep = formula_image(12, 8).astype(np.uint16) * 257
    expected = upright(formula_image(12, 8), orientation).astype(np.uint16) * 257
    png = deep_encoded(np.dstack([deep, deep[..., 0]]))
    chunk = png_chunk(b"eXIf", exif_bytes(orientation)[6:])
    found = images.read_photograph(png[:33] + chunk + png[33:])
    np.testing.assert_array_equal(found.pixels, expected)
    np.testing.assert_array_equal(found.alpha, expected[..., 0])
    found = images.read_photograph(deep_tiff(deep, orientation))
    np.testing.assert_array_equal(found.pixels, expected)


def test_colour_profile_is_kept_where_it_fits():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        data = encoded(formula_image(), kind, icc_profile=profile)
        assert images.read_photograph(data).icc == profile, kind
    grey = encoded(formula_image()[..., 0], "PNG", icc_profile=profile)
    assert images.read_photograph(grey).icc is None  # a profile for RGB


# Bad files


@functools.cache
def bad_files():
    good = encoded(formula_image(200, 160), "JPEG", quality=95)
    png = encoded(formula_image(), "PNG")
    tiff = encoded(formula_image(), "TIFF", compression="tiff_lzw")
    frames = [Image.fromarray(formula_image()), Image.fromarray(255 - formula_image())]
    several = {"save_all": True, "append_images": frames[1:]}
    gif = encoded(frames[0].convert("P"), "GIF")
    bomb = png_header(30_000, 30_000) + png_chunk(b"IDAT", zlib.compress(bytes(100)))
    bomb += png_chunk(b"IEND", b"")
    large = encoded(Image.new("1", (15_000, 14_000)), "TIFF", compression="group4")
    real = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    damaged = bytearray(png)
    damaged[len(png) // 2] ^= 255
    exif_only = b"\xff\xd8\xff\xe1\x00\x10Exif\0\0" + bytes(8)
    return {
        "empty.jpg": (b"", "is empty"),
        "page.jpg": (b"\n<!DOCTYPE html><html>not found</html>", "web page"),
        "text.png": (b"hello" * 100, "not an image"),
        "cut.jpg": (good[: len(good) // 2], "cut short or damaged"),
        "start.jpg": (good[:20], ""),
        "cut.png": (png[: len(png) // 2], "cut short or damaged"),
        "cut.tif": (tiff[: len(tiff) // 2], ""),
        "header.png": (png[:33], ""),
        "damaged.png": (bytes(damaged), "cut short or damaged"),
        "exif.jpg": (exif_only, ""),
        "zeros.bmp": (b"BM" + bytes(100), ""),
        "riff.webp": (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(8), ""),
        "still.gif.jpg": (gif, "is a GIF"),
        "bomb.png": (bomb, "million pixels"),
        "large.tif": (large, "million pixels"),
        "moving.png": (encoded(frames[0], "PNG", **several), "2 frames"),
        "moving.webp": (encoded(frames[0], "WEBP", **several), "2 frames"),
        "pages.tif": (encoded(frames[0], "TIFF", **several), "2 frames"),
        "float.tif": (encoded(Image.fromarray(real), "TIFF"), "mode F"),
        "float_rgb.tif": (
            cv2.imencode(".tiff", np.dstack([real] * 3))[1].tobytes(),
            "unusual TIFF",
        ),
        "int.tif": (encoded(Image.new("I", (4, 4)), "TIFF"), "mode I"),
        "lab.tif": (encoded(Image.new("LAB", (4, 4)), "TIFF"), "mode LAB"),
        "drawing.eps.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
    }


@pytest.mark.parametrize("name", sorted(bad_files()))
def test_bad_files_are_named(name, tmp_path, capfd):
    data, words = bad_files()[name]
    path = tmp_path / name
    path.write_bytes(data)
    for source, called in ((path, None), (data, name)):
        with pytest.raises(UserError) as caught:
            images.read_image(source, called)
        message = str(caught.value)
        assert name in message and words in message
        assert "\n" not in message and "object at 0x" not in message
    assert capfd.readouterr() == ("", "")  # nor do the libraries print


def test_the_libraries_do_not_warn(tmp_path):
    """In a process of its own: pytest puts its filters before ours."""
    for name in ("cut.tif", "large.tif"):
        (tmp_path / name).write_bytes(bad_files()[name][0])
    (tmp_path / "deep.tif").write_bytes(deep_tiff(deep_formula_image(), private=True))
    program = (
        "import sys\nfrom srgan_tf import UserError, images\nfor path in sys.argv[1:]:"
        "\n  try: images.read_image(path)\n  except UserError: print('named')"
    )
    paths = [tmp_path / name for name in ("cut.tif", "large.tif", "deep.tif")]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parents[1],
    )
    assert (done.stdout, done.stderr) == ("named\nnamed\n", "")


def test_every_cut_of_a_file_is_a_photograph_or_a_user_error(capfd):
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP"):
        data = encoded(formula_image(), kind)
        for end in range(0, len(data), max(1, len(data) // 60)):
            try:
                images.read_photograph(data[:end], "cut")
            except UserError as error:
                assert "cut" in str(error)
    assert capfd.readouterr() == ("", "")


def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder\.png is a folder"):
        images.read_image(tmp_path / "folder.png")
    with pytest.raises(UserError, match=r"none\.png does not exist"):
        images.read_image(tmp_path / "none.png")
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    with pytest.raises(UserError, match=r"pipe\.png is no regular file"):
        images.read_image(tmp_path / "pipe.png")


@pytest.mark.parametrize("start", [b"II*\0\x08\0\0\0\xff\xff", b"MM\xf7*\0\xb6\0\x08"])
def test_damaged_exif_does_not_spoil_a_photograph(start):
    exif = b"Exif\0\0" + start + bytes(20)
    for kind in ("JPEG", "PNG", "WEBP"):
        data = encoded(formula_image(), kind, exif=exif)
        expected = images.read_image(encoded(formula_image(), kind))
        np.testing.assert_array_equal(images.read_image(data), expected)


def test_one_pixel():
    pixel = np.array([[[1, 2, 3]]], np.uint8)
    np.testing.assert_array_equal(images.read_image(encoded(pixel, "PNG")), pixel)


# Writing


@pytest.mark.parametrize("suffix", images.EXTENSIONS)
def test_written_photographs_come_back(suffix, tmp_path):
    smooth = np.full((16, 24, 3), [200, 100, 50], np.uint8)
    path = tmp_path / f"a{suffix.upper()}"
    images.write_image(path, smooth)
    error = np.abs(images.read_image(path).astype(int) - smooth)
    assert error.max() <= (3 if suffix in (".jpg", ".jpeg", ".webp") else 0)
    assert os.listdir(tmp_path) == [path.name]


def test_16_bits_alpha_grey_and_profile_are_written(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = deep_formula_image()
    photograph = images.Photograph(deep, deep[..., 0], False, profile)
    images.write_image(tmp_path / "deep.png", photograph)
    found = images.read_photograph(tmp_path / "deep.png")
    np.testing.assert_array_equal(found.pixels, deep)
    np.testing.assert_array_equal(found.alpha, deep[..., 0])
    assert found.icc == profile

    grey = np.dstack([deep[..., 0]] * 3)
    images.write_image(tmp_path / "grey.png", images.Photograph(grey, grey=True))
    found = images.read_photograph(tmp_path / "grey.png")
    assert found.grey and found.pixels.dtype == np.uint16
    np.testing.assert_array_equal(found.pixels, grey)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_8_bit_grey_with_alpha_is_written(suffix, tmp_path):
    grey, alpha = formula_image()[..., 0], formula_image()[..., 1]
    photograph = images.Photograph(np.dstack([grey] * 3), alpha, grey=True)
    images.write_image(tmp_path / f"a{suffix}", photograph)
    found = images.read_photograph(tmp_path / f"a{suffix}")
    assert found.grey
    np.testing.assert_array_equal(found.pixels[..., 0], grey)
    np.testing.assert_array_equal(found.alpha, alpha)


def test_formats_without_alpha_or_16_bits_get_white_and_8_bits(tmp_path):
    deep = np.full((8, 8, 3), 257 * 100, np.uint16)
    clear = images.Photograph(deep, np.zeros((8, 8), np.uint16))
    images.write_image(tmp_path / "a.bmp", clear)
    assert (images.read_image(tmp_path / "a.bmp") == 255).all()
    images.write_image(tmp_path / "b.bmp", deep)
    assert (images.read_image(tmp_path / "b.bmp") == 100).all()


def test_a_grey_array_is_written_as_grey(tmp_path):
    images.write_image(tmp_path / "a.png", formula_image()[..., 0])
    assert images.read_photograph(tmp_path / "a.png").grey


def test_nothing_partial_is_left(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    images.write_image(path, formula_image())
    before = path.read_bytes()

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(UserError, match=r"a\.png cannot be written \(No space left"):
        images.write_image(path, 255 - formula_image())
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.png"]


def test_what_cannot_be_written_says_why(tmp_path):
    with pytest.raises(UserError, match=r"a\.gif has no known suffix"):
        images.write_image(tmp_path / "a.gif", formula_image())
    with pytest.raises(UserError, match=r"a\.png cannot be written"):
        images.write_image(tmp_path / "missing" / "a.png", formula_image())
    wide = np.zeros((1, 16384, 3), np.uint8)
    with pytest.raises(UserError, match="16384x1, too large: write a PNG"):
        images.write_image(tmp_path / "a.webp", wide)
    with pytest.raises(ValueError, match="float64"):
        images.write_image(tmp_path / "a.png", formula_image() / 255)
    assert os.listdir(tmp_path) == []


# Ranges


@pytest.mark.parametrize("pixel_range", [(-1, 1), (0, 1), (0, 255)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_every_value_comes_back_from_a_range(pixel_range, dtype):
    pixels = np.arange(256, dtype=np.uint8)
    values = images.to_range(pixels.astype(dtype), pixel_range)
    assert values.dtype == (np.float64 if dtype is np.float64 else np.float32)
    np.testing.assert_allclose(values[[0, 255]], pixel_range, atol=1e-6)
    np.testing.assert_array_equal(images.to_uint8(values, pixel_range), pixels)
    np.testing.assert_allclose(images.to_pixels(values, pixel_range), pixels, atol=1e-4)


def test_every_16_bit_value_comes_back_from_a_range():
    pixels = np.arange(65536, dtype=np.uint16)
    for pixel_range in ((-1, 1), (0, 1)):
        values = images.to_range(pixels, pixel_range)
        assert values.dtype == np.float32
        np.testing.assert_allclose(values[[0, -1]], pixel_range, atol=1e-6)
        np.testing.assert_array_equal(images.to_uint16(values, pixel_range), pixels)
    assert images.to_uint16(np.float32([-2, 2])).tolist() == [0, 65535]


def test_range_numbers_by_hand():
    assert images.to_range(np.float32(51)) == pytest.approx(-0.6)
    assert images.to_pixels(0.0) == 127.5
    assert images.to_pixels(1.2) == pytest.approx(280.5)  # not clipped
    values = np.float32([-1.2, -1, -0.997, -0.995, 0.5, 1, 1.2])
    assert images.to_uint8(values).tolist() == [0, 0, 0, 1, 191, 255, 255]
    # Exactly 126.535 of 255; in float16 arithmetic it would be 126.5, and round to 126.
    assert images.to_uint8(np.float16([-0.00757])).tolist() == [127]


def test_luma_of_pure_colours():
    colours = [[255] * 3, [0] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    found = images.luma(np.array(colours, np.uint8))
    np.testing.assert_allclose(found, [235, 16, 81.481, 144.553, 40.966], atol=1e-9)
    assert found.dtype == np.float64


# Bicubic


def test_bicubic_keeps_a_flat_image_and_its_sizes():
    flat = np.full((16, 24, 3), 77, np.uint8)
    low = images.bicubic_down(flat)
    assert low.shape == (4, 6, 3) and low.dtype == np.uint8 and (low == 77).all()
    high = images.bicubic_up(low)
    assert high.shape == flat.shape and (high == 77).all()
    assert images.bicubic_resize(flat, (5, 7)).shape == (5, 7, 3)


def test_bicubic_down_is_antialiased():
    """MATLAB's kernel, stretched 4 times, on a step, worked out in plain sums."""
    row = np.zeros(64)
    row[32:] = 200
    expected = []
    for centre in 4 * np.arange(16) + 1.5:
        distance = np.abs(np.arange(64) - centre) / 4
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        weights = np.where(distance < 1, near, np.where(distance < 2, far, 0))
        expected.append(np.sum(weights * row) / np.sum(weights))
    expected = np.clip(expected, 0, 255)
    image = np.zeros((64, 64, 3), np.uint8) + row[None, :, None].astype(np.uint8)
    low = images.bicubic_down(image)
    assert np.abs(low[8, :, 1] - expected).max() <= 0.51
    assert np.ptp(low, axis=0).max() == 0


def test_bicubic_of_16_bits_agrees_with_8():
    image = formula_image()
    deep = images.bicubic_down(image.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - images.bicubic_down(image)).max() <= 1.01
    assert images.bicubic_up(deep[..., 0]).shape == (48, 40)
    step = np.uint16([[0, 0, 65535, 65535]])
    up = images.bicubic_up(step)[0].astype(int)  # overshoots: clipped, not wrapped
    assert up[0] == 0 and up[-1] == 65535 and np.diff(up).min() > -10_000


def test_sizes_that_do_not_fit():
    with pytest.raises(UserError, match="40x46 cannot be made 4 times smaller"):
        images.bicubic_down(formula_image(46, 40))
    assert images.crop_to_multiple(formula_image(47, 41)).shape == (44, 40, 3)
    image = formula_image(11, 9)
    np.testing.assert_array_equal(images.crop_to_multiple(image), image[:8, :8])
    np.testing.assert_array_equal(images.center_crop(image, 5), image[3:8, 2:7])
    np.testing.assert_array_equal(images.center_crop(image, (3, 9)), image[4:7])
    with pytest.raises(UserError, match="9x11 is smaller than 10x10"):
        images.center_crop(image, 10)


@pytest.mark.skipif(not (SHARED / "data/set5").is_dir(), reason="no set5 in ../shared")
def test_bicubic_reaches_the_published_psnr_on_set5():
    values = []
    for path in sorted((SHARED / "data/set5/HR").glob("*.png")):
        low = next((SHARED / "data/set5/LR_x4").glob(f"{path.stem}*.png"))
        up = images.bicubic_up(images.read_image(low))
        difference = np.rint(images.luma(images.read_image(path)))
        difference = (difference - np.rint(images.luma(up)))[4:-4, 4:-4]
        values.append(10 * np.log10(255**2 / np.mean(difference**2)))
    assert len(values) == 5
    assert np.mean(values) == pytest.approx(28.418, abs=0.02)
