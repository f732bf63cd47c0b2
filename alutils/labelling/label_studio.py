"""Label Studio's format: tasks with predictions written, and its JSON export read.

A mask is a stream of bits over the bytes of an RGBA image, row by row: the number of bytes (32 bits); the bits of a
value, less 1 (5 bits); four sizes, less 1 (4 bits each); then runs. A run has a bit that says whether one value is
repeated, the number of a size (2 bits), the number of values less 1 in so many bits, and the value or the values.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree  # writes only

import numpy as np

from alutils.datasets.base import Colour
from alutils.errors import DataError, one_line
from alutils.files import write_whole
from alutils.labelling.shapes import Check, Drawing, Shape, Shapes, filled

TASKS, CONFIGURATION, SETTINGS = "tasks.json", "labelling_configuration.xml", "settings.txt"
SIZES = (3, 4, 8, 16)
VALUE_BITS = 8
FROM, TO = "label", "image"


def write(
    folder: Path, drawings: Iterable[Drawing], labels: Mapping[str, Colour], images: Path, scores: Sequence[float]
) -> None:
    """Write tasks with predictions, the labelling configuration, and the settings with which images are found.

    images : the folder of the images, in the batch's folder
    scores : why each image was chosen, for `data.acquisition`
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [_task(drawing, images, score) for drawing, score in zip(drawings, scores, strict=True)]
    write_whole(folder / TASKS, json.dumps(tasks, ensure_ascii=False))
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", {"name": TO, "value": "$image", "zoom": "true"})
    for kind in ("BrushLabels", "PolygonLabels"):
        shown = ElementTree.SubElement(view, kind, {"name": _from(kind.lower()), "toName": TO})
        for name, colour in labels.items():
            ElementTree.SubElement(shown, "Label", {"value": name, "background": f"#{bytes(colour).hex()}"})
    ElementTree.indent(view)
    write_whole(folder / CONFIGURATION, ElementTree.tostring(view, encoding="unicode"))
    write_whole(folder / SETTINGS, _settings(images.resolve()))


def _settings(images: Path) -> str:
    """Return settings that a shell reads; they are those of all batches, so that one server shows them all."""
    return (
        f"# Settings, Cloud Storage, Add Source Storage, Local Files, Absolute local path: {images}\n"
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true\n"
        f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={shlex.quote(str(images.parent.parent))}\n"
    )


def _from(kind: str) -> str:
    return FROM if kind == "brushlabels" else f"{FROM}_{kind}"


def _task(drawing: Drawing, images: Path, score: float) -> dict[str, Any]:
    """Return a task. Label Studio cuts an `id` at a #, and takes masks of one `id` for one: it holds no names."""
    height, width = drawing.classes.shape
    of_all = {"original_width": width, "original_height": height, "image_rotation": 0, "to_name": TO}
    results: list[dict[str, Any]] = [
        {
            "id": f"brush{number}",
            "type": "brushlabels",
            "from_name": _from("brushlabels"),
            "value": {"format": "rle", "rle": encoded(mask), "brushlabels": [name]},
            **of_all,
        }
        for number, (name, mask) in enumerate(drawing.masks())
    ]
    results += [
        {
            "id": f"polygon{number}",
            "type": "polygonlabels",
            "from_name": _from("polygonlabels"),
            "value": {
                "points": [[100 * x / width, 100 * y / height] for x, y in outline.points],
                "closed": True,
                "polygonlabels": [outline.label],
            },
            **of_all,
        }
        for number, outline in enumerate(drawing.outlines)
    ]
    place = quote(f"{images.parent.name}/{images.name}/{drawing.file}")
    data = {"image": f"/data/local-files/?d={place}", "item": drawing.file, "acquisition": _number(score)}
    return {"data": data, "predictions": [{"model_version": "committee", "result": results}] if results else []}


def _number(score: float) -> float | None:
    return None if np.isnan(score) else float(score)


def encoded(mask: np.ndarray) -> list[int]:
    """Return a mask (H, W) in Label Studio's run lengths, one number a byte; all channels are 0 or 255."""
    flat = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = 4 * np.diff(np.concatenate([starts, [flat.size]]))
    most = 1 << SIZES[-1]
    pieces = -(-lengths // most)  # a run is cut to what 16 bits can say
    values = np.repeat(255 * flat[starts].astype(np.int64), pieces)
    cut = np.full(len(values), most)
    cut[np.cumsum(pieces) - 1] = lengths - most * (pieces - 1)
    head = _bits([4 * flat.size], 32) + _bits([VALUE_BITS - 1], 5) + _bits([size - 1 for size in SIZES], 4)
    fields = [_columns(np.full(len(values), 0b111), 3), _columns(cut - 1, SIZES[-1]), _columns(values, VALUE_BITS)]
    stream = np.concatenate([np.array(head, np.uint8), np.concatenate(fields, axis=1).ravel()])
    return np.packbits(stream).tolist()


def _bits(numbers: Iterable[int], count: int) -> list[int]:
    return [int(bit) for number in numbers for bit in f"{number:0{count}b}"]


def _columns(numbers: np.ndarray, count: int) -> np.ndarray:
    """Return the lowest bits of numbers (N,), highest first: (N, `count`)."""
    return (numbers[:, None] >> np.arange(count - 1, -1, -1) & 1).astype(np.uint8)


def decoded(numbers: Sequence[int], height: int, width: int) -> np.ndarray:
    """Return the mask (H, W) bool of Label Studio's run lengths: where alpha is more than half of its highest value.

    A brush or an eraser covers the pixels at its border in part. Raises `ValueError` if the run lengths are not of such
    an image, or end too early.
    """
    bits = (np.unpackbits(np.array(numbers, np.uint8)) + ord("0")).tobytes().decode()
    place = 0

    def number(count: int) -> int:
        nonlocal place
        place += count
        if place > len(bits):
            raise ValueError("a mask's run lengths end too early")
        return int(bits[place - count : place], 2)

    total, value_bits = number(32), number(5) + 1
    sizes = [number(4) + 1 for _ in range(4)]
    if total != 4 * height * width:
        raise ValueError(f"a mask of {total} values for an image of {width}x{height}; allowed: {4 * height * width}")
    found, done = np.empty(total, np.uint8), 0
    while done < total:
        is_repeated, count = number(1), number(sizes[number(2)]) + 1
        if done + count > total:
            raise ValueError("a mask's run lengths are more than its pixels")
        if is_repeated:
            found[done : done + count] = number(value_bits)
        else:
            found[done : done + count] = [number(value_bits) for _ in range(count)]
        done += count
    alpha = found.reshape(height, width, 4)[..., 3]
    return alpha > alpha.max() // 2


def read_tasks(content: bytes, check: Check) -> Iterator[Shapes]:
    """Yield the shapes of each task in a JSON export; of several annotations the newest that was not cancelled.

    Raises `DataError` for a file that is wrong.
    """
    try:
        tasks = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON ({one_line(error)[:100]})") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "annotations" in task for task in tasks):
        raise DataError("no list of tasks with annotations; allowed: what Label Studio exports as JSON")
    for task in tasks:
        name = "a task"
        try:
            name = _item_name(task["data"])
            yield _shapes(name, task["annotations"], check)
        except DataError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else one_line(error)[:150]
            raise DataError(f"{name}: {reason}") from error


def _item_name(data: dict[str, Any]) -> str:
    """Return the name of an image's file: what we wrote, or what its address ends with."""
    return str(data["item"]) if "item" in data else unquote(str(data["image"])).replace("=", "/").split("/")[-1]


def _shapes(name: str, annotations: Sequence[dict[str, Any]], check: Check) -> Shapes:
    kept = [one for one in annotations if not one.get("was_cancelled")]
    if not kept:
        return Shapes(name, (0, 0), [])
    newest = max(kept, key=lambda one: (str(one.get("updated_at") or one.get("created_at") or ""), one.get("id") or 0))
    size, shapes = (0, 0), []
    for result in newest["result"]:
        kind = result["type"]
        if kind not in ("brushlabels", "polygonlabels", "rectanglelabels"):
            if kind in ("choices", "textarea", "rating"):
                continue
            raise ValueError(f"a result of type {kind!r}; allowed: brushlabels, polygonlabels, rectanglelabels")
        size = width, height = int(result["original_width"]), int(result["original_height"])
        check(name, size)
        for label in result["value"][kind]:
            shapes.append(Shape(str(label), 0, 0, 0, _mask(kind, result["value"], height, width)))
    return Shapes(name, size, shapes)


def _mask(kind: str, value: dict[str, Any], height: int, width: int) -> np.ndarray:
    if kind == "brushlabels":
        return decoded(value["rle"], height, width)
    if kind == "polygonlabels":
        points = value["points"]
    else:
        if value.get("rotation"):
            raise ValueError("a turned rectangle; allowed: brushes, polygons, and rectangles that are not turned")
        left, top = float(value["x"]), float(value["y"])
        right, bottom = left + float(value["width"]), top + float(value["height"])
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return filled([(width * float(x) / 100, height * float(y) / 100) for x, y in points], height, width)
