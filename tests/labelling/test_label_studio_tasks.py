"""Label Studio's tasks: what is written comes back, the right annotation counts, and wrong files are one line."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from maps import label_maps, large_map, masks

from alutils.errors import DataError
from alutils.labelling import label_studio
from alutils.labelling.shapes import UNCOVERED, Drawing, Outline, classes_of

CLASSES = ["sky", "road & rail", "Bäume"]
NUMBERS = {name: number for number, name in enumerate(CLASSES)}
GOLDEN = Path(__file__).parent / "golden"
COLOURS = dict(zip(CLASSES, [(1, 2, 3), (255, 0, 0), (0, 128, 0)], strict=True))


def fine(name: str, size: tuple[int, int]) -> None:
    """Accept every image."""


def tasks_of(folder: Path, *drawings: Drawing) -> list[dict[str, Any]]:
    label_studio.write(folder, drawings, COLOURS, folder / "images", [0.5] * len(drawings))
    return json.loads((folder / "tasks.json").read_text())


def annotated(tasks: list[dict[str, Any]]) -> bytes:
    """Return an export in which each prediction was submitted as it is."""
    done = [
        {"id": number, "data": task["data"], "annotations": [{"id": 9, "result": task["predictions"][0]["result"]}]}
        for number, task in enumerate(tasks)
    ]
    return json.dumps(done).encode()


@given(mask=masks)
def test_masks_come_back(mask: np.ndarray):
    assert np.array_equal(label_studio.decoded(label_studio.encoded(mask), *mask.shape), mask)


HEAD = f"{8:032b}" + f"{7:05b}" + f"{2:04b}{3:04b}{7:04b}{15:04b}"  # two pixels: 8 values, of 8 bits each


def packed(bits: str) -> list[int]:
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def test_a_mask_by_hand():
    """Of two pixels the second counts: 4 times 0, and 4 times 255."""
    runs = "1" + "11" + f"{3:016b}" + f"{0:08b}" + "1" + "11" + f"{3:016b}" + f"{255:08b}"
    assert label_studio.encoded(np.array([[False, True]])) == packed(HEAD + runs)


@pytest.mark.parametrize(
    ("alphas", "mask"),
    [((127, 255), [False, True]), ((255, 128), [True, True]), ((0, 1), [False, True]), ((0, 0), [False, False])],
)
def test_a_brush_covers_pixels_at_its_border_in_part(alphas: tuple[int, int], mask: list[bool]):
    """The border of what is drawn in a browser has every alpha; some converters write a mask with an alpha of 1."""
    values = (9, 9, 9, alphas[0], 200, 200, 200, alphas[1])
    one_by_one = "0" + "00" + f"{7:03b}" + "".join(f"{value:08b}" for value in values)
    assert label_studio.decoded(packed(HEAD + one_by_one), 1, 2).tolist() == [mask]


PREDICTION = """
cccccccccccccccccccccccccccccccc
................................
................................
................................
.........................t......
................................
.......ttttttt..................
......ttttttttt.................
.....ttttttttttt................
....ttttttttttttt...............
....ttttrrrrrtttt...............
....ttttrrrrrtttt...............
....ttttrrrrrtttt...............
....ttttrrrrrtttt...............
....ttttrrrrrtttt...............
rrrrtttttttttttttrrrrrrrrrrrrrrr
rrrrrtttttttttttrrrrrrrrrrrrrrrr
rrrrrrtttttttttrrrrrrrrrrrrrrrrr
rrrrrrrtttttttrrrrrrrrrrrrrrrrrr
rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr
rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr
rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr
rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr
rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrc
"""
PAINTED = """
......ttttttttc.................
.....ttttttttcccc...............
....tttttttttttccccc............
....ttttrrrrrttttccccc..........
....ttttrrrrrtttt..ccc..........
....ttttrrrrrtttt....c..........
"""
POLYGON = """
..................c......t......
..................cccccc........
.......ttttttt....cccccccc......
......ttttttttt...cccccccc......
.....ttttttttttt..cccccccc......
....ttttttttttttt.cccccccc......
....ttttrrrrrtttt.ccccccc.......
....ttttrrrrrtttt.ccccccc.......
....ttttrrrrrtttt.....ccc.......
"""


def test_an_export_of_the_server_is_read():
    """Label Studio 1.23.2 showed these in a browser: one was submitted, one painted over, one got a polygon.

    The copies of predictions, which nobody reads, are left out.
    """
    *found, skipped = label_studio.read_tasks((GOLDEN / "label_studio_export.json").read_bytes(), fine)
    numbers = {"road": 0, "tree": 1, "car": 2}
    shown = {
        shapes.name: [
            "".join(".rtc"[pixel + 1] for pixel in row) for row in classes_of(shapes, numbers, later_wins=True)
        ]
        for shapes in found
    }
    whole, painted, polygon = (text.split() for text in (PREDICTION, PAINTED, POLYGON))
    assert shown["submitted as it was.png"] == whole
    assert shown["Grüße #1.png"] == whole[:7] + painted + whole[13:]
    assert shown["polygon.png"] == whole[:4] + polygon + whole[13:]
    assert (skipped.name, skipped.shapes, len(shown)) == ("skipped.png", [], 3)


@settings(deadline=None, max_examples=30)
@given(label=label_maps(3).filter(lambda label: (label != 255).any()))
def test_label_maps_come_back(label: np.ndarray, tmp_path_factory: pytest.TempPathFactory):
    tasks = tasks_of(tmp_path_factory.mktemp("studio"), Drawing("ä b#1.JPG", label, CLASSES))
    (shapes,) = label_studio.read_tasks(annotated(tasks), fine)
    assert (shapes.name, shapes.size) == ("ä b#1.JPG", label.shape[::-1])
    assert np.array_equal(classes_of(shapes, NUMBERS), np.where(label == 255, UNCOVERED, label.astype(int)))


@pytest.mark.slow
def test_a_photograph_of_12_million_pixels_comes_back(tmp_path: Path):
    label = large_map(3)
    (shapes,) = label_studio.read_tasks(annotated(tasks_of(tmp_path, Drawing("a.jpg", label, CLASSES))), fine)
    assert np.array_equal(classes_of(shapes, NUMBERS), np.where(label == 255, UNCOVERED, label.astype(int)))


def test_a_task_says_where_its_image_is_and_why_it_was_chosen(tmp_path: Path):
    label, outline = np.zeros((2, 4), np.uint8), Outline("region", [(0, 0), (4, 0), (4, 1)])
    nothing = Drawing("b.jpg", label + 255, CLASSES)
    first, second = tasks_of(tmp_path, Drawing("ä b#1.JPG", label, CLASSES, outlines=[outline]), nothing)
    assert first["data"] == {
        "image": f"/data/local-files/?d={tmp_path.name}/images/%C3%A4%20b%231.JPG",
        "item": "ä b#1.JPG",
        "acquisition": 0.5,
    }
    mask, line = first["predictions"][0]["result"]
    assert (mask["original_width"], mask["original_height"], mask["value"]["brushlabels"]) == (4, 2, ["sky"])
    assert line["value"]["points"] == [[0, 0], [100, 0], [100, 50]]
    assert second["predictions"] == []
    configuration = (tmp_path / "labelling_configuration.xml").read_text()
    assert 'value="road &amp; rail" background="#ff0000"' in configuration


def test_a_shell_reads_the_settings(tmp_path: Path):
    """One root serves all batches, whatever its name; the folder that a project may show stands beside it."""
    batch = tmp_path / "my $HOME's" / "batch1"
    label_studio.write(batch / "label_studio", [], COLOURS, batch / "images", [])
    script = "set -a; . label_studio/settings.txt; printenv LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"
    done = subprocess.run(["sh", "-c", script], cwd=batch, capture_output=True, text=True, check=True)
    assert done.stdout == f"{batch.parent}\n"
    assert f"Absolute local path: {batch / 'images'}\n" in (batch / "label_studio/settings.txt").read_text()


def test_what_is_drawn_is_told_apart_without_names(tmp_path: Path):
    """Label Studio cuts an `id` at a #; two masks of one `id` become one mask."""
    label, outline = np.array([[0, 1, 2, 1]], np.uint8), Outline("a#b", [(0, 0), (4, 0), (4, 1)])
    (task,) = tasks_of(tmp_path, Drawing("#1.png", label, CLASSES, outlines=[outline, outline]))
    names = [result["id"] for result in task["predictions"][0]["result"]]
    assert len({*names}) == len(names) == 5
    assert all(name.isalnum() and name.isascii() for name in names)


def result(kind: str, value: dict[str, Any], label: str = "sky") -> dict[str, Any]:
    size = {"original_width": 4, "original_height": 2}
    return {"type": kind, "value": {kind: [label], **value}, **size}


def test_of_several_annotations_the_newest_that_was_not_cancelled_counts():
    whole = {"x": 0, "y": 0, "width": 100, "height": 100}
    annotations = [
        {"id": 1, "updated_at": "2026-01-01T00:00:00Z", "result": [result("rectanglelabels", whole)]},
        {"id": 2, "updated_at": "2026-01-03T00:00:00Z", "result": [result("rectanglelabels", whole, "Bäume")]},
        {"id": 3, "updated_at": "2026-01-04T00:00:00Z", "result": [], "was_cancelled": True},
        {"id": 4, "updated_at": "2026-01-02T00:00:00Z", "result": []},
    ]
    only_cancelled = {"data": {"image": "/data/upload/1/1a2b3c4d-c.jpg"}, "annotations": annotations[2:3]}
    tasks = [{"data": {"image": "/data/local-files/?d=images/b%20c.jpg"}, "annotations": annotations}, only_cancelled]
    first, second = label_studio.read_tasks(json.dumps(tasks).encode(), fine)
    assert (first.name, second.name, second.shapes) == ("b c.jpg", "1a2b3c4d-c.jpg", [])
    assert (classes_of(first, NUMBERS) == 2).all()


def test_polygons_and_boxes_are_in_percent():
    half = [[0, 0], [50, 0], [50, 100], [0, 100]]
    results = [
        result("polygonlabels", {"points": half}),
        result("rectanglelabels", {"x": 50, "y": 50, "width": 25, "height": 50}, "Bäume"),
        {"type": "choices", "value": {"choices": ["fine"]}},
    ]
    content = json.dumps([{"data": {"item": "a.jpg"}, "annotations": [{"id": 1, "result": results}]}]).encode()
    (shapes,) = label_studio.read_tasks(content, fine)
    assert classes_of(shapes, NUMBERS).tolist() == [[0, 0, -1, -1], [0, 0, 2, -1]]


def one(*results: dict[str, Any]) -> str:
    return json.dumps([{"data": {"item": "a.jpg"}, "annotations": [{"id": 1, "result": [*results]}]}])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text", r"^cannot be read as JSON \("),
        ("[" * 100_000, r"^cannot be read as JSON \("),
        ("{}", "^no list of tasks with annotations; allowed: what Label Studio exports as JSON$"),
        ('[{"image": "a.jpg", "tag": []}]', "^no list of tasks with annotations"),
        ('[{"annotations": []}]', "^a task: no 'data'$"),
        (one(result("brushlabels", {"rle": [1, 2]})), "^a.jpg: a mask's run lengths end too early$"),
        (one(result("brushlabels", {"rle": [1, 300]})), r"^a.jpg: "),
        (
            one(result("brushlabels", {"rle": label_studio.encoded(np.ones((2, 3), bool))})),
            "^a.jpg: a mask of 24 values",
        ),
        (one(result("brushlabels", {"rle": label_studio.encoded(np.ones((2, 4), bool))[:-2]})), "end too early"),
        (one(result("brushlabels", {})), "^a.jpg: no 'rle'$"),
        (
            one(result("rectanglelabels", {"x": 0, "y": 0, "width": 9, "height": 9, "rotation": 30})),
            "^a.jpg: a turned rectangle; allowed: brushes",
        ),
        (one(result("polygonlabels", {"points": [[0, 0]]})), "^a.jpg: a polygon without three points"),
        (
            one(result("ellipselabels", {})),
            "^a.jpg: a result of type 'ellipselabels'; allowed: brushlabels, polygonlabels",
        ),
    ],
)
def test_a_wrong_file_is_one_line(content: str, said: str):
    with pytest.raises(DataError, match=said) as caught:
        list(label_studio.read_tasks(content.encode(), fine))
    assert str(caught.value).isprintable()
