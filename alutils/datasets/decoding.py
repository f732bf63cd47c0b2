"""Image files, decoded by stated rules; what no rule covers is refused.

A file is a PNG, JPEG, BMP, TIFF or WebP by its content, whatever its suffix, with one frame. It is turned as its EXIF
orientation says, as in every viewer.
"""

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from alutils.errors import DataError, one_line, unreadable
from alutils.files import open_regular

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # for some others, Pillow starts programs
COLOURS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # Pillow's names
GREY_16_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
WHITE_IS_0 = 0  # of TIFF


def read_image(path: Path) -> Image.Image:
    """Return an image in mode RGB.

    Grey becomes three equal channels, a palette its colours. Values of 16 bits are scaled to 8, so that 65535 becomes
    255: grey is divided by 257 and rounded, and of colours the high byte is kept. Alpha and colour profiles are
    ignored. Raises `DataError` for a file that cannot be decoded, and for pixels that have no known white: floating
    point, whole numbers of 12 or 32 bits, 16-bit grey with 0 as white, LAB.
    """
    image, stored = decoded(path)
    if stored in GREY_16_BITS:
        return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8)).convert("RGB")
    if image.mode not in COLOURS:
        raise DataError(
            f"{path}: pixels of mode {stored}; allowed: 8 or 16 bits a channel, grey, RGB, CMYK, YCbCr or a palette"
        )
    image.info.pop("transparency", None)  # Pillow warns of it in a palette
    return image if image.mode == "RGB" else image.convert("RGB")  # convert always copies


def decoded(path: Path) -> tuple[Image.Image, str]:
    """Return an image, turned upright, and Pillow's name for the pixels in its file, such as "L;4" for 4-bit grey."""
    try:
        file = open_regular(path)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        with file, Image.open(file, formats=FORMATS) as image:
            frames, stored = getattr(image, "n_frames", 1), _stored_as(image)
            ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # decoders raise all kinds
        is_other = isinstance(error, UnidentifiedImageError)
        reason = "it is of another kind" if is_other else one_line(error)[:100] or type(error).__name__
        raise DataError(f"{path}: cannot be decoded as an image ({reason}); allowed: {', '.join(FORMATS)}") from error
    if frames > 1 and image.format != "MPO":  # a camera's MPO is a JPEG with previews behind the photo
        raise DataError(f"{path}: {frames} frames; allowed: one")
    return image, stored


def _stored_as(image: ImageFile.ImageFile) -> str:
    """Return the mode of an image that is open, but not loaded; of grey, Pillow's name for the values in the file."""
    if image.mode not in ("L", "I;16") or not image.tile:
        return image.mode
    arguments = image.tile[0].args
    stored = str(arguments[0] if isinstance(arguments, tuple) else arguments)
    if image.mode == "I;16" and isinstance(image, TiffImagePlugin.TiffImageFile):
        photometric = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, WHITE_IS_0)
        return f"{stored} with 0 as white" if photometric == WHITE_IS_0 else stored
    return stored


def upright_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image, turned as its EXIF says, without decoding its pixels.

    Raises `DataError` for a file that is no image.
    """
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            is_on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) in range(5, 9)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as an image ({one_line(error)[:100]})") from error
    return (height, width) if is_on_its_side else (width, height)
