"""Label files in colours and with palettes: which class each pixel gets, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from alutils.datasets import load_dataset
from alutils.datasets.folder import meaning_of, read_description
from alutils.datasets.labels import read_label
from alutils.errors import DataError

CLASSES = {"grass": [0, 255, 0], "path": [90, 90, 90], "wall": [200, 50, 0]}
COLOURS = np.array([*CLASSES.values()], np.uint8)
SKY = [0, 0, 255]
MASK = np.array([[0, 1, 2, 0], [1, 0, 0, 2], [2, 2, 1, 1]], np.uint8)


def decoded(path: Path, **keys: Any) -> np.ndarray:
    """Return the classes in a label file, by a description with some more keys."""
    description = path.parent / "yard.yaml"
    content = {"name": "yard", "classes": CLASSES, "splits": {"train": {"images": "photos"}}} | keys
    description.write_text(yaml.safe_dump(content, sort_keys=False))
    return read_label(path, meaning_of(read_description(description)))


def saved(path: Path, pixels: Any, mode: str | None = None) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(path)
    return path


def with_palette(mask: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette(colours.astype(np.uint8).ravel().tolist())
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_colours_of_classes_decide(suffix: str, mode: str, tmp_path: Path):
    assert decoded(saved(tmp_path / f"a.{suffix}", COLOURS[MASK], mode)).tolist() == MASK.tolist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(mask=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2)))
def test_a_label_map_is_the_same_in_values_in_colours_and_with_a_palette(mask: np.ndarray, tmp_path: Path):
    for pixels in (mask, COLOURS[mask], with_palette(mask, COLOURS)):
        assert np.array_equal(decoded(saved(tmp_path / "a.png", pixels)), mask)


def test_pixels_of_alpha_0_and_ignored_colours_are_void(tmp_path: Path):
    pixels = np.dstack([COLOURS[MASK], np.full(MASK.shape, 255)])
    pixels[0, 0] = [9, 9, 9, 0]
    pixels[2, 3, :3] = SKY
    expected = MASK.copy()
    expected[0, 0] = expected[2, 3] = 255
    path = saved(tmp_path / "a.png", pixels)
    assert decoded(path, ignore_colours=[SKY]).tolist() == expected.tolist()
    assert decoded(path, ignore_colours="unknown").tolist() == expected.tolist()


def test_an_unknown_colour_is_one_line_with_its_place_and_the_nearest_class(tmp_path: Path):
    pixels = COLOURS[MASK]
    pixels[1, 3] = pixels[2, 0] = [190, 60, 5]
    with pytest.raises(DataError) as caught:
        decoded(saved(tmp_path / "a.png", pixels))
    assert str(caught.value).removeprefix(f"{tmp_path}/") == (
        "a.png: colour [190, 60, 5] at pixel (x 3, y 1) is no class's, like 2 pixels; the nearest is [200, 50, 0],"
        " wall; allowed: the colours of classes and those of ignore_colours, which may be unknown"
    )


def test_where_a_palette_contradicts_its_values_the_description_decides(tmp_path: Path):
    """Some programs number colours in the order in which they occur."""
    order = np.array([2, 0, 1])  # value 0 has the colour of class 2
    path = saved(tmp_path / "a.png", with_palette(MASK, COLOURS[order]))
    with pytest.raises(DataError, match=r"a\.png: its palette gives the value 0 the colour of wall; say .* labels_by"):
        decoded(path)
    assert decoded(path, labels_by="value").tolist() == MASK.tolist()
    assert decoded(path, labels_by="colour").tolist() == order[MASK].tolist()


@pytest.mark.parametrize("mode", ["1", "L"])
def test_black_and_white_labels_may_be_read_by_colour(mode: str, tmp_path: Path):
    path = saved(tmp_path / "a.png", 255 * (MASK > 0), mode)
    with pytest.raises(DataError, match=r"a\.png: (pixels of mode 1|label value 254|label value 255)"):
        decoded(path, ignore=[7])
    found = decoded(path, classes={"no": [0, 0, 0], "yes": [255, 255, 255]}, labels_by="colour")
    assert found.tolist() == (MASK > 0).astype(int).tolist()


@pytest.mark.parametrize("by", ["value", "colour"])
def test_what_the_description_excludes_is_one_line(by: str, tmp_path: Path):
    path = saved(tmp_path / "a.png", COLOURS[MASK] if by == "value" else np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"a\.png: (pixels of mode RGB; a label is one|colour \[0, 0, 0\])"):
        decoded(path, labels_by=by)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"labels_by": "color"}, "labels_by is 'color'; allowed: value or colour"),
        ({"ignore_colours": [[1, 2]]}, "ignore_colours"),
        ({"ignore_colours": "all"}, r"ignore_colours is 'all'; allowed: a list of colours"),
        ({"ignore_colours": [CLASSES["path"]]}, r"ignore_colours holds \[90, 90, 90\], the colour of path; allowed: o"),
    ],
)
def test_wrong_keys_are_one_line(keys: dict[str, Any], said: str, tmp_path: Path):
    with pytest.raises(DataError, match=said):
        decoded(saved(tmp_path / "a.png", MASK), **keys)


def test_a_data_set_of_labels_in_colours_is_that_of_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Photographs are large and turned by EXIF, and another display colour makes another data set of such labels."""
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    masks = {"v": MASK, "c": COLOURS[MASK]}
    content: dict[str, Any] = {"name": "yard", "classes": CLASSES, "splits": {}}
    for name, pixels in masks.items():
        folder = tmp_path / name
        folder.mkdir()
        saved(folder / "Bä r.1.png", np.repeat(np.repeat(pixels, 10, 0), 10, 1))
        content["splits"][name] = {"images": "photos", "labels": name}
    (tmp_path / "photos").mkdir()
    photo, turned = Image.effect_noise((30, 40), 50).convert("RGB"), Image.Exif()
    turned[274] = 6
    photo.save(tmp_path / "photos/Bä r.1.JPG", exif=turned)
    (tmp_path / "yard.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    by_value, by_colour = (load_dataset(str(tmp_path / "yard.yaml"), split, 3, 4) for split in masks)
    assert np.array_equal(by_value.labels, [MASK])
    assert by_value.fingerprint == by_colour.fingerprint
    content["classes"] = CLASSES | {"wall": SKY}
    (tmp_path / "yard.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(DataError, match="is no class's"):
        load_dataset(str(tmp_path / "yard.yaml"), "c", 3, 4)
