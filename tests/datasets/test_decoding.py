"""Image and label files are read by stated rules, or refused in one line."""

import os
import re
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from test_folder import load, write_data_set

from alutils.datasets.decoding import read_image
from alutils.datasets.labels import read_values
from alutils.errors import DataError

GREY = np.array([[0, 1, 2, 3], [4, 5, 6, 7]], np.uint8)
COLOURS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10


def saved(path: Path, image: Image.Image | np.ndarray, kind: str, **options: Any) -> Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, kind, **options)
    return path


def png(pixels: bytes, width: int, bits: int, colour_type: int, behind: bytes = b"") -> bytes:
    """Return a PNG of one row of pixels, as bytes of the file; `behind` are chunks behind them."""
    head = struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0" + pixels)), behind, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# Files that are no image of an allowed kind


def of_kind(kind: str) -> bytes:
    file = BytesIO()
    Image.fromarray(COLOURS).save(file, kind)
    return file.getvalue()


PICTURE_OF_A_BOMB = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
NO_IMAGES = {
    "eps": of_kind("EPS"),
    "dds": of_kind("DDS")[:100],
    "avif": of_kind("AVIF")[:-9],
    "gif": of_kind("GIF"),
    "empty": b"",
    "text": b"no image",
    "cut": of_kind("PNG")[:-30],
    "cut jpeg": of_kind("JPEG")[:-30],
    "cut tiff": of_kind("TIFF")[:-30],
    "bomb": PICTURE_OF_A_BOMB,
}


@pytest.mark.parametrize("read", [read_image, read_values])
@pytest.mark.parametrize("case", NO_IMAGES)
def test_what_is_no_image_of_an_allowed_kind_is_one_line(
    case: str, read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("subprocess.Popen", None)  # no program is started
    path = written(tmp_path / "0.png", NO_IMAGES[case])
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: cannot be decoded .*allowed: PNG, JPEG, BMP.*$"):
        read(path)


@pytest.mark.parametrize("error", [RuntimeError("a\nb"), ZeroDivisionError(), MemoryError(), NotImplementedError("c")])
def test_whatever_a_decoder_raises_is_one_line(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> None:
        raise error

    path = saved(tmp_path / "0.png", COLOURS, "PNG")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: cannot be decoded .*(a b|Error|c).*$"):
        read_image(path)


@pytest.mark.parametrize("read", [read_image, read_values])
def test_a_pipe_and_a_folder_are_one_line_at_once(read: Any, tmp_path: Path):
    os.mkfifo(tmp_path / "0.png")
    (tmp_path / "1.png").mkdir()
    for name in ("0.png", "1.png"):
        with pytest.raises(DataError, match=rf"{name}: cannot be read \(not a regular file\)$"):
            read(tmp_path / name)
    with pytest.raises(DataError, match=r"2.png: cannot be read \(No such file or directory\)$"):
        read(tmp_path / "2.png")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_several_frames_are_one_line(kind: str, tmp_path: Path):
    image, other = Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)
    path = saved(tmp_path / "0.x", image, kind, save_all=True, append_images=[other])
    with pytest.raises(DataError, match=r"0.x: 2 frames; allowed: one$"):
        read_image(path)


def test_the_photo_in_a_cameras_file_with_previews_is_read(tmp_path: Path):
    image = Image.fromarray(COLOURS)
    several = saved(tmp_path / "0.jpg", image, "MPO", save_all=True, append_images=[image.resize((2, 1))])
    alone = saved(tmp_path / "1.jpg", image, "JPEG")
    assert np.array_equal(np.asarray(read_image(several)), np.asarray(read_image(alone)))


# Turned as EXIF says


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[ExifTags.Base.Orientation] = orientation
    return found


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_photo_is_turned_once_as_its_exif_says(kind: str, orientation: int, tmp_path: Path):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8], pixels[:8, 24:] = 255, 128  # tells all eight apart
    options = {"quality": 100, "lossless": True} if kind == "WEBP" else {}
    path = saved(tmp_path / "0.x", pixels, kind, exif=exif(orientation), **options)

    upright = {
        1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1), 6: lambda p: p[::-1].swapaxes(0, 1),
        7: lambda p: p[::-1, ::-1].swapaxes(0, 1), 8: lambda p: p.swapaxes(0, 1)[::-1],
    }  # fmt: skip
    found, expected = np.asarray(read_image(path)), upright[orientation](pixels)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() < 20  # JPEG's


def test_exif_data_behind_the_pixels_count_too(tmp_path: Path):
    behind = chunk(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0"))
    path = written(tmp_path / "0.png", png(bytes([7, 8]), 2, 8, 0, behind))
    assert np.asarray(read_values(path)).tolist() == [[7], [8]]


@pytest.mark.parametrize("label_is_turned", [True, False])
def test_a_turned_photo_fits_a_label_as_it_is_seen(label_is_turned: bool, tmp_path: Path):
    """Its label is upright already, or says itself how it is turned."""
    description = write_data_set(tmp_path)
    photos, masks = np.zeros((4, 2, 3), np.uint8), np.array([[0, 1], [1, 0], [2, 2], [0, 0]], np.uint8)
    photos[0] = 200
    for name in ("a.png", "b.png"):
        turned = Image.fromarray(photos).transpose(Image.Transpose.ROTATE_90)  # as a camera held sideways stores it
        saved(tmp_path / "photos" / name, turned, "PNG", exif=exif(6))
        mask = Image.fromarray(masks)
        if label_is_turned:
            mask = mask.transpose(Image.Transpose.ROTATE_90)
        saved(tmp_path / "masks" / name, mask, "PNG", **({"exif": exif(6)} if label_is_turned else {}))
    dataset = load(description)
    assert dataset.stored_size == (4, 2)
    assert np.array_equal(dataset.images[0], photos.transpose(2, 0, 1))
    assert np.array_equal(dataset.labels[0], masks)


def test_a_label_of_the_size_of_the_unturned_photo_is_one_line(tmp_path: Path):
    description = write_data_set(tmp_path)
    saved(tmp_path / "photos/b.png", np.zeros((2, 4, 3), np.uint8), "PNG", exif=exif(6))
    saved(tmp_path / "masks/b.png", np.zeros((2, 4), np.uint8), "PNG")
    with pytest.raises(
        DataError, match=r"masks/b\.png: size \(4, 2\), but its image, turned as its EXIF says, has \(2, 4\)"
    ):
        load(description)


# Modes


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(kind: str, tmp_path: Path):
    values = np.array([[0, 128, 129, 257, 1000, 32768, 65535]], np.uint16)
    found = np.asarray(read_image(saved(tmp_path / "0.x", values, kind)))
    assert found[..., 0].tolist() == [[0, 0, 1, 1, 4, 128, 255]]  # 1000 / 257 = 3.9, 32768 / 257 = 127.5
    assert (found == found[..., :1]).all()


def test_of_16_bit_colours_the_high_byte_is_kept(tmp_path: Path):
    values = np.array([0, 255, 256, 1000, 32768, 65535], ">u2").tobytes()
    found = np.asarray(read_image(written(tmp_path / "0.png", png(values, 2, 16, 2))))
    assert found.tolist() == [[[0, 0, 1], [3, 128, 255]]]


def palette() -> Image.Image:
    image = Image.fromarray(GREY)
    image.putpalette([value for index in range(8) for value in (index, 100, 200 - index)])
    return image


def test_grey_palettes_alpha_and_ink_become_the_colours_that_are_stored(tmp_path: Path):
    alpha = np.full((2, 4, 1), 9, np.uint8)
    of_palette = np.stack([GREY, GREY * 0 + 100, 200 - GREY], axis=2)
    grey = np.repeat(GREY[..., None], 3, axis=2)
    cases: list[tuple[Image.Image, str, dict[str, Any], np.ndarray]] = [
        (Image.fromarray(GREY), "PNG", {}, grey),
        (Image.fromarray(GREY > 3), "PNG", {}, (grey > 3) * 255),
        (Image.fromarray(np.concatenate([COLOURS, alpha], axis=2)), "PNG", {}, COLOURS),
        (Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha[..., 0])]), "PNG", {}, grey),
        (Image.fromarray(GREY), "PNG", {"transparency": 3}, grey),
        (palette(), "PNG", {}, of_palette),
        (palette(), "PNG", {"transparency": bytes(range(8))}, of_palette),
        (Image.fromarray(255 - COLOURS).convert("CMYK"), "TIFF", {}, 255 - COLOURS),
    ]
    for number, (image, kind, options, expected) in enumerate(cases):
        found = read_image(saved(tmp_path / f"{number}.x", image, kind, **options))
        assert np.array_equal(np.asarray(found), expected), (number, image.mode)


@pytest.mark.parametrize(
    ("image", "options", "mode"),
    [
        (Image.fromarray(GREY.astype(np.float32)), {}, "F"),
        (Image.fromarray(GREY.astype(np.int32)), {}, "I"),
        (Image.new("LAB", (2, 2)), {}, "LAB"),
        (Image.fromarray(GREY.astype(np.uint16)), {"tiffinfo": {262: 0}}, "I;16 with 0 as white"),
    ],
)
def test_pixels_without_a_known_white_are_one_line(image: Image.Image, options: Any, mode: str, tmp_path: Path):
    path = saved(tmp_path / "0.tif", image, "TIFF", **options)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: pixels of mode {mode}; allowed: 8 or 16 bits"):
        read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_label_keeps_its_values(kind: str, tmp_path: Path):
    for image in (Image.fromarray(GREY), palette()):
        assert np.array_equal(np.asarray(read_values(saved(tmp_path / "0.x", image, kind))), GREY)


@pytest.mark.parametrize(("bits", "mode"), [(1, "1"), (2, "L;2"), (4, "L;4")])
def test_a_label_whose_few_bits_decoders_stretch_is_one_line(bits: int, mode: str, tmp_path: Path):
    path = written(tmp_path / "0.png", png(b"\x10", 1, bits, 0))
    with pytest.raises(DataError, match=rf"0\.png: pixels of mode {mode}; a label is one 8-bit channel"):
        read_values(path)


def test_a_label_whose_values_are_not_those_stored_is_one_line(tmp_path: Path):
    path = saved(tmp_path / "0.tif", GREY, "TIFF", tiffinfo={262: 0})  # white is 0
    with pytest.raises(DataError, match=r"0\.tif: pixels of mode L;I; a label is one 8-bit channel"):
        read_values(path)
    for name, kind, options in (("0.jpg", "JPEG", {}), ("1.tif", "TIFF", {"compression": "jpeg"})):
        saved(tmp_path / name, GREY * 0, kind, **options)
        with pytest.raises(DataError, match=f"{name}: JPEG, which changes the values of a label"):
            read_values(tmp_path / name)
