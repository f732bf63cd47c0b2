"""CVAT's formats: "CVAT for images 1.1" written and read, "Segmentation mask 1.1" read.

An image's shapes are masks, polygons and boxes. The run lengths of a mask go row by row inside its box and begin with
background. Coordinates are in pixels, and the first pixel reaches from 0 to 1.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # writes; what is read goes through defusedxml

import numpy as np

from alutils.datasets.base import Colour
from alutils.errors import DataError, one_line
from alutils.files import write_whole
from alutils.labelling.shapes import Check, Drawing, Outline, Shape, Shapes, filled

ANNOTATIONS, LABELS = "annotations.xml", "labels.json"
LABELMAP, MASKS = "labelmap.txt", "SegmentationClass/"


def write(folder: Path, drawings: Iterable[Drawing], labels: Mapping[str, Colour]) -> None:
    """Write `annotations.xml` and `labels.json`, from which CVAT makes the labels of a task."""
    folder.mkdir(parents=True, exist_ok=True)
    hexes = {name: f"#{bytes(colour).hex()}" for name, colour in labels.items()}
    kinds = [{"name": name, "color": colour, "type": "any", "attributes": []} for name, colour in hexes.items()]
    write_whole(folder / LABELS, json.dumps(kinds, indent=1, ensure_ascii=False))
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    of_meta = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    for name, colour in hexes.items():
        label = ElementTree.SubElement(of_meta, "label")
        for key, value in (("name", name), ("color", colour), ("type", "any")):
            ElementTree.SubElement(label, key).text = value
    for number, drawing in enumerate(drawings):
        height, width = drawing.classes.shape
        size = {"name": drawing.file, "width": str(width), "height": str(height)}
        image = ElementTree.SubElement(root, "image", {"id": str(number)} | size)
        for name, mask in drawing.masks():
            ElementTree.SubElement(image, "mask", _mask_attributes(name, mask))
        for outline in drawing.outlines:
            ElementTree.SubElement(image, "polyline", _outline_attributes(outline))
    ElementTree.indent(root)
    write_whole(folder / ANNOTATIONS, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _mask_attributes(name: str, mask: np.ndarray) -> dict[str, str]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    box = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    runs = ", ".join(map(str, run_lengths(mask[top:bottom, left:right])))
    kept = {"label": name, "source": "auto", "occluded": "0", "rle": runs, "z_order": "0"}
    return kept | {key: str(value) for key, value in box.items()}


def _outline_attributes(outline: Outline) -> dict[str, str]:
    points = ";".join(f"{x:.1f},{y:.1f}" for x, y in outline.points)
    return {"label": outline.label, "source": "auto", "occluded": "0", "points": points, "z_order": "1"}


def run_lengths(mask: np.ndarray) -> list[int]:
    """Return the lengths of runs of equal pixels, row by row; the first is of background and may be 0."""
    flat = np.concatenate([[False], mask.ravel(), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(np.concatenate([[0], edges, [mask.size]]))
    return (runs if runs[-1] else runs[:-1]).tolist()


def from_run_lengths(runs: Sequence[int], height: int, width: int) -> np.ndarray:
    """Return the mask (height, width) of run lengths; raise `ValueError` if they do not fill it."""
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"run lengths of {sum(runs)} pixels for a box of {width}x{height}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def read_annotations(content: bytes, check: Check) -> Iterator[Shapes]:
    """Yield the shapes of each image in an `annotations.xml`; raise `DataError` for a file that is wrong."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root = fromstring(content, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        reason = one_line(error)[:100] or type(error).__name__
        raise DataError(f"the annotations cannot be read as XML ({reason}); allowed: what CVAT exports") from error
    if root.tag != "annotations":
        raise DataError(f"the root of the annotations is {root.tag}; allowed: annotations, as in CVAT for images 1.1")
    for image in root.iter("image"):
        name = image.get("name", "")
        try:
            size = int(image.get("width", "")), int(image.get("height", ""))
            check(name, size)
            found = [_shape(element, *size) for element in image if element.tag not in ("tag", "polyline", "points")]
        except DataError:
            raise
        except (ValueError, KeyError, OverflowError, MemoryError) as error:
            raise DataError(f"{name}: {one_line(error)[:150]}") from error
        yield Shapes(name, size, found)


def _shape(element: Any, width: int, height: int) -> Shape:
    """Return one shape; raise `ValueError` if it is of another kind or leaves the image."""
    label, order = element.get("label", ""), int(element.get("z_order", "0"))
    if element.tag == "mask":
        left, top, wide, high = (int(element.get(key, "")) for key in ("left", "top", "width", "height"))
        if not (left >= 0 and top >= 0 and 0 < wide <= width - left and 0 < high <= height - top):
            raise ValueError(f"a mask of {label} reaches beyond the image")
        runs = [int(run) for run in element.get("rle", "").split(",")]
        return Shape(label, order, top, left, from_run_lengths(runs, high, wide))
    if element.tag == "polygon":
        points = [[float(number) for number in pair.split(",")] for pair in element.get("points", "").split(";")]
    elif element.tag == "box":
        x0, y0, x1, y1 = (float(element.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr"))
        points = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
    else:
        raise ValueError(f"{label} is drawn as {element.tag}; allowed: mask, polygon, box")
    return Shape(label, order, 0, 0, filled(points, height, width))


def read_labelmap(content: str) -> dict[Colour, str]:
    """Return the label of each colour in a `labelmap.txt`, a line NAME:RED,GREEN,BLUE:: for each."""
    found: dict[Colour, str] = {}
    for line in content.splitlines():
        if line.strip() and not line.startswith("#"):
            parts = re.fullmatch(r"([^:]+):(\d{1,3}),(\d{1,3}),(\d{1,3}):.*", line.strip())
            if not parts:
                raise DataError(f"{LABELMAP}: the line {line[:60]!r} is not understood; allowed: NAME:RED,GREEN,BLUE::")
            red, green, blue = (int(parts[channel]) for channel in (2, 3, 4))
            found[red, green, blue] = parts[1]
    if not found:
        raise DataError(f"{LABELMAP}: empty; allowed: a line NAME:RED,GREEN,BLUE:: for each label")
    return found
