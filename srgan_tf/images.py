"""Pixels in and out of files; the only place where ranges change; bicubic resizing.

Pillow reads and writes nearly everything. OpenCV helps where Pillow cannot: it keeps
the 16 bits of a colour PNG or TIFF, which Pillow would cut to 8.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
import struct
import threading
import warnings
import zlib

import cv2
import numpy as np
from PIL import Image

from . import UserError

SCALE = 4
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
NETWORK_RANGE = (-1.0, 1.0)
MAX_PIXELS = 200_000_000  # a header that promises more is refused before decoding
MAX_FILE_BYTES = 2 * 2**30

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
_GREY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I;16N")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr")
_ALPHA_SUFFIXES = (".png", ".webp", ".tif", ".tiff")
_LARGEST_SIDE = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}  # of the formats
_TOO_LARGE = f"has more than {MAX_PIXELS // 10**6} million pixels: make it smaller."

# Every fault of a file becomes a UserError here; the libraries need not print it too.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow warns above it; we refuse
warnings.filterwarnings("ignore", module=r"PIL\.")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A decoded photograph, upright.

    pixels: uint8 or uint16 [height, width, 3], RGB.
    alpha: the same type [height, width], or None where the file has none.
    grey: the file had one channel of colour; write_image writes one again.
    icc: the colour profile of the file, or None.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    icc: bytes | None = None


def read_bytes(path):
    """The bytes of a regular file; UserError names one that cannot be read."""
    path = pathlib.Path(path)
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder, not a photograph: name a file.")
        if not path.exists():
            raise UserError(f"{path} does not exist: check its name.")
        if not path.is_file():  # a pipe or a device could block for ever
            raise UserError(f"{path} is no regular file: name a photograph.")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path} is larger than 2 GiB: save it smaller.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def read_photograph(source, name=None):
    """Read a photograph of any size, 8 or 16 bits.

    source: a path, the bytes of a file, or an open binary file with a name.
    name: what errors call it; the path or the file's name if not given.
    Returns a Photograph: EXIF orientation applied, palette, CMYK, one-bit and grey
    turned to RGB, alpha (or a transparent colour) apart, 16 bits kept for PNG and TIFF.
    Raises UserError, naming the file, for anything else: animations, several pages,
    floating point, more than MAX_PIXELS, cut or damaged files, no photograph at all.
    """
    if isinstance(source, bytes):
        data, name = source, name or "the image"
    elif hasattr(source, "read"):
        data, name = source.read(), name or source.name
    else:
        data, name = read_bytes(source), name or str(source)
    try:
        return _decode(data)
    except UserError as error:
        fault = str(error)
    except MemoryError:
        fault = "needs more memory than there is."
    except Image.DecompressionBombError:
        fault = _TOO_LARGE
    except Image.UnidentifiedImageError:
        fault = _unknown(data)
    except Exception as error:  # Pillow raises about a dozen kinds for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        fault = f"is cut short or damaged ({reason}): save or fetch it again."
    raise UserError(f"{name} {fault}")


def _unknown(data):
    """What is wrong with a file that Pillow does not recognise, and what to do."""
    start = data[:512].lstrip().lower()
    if not data:
        return "is empty: save or fetch it again."
    if start.startswith((b"gif87a", b"gif89a")):
        return "is a GIF: save one frame of it as PNG."
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg", b"<!--")):
        return "is a web page or drawing, not a photograph: fetch the image itself."
    if start.startswith((b"ii*\0", b"mm\0*", b"ii+\0", b"mm\0+")):
        return "is a damaged or unusual TIFF (floats?): save it as 8- or 16-bit PNG."
    return f"is not an image that can be read: use one of {', '.join(EXTENSIONS)}."


def _decode(data):
    """Photograph of a file's bytes; raises whatever Pillow and OpenCV raise."""
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise UserError(_TOO_LARGE)
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # MPO: the photograph, then previews
            raise UserError(f"holds {frames} frames or pages: save one of them as PNG.")
        # Pillow's mode hides 16-bit colour; IHDR, always a PNG's first chunk, holds
        # the bits and then the kind of colour, 0 or 4 for grey.
        depth, grey = 8, image.mode in _GREY_MODES
        if image.format == "PNG":
            depth, grey = data[24], data[25] in (0, 4)
        elif image.format == "TIFF":
            depth = max(image.tag_v2.get(258, (1,)))  # BitsPerSample
        deep = depth == 16 and image.mode not in ("CMYK", "I", "F")
        if not deep and image.mode not in _MODES:
            raise UserError(
                f"has unusual pixels (Pillow's mode {image.mode}, {depth} bits):"
                " save it as 8- or 16-bit PNG."
            )
        icc = image.info.get("icc_profile", b"")
        image.load()  # finds damage, before OpenCV would print about it
        orientation = _orientation(image)
        pixels, alpha = _deep_planes(data, image) if deep else _planes(image)
    # A profile made for another kind of colour than we keep is worse than none.
    fits = icc[16:20] not in (b"CMYK", b"Lab ", b"RGB " if grey else b"GRAY")
    return Photograph(
        _upright(pixels, orientation),
        None if alpha is None else _upright(alpha, orientation),
        grey,
        icc if icc and fits else None,
    )


def _planes(image):
    """RGB uint8 [h, w, 3] and alpha [h, w] or None of a loaded Pillow image."""
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        return rgba[..., :3], rgba[..., 3]
    return np.asarray(image.convert("RGB")), None


def _deep_planes(data, image):
    """The same in uint16, by OpenCV."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        raise ValueError("unusual 16-bit pixels")
    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=2), None
    alpha = values.shape[2] == 4 and image.has_transparency_data
    return values[..., 2::-1], values[..., 3] if alpha else None  # from BGR


def _orientation(image):
    """Of a loaded image; Pillow and OpenCV have turned TIFFs upright by now."""
    try:
        return image.getexif().get(274, 1)
    except Exception:  # damaged EXIF does not spoil a photograph
        return 1


def _upright(array, orientation):
    """Undo an EXIF orientation, 1 to 8; anything else counts as upright."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def read_image(source, name=None):
    """Read a photograph as uint8 [height, width, 3], RGB, alpha laid over white.

    16 bits are rounded to 8. Otherwise as read_photograph.
    """
    return _to_8_bit(_over_white(read_photograph(source, name)))


def _to_8_bit(pixels):
    """uint16 0-65535 → uint8 0-255, rounded; uint8 comes back as it is."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _over_white(photograph):
    pixels, alpha = photograph.pixels, photograph.alpha
    top = np.uint32(np.iinfo(pixels.dtype).max)
    if alpha is None or alpha.min() == top:
        return pixels
    alpha = alpha[..., None].astype(np.uint32)
    mixed = pixels * alpha + top * (top - alpha) + top // 2  # stays under 2**32
    return (mixed // top).astype(pixels.dtype)


def write_image(path, image):
    """Write a photograph whole or not at all: a temporary file beside it is renamed.

    path: its suffix, one of EXTENSIONS, chooses the format.
    image: a Photograph, or uint8 or uint16 [h, w, 3] RGB or [h, w] grey.
    PNG keeps 16 bits, others get 8; PNG, WebP and TIFF keep alpha, in others it is laid
    over white. The colour profile is kept. Raises UserError if it cannot be written.
    """
    path = pathlib.Path(path)
    if not isinstance(image, Photograph):
        grey = image.ndim == 2
        image = Photograph(np.dstack([image] * 3) if grey else image, grey=grey)
    if image.pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"pixels are {image.pixels.dtype}, not uint8 or uint16")
    suffix = path.suffix.lower()
    if suffix not in EXTENSIONS:
        raise UserError(f"{path} has no known suffix: use {', '.join(EXTENSIONS)}.")
    check_size(path, *image.pixels.shape[:2])
    try:
        with whole(path) as partial, open(partial, "xb") as file:
            _encode(image, suffix, file)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path} cannot be written ({reason}).") from error


@contextlib.contextmanager
def whole(path):
    """The path of a file to write beside `path`, which it replaces if nothing fails."""
    partial = path.with_name(f".{os.getpid()}-{threading.get_ident()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def check_size(path, height, width):
    """UserError if an image of that size does not fit into the format of path."""
    suffix = pathlib.Path(path).suffix.lower()
    if max(height, width) > _LARGEST_SIDE.get(suffix, height + width):
        raise UserError(f"{path} would be {width}x{height}, too large: write a PNG.")


def _encode(photograph, suffix, file):
    if photograph.pixels.dtype == np.uint16 and suffix == ".png":
        file.write(_deep_png(photograph))
        return
    keeps_alpha = photograph.alpha is not None and suffix in _ALPHA_SUFFIXES
    pixels = photograph.pixels if keeps_alpha else _over_white(photograph)
    image = Image.fromarray(_to_8_bit(pixels))
    if photograph.grey and suffix != ".webp":  # which has no grey
        image = image.convert("L")
    if keeps_alpha:
        image.putalpha(Image.fromarray(_to_8_bit(photograph.alpha)))
    image.save(
        file,
        {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:]),
        icc_profile=photograph.icc or b"",
        quality=95,  # of JPEG and WebP
        subsampling=0,  # of JPEG: colour as fine as light
        compress_level=4,  # of PNG: 6 takes three times as long for nothing
    )


def _deep_png(photograph):
    """The bytes of a 16-bit PNG, the colour profile put in by hand."""
    pixels, alpha = photograph.pixels, photograph.alpha
    if alpha is not None:
        values = np.dstack([pixels[..., ::-1], alpha])
    else:
        order = cv2.COLOR_RGB2GRAY if photograph.grey else cv2.COLOR_RGB2BGR
        values = cv2.cvtColor(np.ascontiguousarray(pixels), order)
    data = cv2.imencode(".png", values)[1].tobytes()
    if photograph.icc is None:
        return data
    body = b"iCCPicc\0\0" + zlib.compress(photograph.icc)
    length, check = len(body) - 4, zlib.crc32(body)
    chunk = struct.pack(">I", length) + body + struct.pack(">I", check)
    return data[:33] + chunk + data[33:]  # after the signature and IHDR


def to_range(pixels, pixel_range=NETWORK_RANGE):
    """0-255 → pixel_range: arrays or tensors of any backend, any shape.

    Integer arrays become float32, uint16 ones from 0-65535; floats keep their type.
    Nothing is clipped.
    """
    lowest, highest = pixel_range
    if isinstance(pixels, np.ndarray) and pixels.dtype.kind in "iu":
        pixels = pixels.astype(np.float32) / (257 if pixels.dtype == np.uint16 else 1)
    return pixels * ((highest - lowest) / 255.0) + lowest


def to_pixels(values, pixel_range=NETWORK_RANGE):
    """pixel_range → 0-255, the inverse of to_range: neither rounded nor clipped.

    Plain arithmetic, so that gradients pass: for features and losses.
    """
    lowest, highest = pixel_range
    return (values - lowest) * (255.0 / (highest - lowest))


def to_uint8(values, pixel_range=NETWORK_RANGE):
    """pixel_range → uint8 0-255, rounded and clipped; the one place that rounds."""
    values = np.asarray(values).astype(np.float32)  # float16 would lose steps
    return np.rint(np.clip(to_pixels(values, pixel_range), 0, 255)).astype(np.uint8)


def to_uint16(values, pixel_range=NETWORK_RANGE):
    """pixel_range → uint16 0-65535: to_uint8 for photographs of 16 bits."""
    pixels = np.clip(to_pixels(np.asarray(values, np.float32), pixel_range), 0, 255)
    return np.rint(pixels * 257).astype(np.uint16)


def luma(pixels):
    """Y of ITU-R BT.601 in 16-235, float64 and unrounded, of RGB [..., 3] in 0-255.

    The luma of MATLAB's rgb2ycbcr, in which super-resolution papers measure.
    """
    weights = np.array([65.481, 128.553, 24.966])
    return 16.0 + np.asarray(pixels, np.float64) @ weights / 255.0


def bicubic_resize(image, size):
    """Antialiased bicubic resize, that of MATLAB's imresize, rounded.

    image: uint8 or uint16, [h, w, 3] or [h, w]. size: (height, width).
    """
    if image.dtype == np.uint8:
        return np.array(Image.fromarray(image).resize(size[::-1], Image.BICUBIC))
    if image.dtype != np.uint16:
        raise ValueError(f"pixels are {image.dtype}, not uint8 or uint16")
    if image.ndim == 3:
        planes = [bicubic_resize(plane, size) for plane in np.moveaxis(image, 2, 0)]
        return np.stack(planes, axis=2)
    plane = Image.fromarray(np.ascontiguousarray(image, np.float32))
    plane = np.asarray(plane.resize(size[::-1], Image.BICUBIC))
    return np.rint(np.clip(plane, 0, 65535)).astype(np.uint16)


def bicubic_down(high):
    """low of high: the one that trains, tests and serves the bicubic baseline.

    Raises UserError if a side of high is no multiple of SCALE.
    """
    height, width = high.shape[:2]
    if height % SCALE or width % SCALE:
        raise UserError(
            f"an image of {width}x{height} cannot be made {SCALE} times smaller:"
            f" crop it to multiples of {SCALE}."
        )
    return bicubic_resize(high, (height // SCALE, width // SCALE))


def bicubic_up(low):
    """The bicubic baseline: low enlarged SCALE times."""
    return bicubic_resize(low, (low.shape[0] * SCALE, low.shape[1] * SCALE))


def crop_to_multiple(image):
    """The upper left part, its sides multiples of SCALE: as papers crop test images."""
    height, width = image.shape[:2]
    return image[: height - height % SCALE, : width - width % SCALE]


def center_crop(image, size):
    """The middle of an image; size: a side, or (height, width).

    Raises UserError if the image is smaller.
    """
    height, width = (size, size) if isinstance(size, int) else size
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    if top < 0 or left < 0:
        raise UserError(
            f"an image of {image.shape[1]}x{image.shape[0]} is smaller than"
            f" {width}x{height}: leave it out or choose a smaller size."
        )
    return image[top : top + height, left : left + width]
