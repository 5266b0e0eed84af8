"""Reads and writes photographs: by Pillow, and by OpenCV what Pillow cuts to 8 bits."""

import contextlib
import dataclasses
import io
import pathlib

import cv2
import numpy as np
from PIL import ExifTags, Image

from srgan_tf import UserError, atomic, safe

LARGEST = 2**29  # bytes of a file: more would be a mistake, or made to fill memory
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr")
_QUARTER_TURNS = {3: 2, 4: 2, 5: -1, 6: -1, 7: 1, 8: 1}  # by EXIF orientation


class UnreadableImage(UserError):
    """A file is not a photograph that can be decoded, because of what its bytes are."""


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A decoded photograph, upright.

    pixels: uint8 or uint16 [height, width, 3], RGB. alpha: the same dtype [height,
    width], or None. grey: whether the file has one colour channel. icc: the profile.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    icc: bytes | None = None


def read_bytes(path):
    """The bytes of a file. Raises UserError if it cannot be read, or has too many."""
    try:
        safe.size(path, LARGEST)
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def read_photograph(source, name=None):
    """Reads a Photograph with 8 or 16 bits from a path, or from bytes called `name`.

    The EXIF orientation is applied; palette, CMYK, one-bit and grey files become RGB.
    Raises UnreadableImage for animations, floats, and files that are damaged or larger
    than Pillow's limit; UserError for a file or memory that is not there.
    """
    data = source if isinstance(source, bytes) else read_bytes(source)
    name = name or ("the image" if data is source else source)
    with _opened(data, name) as (image, grey, deep):
        icc = image.info.get("icc_profile") or b""
        image.load()  # finds damage before OpenCV would print about it
        alpha, orientation = image.has_transparency_data, _orientation(image)
        if deep:
            values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            values = np.dstack([values] * 3) if values.ndim == 2 else values
            alpha = alpha and values.shape[2] == 4
            values = values[..., [2, 1, 0, 3][: 3 + alpha]]  # from BGR or BGRA
        else:
            mode = "RGBA" if alpha else "RGB"
            values = np.asarray(image if image.mode == mode else image.convert(mode))
    values = np.rot90(values, _QUARTER_TURNS.get(orientation, 0))
    values = values[:, ::-1] if orientation in (2, 4, 5, 7) else values
    fits = icc[16:20] == (b"GRAY" if grey else b"RGB ")  # one for CMYK does not
    alpha = values[..., 3] if alpha else None
    return Photograph(values[..., :3], alpha, grey, icc if fits else None)


def read_image(source, name=None):
    """Reads a photograph as uint8 RGB [height, width, 3], with alpha over white."""
    found = read_photograph(source, name)
    if found.alpha is None and found.pixels.dtype == np.uint8:
        return np.ascontiguousarray(found.pixels)
    return np.array(to_pillow(found).convert("RGB"))


def is_photograph(path):
    """Whether there is a file that read_photograph can read."""
    try:
        read_photograph(path)
    except UserError:
        return False
    return True


def read_size(data, name):
    """(width, height) of the upright photograph, from the header of its bytes only."""
    with _opened(data, name) as (image, _, _):
        turned = image.format != "TIFF" and _orientation(image) > 4  # Pillow turns TIFF
        return image.size[::-1] if turned else image.size


@contextlib.contextmanager
def _opened(data, name):
    """(Pillow image, one colour channel?, 16 bits?), not decoded; names what fails."""
    try:
        with Image.open(io.BytesIO(data), "r", _FORMATS) as image:
            with contextlib.suppress(EOFError):
                if image.format != "MPO":  # the photograph, then previews
                    image.seek(1)  # n_frames would read all, and those before each
                    raise ValueError("several frames or pages")
            raw = image.tile[0][3] if image.format == "PNG" else ""  # as RGB;16B
            bits = getattr(image, "tag_v2", {}).get(ExifTags.Base.BitsPerSample, (8,))
            deep = "16B" in raw or (max(bits) == 16 and image.mode not in ("CMYK", "I"))
            if not deep and image.mode not in _MODES:
                raise ValueError(f"pixels of Pillow's mode {image.mode}")
            yield image, image.mode[0] in "1LI" or raw.startswith("LA"), deep
    except MemoryError as error:
        raise UserError(f"{name} needs more memory than there is.") from error
    except Exception as error:  # a dozen kinds, some naming "<BytesIO object …>"
        reason = " ".join(str(error).split("<")[0].split()) or type(error).__name__
        raise UnreadableImage(f"{name} cannot be decoded ({reason}).") from error


def _orientation(image):
    """The EXIF orientation; 1 for a loaded TIFF, which Pillow has turned upright."""
    with contextlib.suppress(Exception):  # damaged EXIF does not spoil a photograph
        # PNG's own getexif would decode the image.
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    return 1


def to_pillow(photograph, keep_alpha=False):
    """A Pillow image of 8 bits, RGB or grey; alpha is kept or laid over white."""
    values, alpha = photograph.pixels, photograph.alpha
    values = values if alpha is None else np.dstack([values, alpha])
    if values.dtype == np.uint16:
        values = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    image = Image.fromarray(values)
    if alpha is not None and not keep_alpha:
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        image = white
    if photograph.grey:
        return image.convert("LA" if image.mode == "RGBA" else "L")
    return image


def write_image(path, image):
    """Writes a photograph atomically, in the format of path's suffix.

    image: a Photograph, or uint8 or uint16 RGB [height, width, 3]. Only PNG keeps 16
    bits; JPEG and BMP get alpha over white. Raises UserError if that fails.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in EXTENSIONS:
        raise UserError(f"{path} has no known suffix: use {', '.join(EXTENSIONS)}.")
    image = Photograph(image) if isinstance(image, np.ndarray) else image
    try:
        with atomic.atomic_write(path) as partial:
            if image.pixels.dtype == np.uint16 and suffix == ".png":
                partial.write_bytes(_deep_png(image))
                return
            encoded = to_pillow(image, suffix in (".png", ".webp", ".tif", ".tiff"))
            kind = {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:])
            options = {"quality": 95, "subsampling": 0, "icc_profile": image.icc or b""}
            encoded.save(partial, kind, compress_level=4, **options)  # 6 takes 3 times
    except (OSError, ValueError) as error:  # Pillow's encoders raise both
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be written ({reason}).") from error


def _deep_png(photograph):
    values, alpha, icc = photograph.pixels[..., ::-1], photograph.alpha, photograph.icc
    if alpha is not None:
        values = np.dstack([values, alpha])  # BGRA
    elif photograph.grey:
        values = np.rint(values @ [0.114, 0.587, 0.299]).astype(np.uint16)  # luma
    kinds, profile = [cv2.IMAGE_METADATA_ICCP], np.array(bytearray(icc or b""))
    written, data = cv2.imencodeWithMetadata(".png", values, kinds, [profile])
    # libpng refuses damaged and empty profiles.
    return (data if written else cv2.imencode(".png", values)[1]).tobytes()
