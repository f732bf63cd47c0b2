"""CVAT's formats: our masks decoded by its own package and by COCO's, and files in its format read."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from cvat_sdk.masks import decode_mask, encode_mask
from hypothesis import given, settings
from maps import label_maps, large_map, masks
from pycocotools import mask as coco

from alutils.errors import DataError
from alutils.labelling import cvat
from alutils.labelling.shapes import UNCOVERED, Drawing, Outline, classes_of

CLASSES = ["sky", "road & rail", "Bäume"]
NUMBERS = {name: number for number, name in enumerate(CLASSES)}
COLOURS = dict(zip(CLASSES, [(1, 2, 3), (255, 0, 0), (0, 128, 0)], strict=True))
GOLDEN = Path(__file__).parent / "golden"


def fine(name: str, size: tuple[int, int]) -> None:
    """Accept every image."""


def written(folder: Path, *drawings: Drawing) -> bytes:
    cvat.write(folder, drawings, COLOURS)
    return (folder / "annotations.xml").read_bytes()


def by_cvat(content: bytes) -> dict[str, np.ndarray]:
    """Return the classes that CVAT's own package decodes from the masks of a file; void where no mask is."""
    found = {}
    for image in ElementTree.fromstring(content).iter("image"):
        width, height = int(image.attrib["width"]), int(image.attrib["height"])
        label = np.full((height, width), 255)
        for mask in image.iter("mask"):
            left, top, wide, high = (int(mask.attrib[key]) for key in ("left", "top", "width", "height"))
            runs = [int(run) for run in mask.attrib["rle"].split(",")]
            shape = [*runs, left, top, left + wide - 1, top + high - 1]
            label[decode_mask(shape, image_width=width, image_height=height)] = NUMBERS[mask.attrib["label"]]
        found[image.attrib["name"]] = label
    return found


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
@given(mask=masks)
def test_run_lengths_are_those_of_cocos_package(mask: np.ndarray):
    """COCO's go column by column."""
    runs = cvat.run_lengths(mask.T)
    assert np.array_equal(coco.decode(coco.frPyObjects({"counts": runs, "size": mask.shape}, *mask.shape)), mask)
    assert sum(runs) == mask.size
    assert np.array_equal(cvat.from_run_lengths(cvat.run_lengths(mask), *mask.shape), mask)


@given(mask=masks.filter(np.any))
def test_a_box_and_its_run_lengths_are_those_of_cvats_package(mask: np.ndarray):
    attributes = cvat._mask_attributes("sky", mask)
    left, top, wide, high = (int(attributes[key]) for key in ("left", "top", "width", "height"))
    ours = [*map(int, attributes["rle"].split(",")), left, top, left + wide - 1, top + high - 1]
    assert ours == [int(number) for number in encode_mask(mask)]


@settings(deadline=None, max_examples=50)
@given(label=label_maps(3))
def test_label_maps_come_back_and_are_what_cvats_package_decodes(
    label: np.ndarray, tmp_path_factory: pytest.TempPathFactory
):
    content = written(tmp_path_factory.mktemp("cvat"), Drawing("ä b.JPG", label, CLASSES))
    assert np.array_equal(by_cvat(content)["ä b.JPG"], label)
    (shapes,) = cvat.read_annotations(content, fine)
    assert (shapes.name, shapes.size) == ("ä b.JPG", label.shape[::-1])
    assert np.array_equal(classes_of(shapes, NUMBERS), np.where(label == 255, UNCOVERED, label.astype(int)))


@pytest.mark.slow
def test_a_photograph_of_12_million_pixels_comes_back(tmp_path: Path):
    label = large_map(3)
    content = written(tmp_path, Drawing("a.jpg", label, CLASSES))
    assert np.array_equal(by_cvat(content)["a.jpg"], label)
    (shapes,) = cvat.read_annotations(content, fine)
    assert np.array_equal(classes_of(shapes, NUMBERS), np.where(label == 255, UNCOVERED, label.astype(int)))


def test_labels_and_regions_are_written(tmp_path: Path):
    outline = Outline("region", [(0, 0), (2.25, 0), (2, 1)])
    elsewhere = np.array([[False, True]])
    content = written(tmp_path, Drawing("a.jpg", np.array([[1, 255]], np.uint8), CLASSES, elsewhere, [outline]))
    assert json.loads((tmp_path / "labels.json").read_text())[1] == {
        "name": "road & rail",
        "color": "#ff0000",
        "type": "any",
        "attributes": [],
    }
    root = ElementTree.fromstring(content)
    assert root.findtext("version") == "1.1"
    assert [label.findtext("name") for label in root.iter("label")] == CLASSES
    assert [mask.attrib["label"] for mask in root.iter("mask")] == ["road & rail", "ignore"]
    (line,) = root.iter("polyline")
    assert line.attrib["points"] == "0.0,0.0;2.2,0.0;2.0,1.0"
    (shapes,) = cvat.read_annotations(content, fine)
    assert classes_of(shapes, NUMBERS).tolist() == [[1, 255]]


def test_a_file_in_cvats_format_is_read():
    """Polygons over each other by z_order, a box, a mask, tags and attributes; an image without a shape."""
    content = (GOLDEN / "cvat_for_images.xml").read_bytes()
    first, second = cvat.read_annotations(content, fine)
    assert (first.name, second.name, second.shapes) == ("photos/first one.jpg", "second.jpg", [])
    expected = np.full((6, 8), UNCOVERED)
    expected[1:5, 1:7] = 1  # the polygon below
    expected[2:4, 2:4] = 0  # the box above it
    expected[4, 5:8] = expected[5, 6] = 2  # the mask
    assert np.array_equal(classes_of(first, NUMBERS), expected)


ONE = '<annotations><image id="0" name="a.jpg" width="4" height="3">{}</image></annotations>'
MASK = '<mask label="sky" left="{}" top="{}" width="{}" height="{}" rle="{}" z_order="0"/>'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text", r"^the annotations cannot be read as XML \("),
        ("<annotations>", r"^the annotations cannot be read as XML \(no element found"),
        ("<osm/>", r"^the root of the annotations is osm; allowed: annotations, as in CVAT"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "cannot be read as XML "),
        (ONE.replace('"4"', '"four"'), r"^a\.jpg: invalid literal"),
        (ONE.format(MASK.format(0, 0, 5, 1, "0, 5")), r"^a\.jpg: a mask of sky reaches beyond the image$"),
        (ONE.format(MASK.format(0, -1, 2, 1, "0, 2")), r"^a\.jpg: a mask of sky reaches beyond the image$"),
        (ONE.format(MASK.format(0, 0, 2, 1, "0, 3")), r"^a\.jpg: run lengths of 3 pixels for a box of 2x1$"),
        (ONE.format(MASK.format(0, 0, 2, 1, "-1, 3")), r"^a\.jpg: run lengths"),
        (ONE.format(MASK.format(0, 0, 2, 1, "")), r"^a\.jpg: invalid literal"),
        (
            ONE.format('<ellipse label="sky" cx="1"/>'),
            r"^a\.jpg: sky is drawn as ellipse; allowed: mask, polygon, box$",
        ),
        (ONE.format('<polygon label="sky" points="1,2;3"/>'), r"^a\.jpg: "),
        (ONE.format('<polygon label="sky" points="nan,0;1,1;2,2"/>'), r"^a\.jpg: a polygon without three points"),
    ],
)
def test_a_wrong_file_is_one_line(content: str, said: str):
    with pytest.raises(DataError, match=said) as caught:
        list(cvat.read_annotations(content.encode(), fine))
    assert str(caught.value).isprintable()


def test_the_colours_of_a_labelmap_are_read():
    text = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nsky:1,2,3::\n"
    assert cvat.read_labelmap(text) == {(0, 0, 0): "background", (1, 2, 3): "sky"}
    for wrong, said in {"sky:1,2::": "'sky:1,2::' is not understood", "# nothing": "empty; allowed"}.items():
        with pytest.raises(DataError, match=rf"^labelmap\.txt: .*{said}"):
            cvat.read_labelmap(wrong)
