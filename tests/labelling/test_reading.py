"""Exports read back: the labels that were drawn, and one line for everything wrong, which changes nothing."""

import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from alutils.__main__ import main
from alutils.datasets.folder import meaning_of, read_description
from alutils.datasets.labels import read_label
from alutils.errors import DataError
from alutils.labelling import cvat, exports, label_studio
from alutils.labelling.batch import MARKS
from alutils.labelling.reading import read
from alutils.labelling.shapes import VOID, Drawing

CLASSES = {"grass": [0, 255, 0], "path": [90, 90, 90], "wall": [200, 50, 0]}
COLOURS = {name: (red, green, blue) for name, (red, green, blue) in CLASSES.items()}
PHOTOS = ["a b.JPG", "ü.1.png", "c.jpeg"]
LABEL = np.kron(np.array([[0, 1, 2, 255], [1, 0, 0, 2], [2, 2, 1, 1]]), np.ones((10, 10))).astype(np.uint8)  # 30x40
LABELS = {"a b.JPG": LABEL, "ü.1.png": np.where(LABEL == 2, 0, LABEL).astype(np.uint8)}


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the description of three photographs, one of them turned by EXIF, of which one has a label."""
    monkeypatch.setenv("ALUTILS_RESULTS", str(tmp_path / "results"))
    for folder in ("photos", "labels"):
        (tmp_path / folder).mkdir()
    turned = Image.Exif()
    turned[274] = 6
    Image.new("RGB", (30, 40)).save(tmp_path / "photos/a b.JPG", exif=turned)
    for name in PHOTOS[1:]:
        Image.new("RGB", (40, 30)).save(tmp_path / "photos" / name)
    Image.fromarray(LABEL).save(tmp_path / "labels/c.png")
    splits = {"train": {"images": "photos", "labels": "labels"}}
    content = {"name": "yard", "classes": CLASSES, "splits": splits}
    path = tmp_path / "yard.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def drawings(labels: dict[str, np.ndarray] = LABELS) -> list[Drawing]:
    return [Drawing(name, label, [*CLASSES]) for name, label in labels.items()]


def cvat_folder(beside: Path, **options: Any) -> Path:
    cvat.write(beside / "cvat", drawings(**options), COLOURS)
    return beside / "cvat"


def cvat_xml(beside: Path) -> Path:
    return cvat_folder(beside) / "annotations.xml"


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def cvat_zip(beside: Path) -> Path:
    content = cvat_xml(beside).read_bytes()
    return zipped(beside / "task.zip", {"annotations.xml": content, "images/a b.JPG": b"not looked at"})


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def masks_zip(beside: Path) -> Path:
    """Return CVAT's segmentation masks: black is background, which is no class here."""
    table = np.zeros((256, 3), np.uint8)
    table[:3] = [*COLOURS.values()]
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    lines += [f"{name}:{red},{green},{blue}::" for name, (red, green, blue) in COLOURS.items()]
    files = {"labelmap.txt": "\n".join(lines).encode(), "ImageSets/Segmentation/default.txt": b"a b\n"}
    files |= {f"SegmentationClass/{Path(name).stem}.png": png(table[label]) for name, label in LABELS.items()}
    return zipped(beside / "masks.zip", files | {"SegmentationObject/a b.png": png(table[LABEL])})


def studio_json(beside: Path) -> Path:
    label_studio.write(beside / "studio", drawings(), COLOURS, beside / "images", [0.0, 0.0])
    tasks = json.loads((beside / "studio/tasks.json").read_text())
    for number, task in enumerate(tasks):
        task["annotations"] = [{"id": number, "result": task.pop("predictions")[0]["result"]}]
    (beside / "export.json").write_text(json.dumps(tasks))
    return beside / "export.json"


def png_folder(beside: Path) -> Path:
    (beside / "drawn").mkdir()
    for name, label in LABELS.items():
        (beside / "drawn" / f"{Path(name).stem}.png").write_bytes(png(label))
    return beside / "drawn"


def labels_in(yard: Path) -> dict[str, list[list[int]]]:
    meaning = meaning_of(read_description(yard))
    return {path.name: read_label(path, meaning).tolist() for path in sorted((yard.parent / "labels").iterdir())}


DONE = {"a b.png": LABEL.tolist(), "c.png": LABEL.tolist(), "ü.1.png": LABELS["ü.1.png"].tolist()}
KINDS: dict[Callable[[Path], Path], str] = {
    cvat_xml: "CVAT for images 1.1",
    cvat_zip: "CVAT for images 1.1",
    cvat_folder: "CVAT for images 1.1",
    masks_zip: "CVAT segmentation mask 1.1",
    studio_json: "Label Studio JSON",
    png_folder: "PNG files",
}


@pytest.mark.parametrize("by", [None, "colour"])
@pytest.mark.parametrize("make", KINDS)
def test_what_was_drawn_becomes_labels(make: Callable[[Path], Path], by: str | None, yard: Path, tmp_path: Path):
    if by:
        yard.write_text(yard.read_text() + f"labels_by: {by}\n")
        (tmp_path / "labels/c.png").write_bytes(
            png(np.array([*CLASSES.values(), [0, 0, 0]], np.uint8)[LABEL.clip(0, 3)])
        )
        yard.write_text(yard.read_text() + "ignore_colours: [[0, 0, 0]]\n")
    export = make(tmp_path)
    if by and make is png_folder:
        shutil.rmtree(export)
        return  # its files are of the data set's own kind
    assert str(read(yard, export)) == (
        f"{KINDS[make]}: 2 photographs, 2 new labels, 0 changed, 0 as before; they are in {tmp_path}/labels"
    )
    assert labels_in(yard) == DONE


def test_regions_are_added_and_nothing_is_replaced_unless_told(yard: Path, tmp_path: Path):
    part = np.full_like(LABEL, 255)
    part[:10, 30:] = 1  # void in the label so far
    before = [(tmp_path / "labels/c.png").read_bytes()]
    assert "0 new labels, 1 changed" in str(read(yard, cvat_folder(tmp_path, labels={"c.jpeg": part})))
    both = np.where(part == 255, LABEL, part)
    assert labels_in(yard)["c.png"] == both.tolist()
    part[:10, :10] = 1  # grass so far
    with pytest.raises(DataError, match=r"c\.jpeg: 100 pixels have another class in c\.png.* --replace, which"):
        read(yard, cvat_folder(tmp_path, labels={"c.jpeg": part}))
    assert labels_in(yard)["c.png"] == both.tolist()
    before.append((tmp_path / "labels/c.png").read_bytes())
    reading = read(yard, cvat_folder(tmp_path, labels={"c.jpeg": part}), replace=True)
    kept = tmp_path / "results/labelling/yard"
    assert reading.replaced == kept / "replaced2"
    assert f"what the changed labels were before is in {kept}/replaced2" in str(reading)
    assert [(kept / f"replaced{number}/c.png").read_bytes() for number in (1, 2)] == before, "so it can be undone"
    assert labels_in(yard)["c.png"] == np.where(part == 255, both, part).tolist()


def test_what_is_read_twice_is_as_before(yard: Path, tmp_path: Path):
    read(yard, cvat_xml(tmp_path))
    written = {path: path.stat().st_ino for path in (tmp_path / "labels").iterdir()}
    reading = read(yard, tmp_path / "cvat")
    assert "2 photographs, 0 new labels, 0 changed, 2 as before" in str(reading)
    assert reading.replaced is None
    assert {path: path.stat().st_ino for path in (tmp_path / "labels").iterdir()} == written


def test_what_next_wrote_is_not_taken_for_what_a_person_drew(yard: Path, tmp_path: Path):
    batch = tmp_path / "results/labelling/yard/batch1"
    for file in (cvat_xml(batch), batch / "cvat"):
        with pytest.raises(
            DataError, match="`alutils next` wrote it; allowed: what the tool exported after you corrected"
        ):
            read(yard, file)
    assert [*labels_in(yard)] == ["c.png"]


@pytest.mark.parametrize("make", [cvat_xml, masks_zip, studio_json])
@pytest.mark.parametrize("is_option", [True, False])
def test_what_nobody_drew_may_get_a_class(
    make: Callable[[Path], Path], is_option: bool, yard: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    if not is_option:
        yard.write_text(yard.read_text() + "rest: wall\n")
    assert main(["read", str(yard), str(make(tmp_path)), *(["--rest", "wall"] if is_option else [])]) == 0
    assert labels_in(yard)["a b.png"] == np.where(LABEL == 255, 2, LABEL).tolist()
    assert "nobody drew" not in capsys.readouterr().out


def test_read_again_with_a_class_for_the_rest_only_void_changes(yard: Path, tmp_path: Path):
    read(yard, cvat_xml(tmp_path))
    assert "0 new labels, 2 changed, 0 as before" in str(read(yard, tmp_path / "cvat/annotations.xml", rest="wall"))
    assert labels_in(yard)["a b.png"] == np.where(LABEL == 255, 2, LABEL).tolist()


def test_a_class_for_the_rest_that_there_is_not_is_one_line(yard: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["read", str(yard), str(cvat_xml(tmp_path)), "--rest", "sky"]) == 1
    assert "rest is 'sky'; allowed: grass, path, wall" in capsys.readouterr().err


LITTLE = np.zeros((30, 40), np.uint8)
LITTLE[:3] = 255


@pytest.mark.parametrize(
    ("label", "drawn_void", "share"),
    [
        (np.where(LABEL == 1, 255, LABEL), None, "41.7"),
        (np.where(LABEL == 1, 255, LABEL), LABEL == 1, ""),  # void on purpose but for 100 pixels of 1,200
        (LITTLE, None, ""),  # a tenth is not much
    ],
)
def test_much_that_nobody_drew_on_is_one_line(
    label: np.ndarray, drawn_void: np.ndarray | None, share: str, yard: Path, tmp_path: Path
):
    cvat.write(tmp_path / "cvat", [Drawing("a b.JPG", label.astype(np.uint8), [*CLASSES], drawn_void)], COLOURS)
    _, *others = str(read(yard, tmp_path / "cvat")).splitlines()
    assert [line.split(" of the pixels; they are void: ")[0] for line in others] == (
        [f"  nobody drew on {share} %"] if share else []
    )
    assert all("--rest CLASS" in line and len(line) < 290 for line in others)


def test_masks_tell_ignore_from_what_nobody_drew_on(yard: Path, tmp_path: Path):
    """Regions are chosen, so the tool has their two labels, too."""
    table = np.zeros((256, 3), np.uint8)
    table[:3], table[3] = [*COLOURS.values()], MARKS[VOID]
    colours = {"background": (0, 0, 0), **COLOURS, **MARKS}
    lines = [f"{name}:{red},{green},{blue}::" for name, (red, green, blue) in colours.items()]
    drawn = np.where(LABEL == 1, 3, LABEL)
    files = {"labelmap.txt": "\n".join(lines).encode(), "SegmentationClass/a b.png": png(table[drawn])}
    files["SegmentationClass/ü.1.png"] = png(np.zeros((30, 40, 3), np.uint8))  # on which nobody drew
    assert "1 photographs, 1 new" in str(read(yard, zipped(tmp_path / "m.zip", files), rest="wall"))
    assert labels_in(yard)["a b.png"] == np.where(LABEL == 1, 255, np.where(LABEL == 255, 2, LABEL)).tolist()


def test_what_changed_against_the_guess_is_counted(yard: Path, tmp_path: Path):
    guesses = tmp_path / "results/labelling/yard/batch2/guesses"
    guesses.mkdir(parents=True)
    guess = LABEL.copy()
    guess[10:20, :10] = 0  # 100 pixels that get another class
    guess[:5, 30:] = 0  # 50 pixels that get none
    guess[20:, :10] = 255  # 100 pixels without a guess
    Image.fromarray(guess).save(guesses / "a b.png")
    *_, shares, cost = str(read(yard, cvat_folder(tmp_path, labels={"a b.JPG": LABEL}))).splitlines()
    assert shares == "  of 1050 pixels with a guess, 85.7 % kept it, 9.5 % got another class, 4.8 % became void"
    found = re.search(r"about (\d+) clicks, to outline exactly what the guess had wrong (\d+)$", cost)
    assert found
    assert 0 < int(found[2]) < int(found[1])


def test_a_guess_that_costs_more_than_it_saves_is_named(yard: Path, tmp_path: Path):
    guesses = tmp_path / "results/labelling/yard/batch2/guesses"
    guesses.mkdir(parents=True)
    stripes = np.where(np.arange(30)[:, None] // 3 % 2, np.ones_like(LABEL), 0).astype(np.uint8)
    Image.fromarray(stripes).save(guesses / "a b.png")
    whole = np.zeros_like(LABEL)  # one click
    text = str(read(yard, cvat_folder(tmp_path, labels={"a b.JPG": whole})))
    assert re.search(
        r"about 1 clicks, .* wrong \d+: for exact borders, draw without a guess \(`next --prelabel none`\)$", text
    )


def test_what_nobody_drew_on_costs_no_clicks_but_a_wrong_guess_there_does(yard: Path, tmp_path: Path):
    guesses = tmp_path / "results/labelling/yard/batch2/guesses"
    guesses.mkdir(parents=True)
    part = np.full_like(LABEL, 255)
    part[10:20, 10:20] = 1
    guess = np.where(part == 1, 1, 2).astype(np.uint8)
    guess[:5, :5] = 1
    Image.fromarray(guess).save(guesses / "a b.png")
    text = str(read(yard, cvat_folder(tmp_path, labels={"a b.JPG": part}), rest="wall"))
    assert "97.9 % kept it, 2.1 % got another class" in text
    assert "outline everything takes about 1 clicks, to outline exactly what the guess had wrong 1: for exact" in text


def test_what_is_compared_with_the_guess_is_what_was_read_now(yard: Path, tmp_path: Path):
    """An older label of the photograph, here outside of a region, is no answer to the guess."""
    guesses = tmp_path / "results/labelling/yard/batch2/guesses"
    guesses.mkdir(parents=True)
    part = np.full_like(LABEL, 255)
    part[:10, 30:] = 1
    Image.fromarray(part).save(guesses / "c.png")
    text = str(read(yard, cvat_folder(tmp_path, labels={"c.jpeg": part})))
    assert "of 100 pixels with a guess, 100.0 % kept it, 0.0 % got another class, 0.0 % became void" in text
    assert text.endswith("to outline everything takes about 1 clicks, to outline exactly what the guess had wrong 0")


def test_an_old_label_keeps_its_kind_of_file(yard: Path, tmp_path: Path):
    (tmp_path / "labels/c.png").unlink()
    Image.fromarray(LABEL).save(tmp_path / "labels/c.bmp")
    part = np.full_like(LABEL, 255)
    part[:10, 30:] = 1
    read(yard, cvat_folder(tmp_path, labels={"c.jpeg": part}))
    assert [*labels_in(yard)] == ["c.bmp"]


# Wrong exports: one line each, and nothing changes

ONE = '<annotations><image id="0" name="{}" width="40" height="30">{}</image></annotations>'
BOX = '<box label="{}" xtl="0" ytl="0" xbr="9" ybr="{}" z_order="0"/>'


def xml(text: str) -> Callable[[Path], Path]:
    def make(beside: Path) -> Path:
        (beside / "e.xml").write_text(text)
        return beside / "e.xml"

    return make


def of_json(content: Any) -> Callable[[Path], Path]:
    def make(beside: Path) -> Path:
        (beside / "e.json").write_text(json.dumps(content))
        return beside / "e.json"

    return make


def of_zip(files: dict[str, bytes]) -> Callable[[Path], Path]:
    return lambda beside: zipped(beside / "e.zip", files)


def of_pngs(**files: bytes) -> Callable[[Path], Path]:
    def make(beside: Path) -> Path:
        (beside / "drawn").mkdir()
        for name, content in files.items():
            (beside / "drawn" / f"{name}.png").write_bytes(content)
        return beside / "drawn"

    return make


def cut_zip(beside: Path) -> Path:
    path = cvat_zip(beside)
    content = path.read_bytes()
    path.write_bytes(content[:40] + b"\0" * 20 + content[60:])
    return path


def link_out(beside: Path) -> Path:
    (beside / "drawn").mkdir()
    (beside / "drawn/c.png").symlink_to(beside / "nowhere")
    return beside / "drawn"


def studio(width: int, *results: dict[str, Any], name: str = "c.jpeg") -> list[dict[str, Any]]:
    of_all = {"original_width": width, "original_height": 30}
    return [{"data": {"item": name}, "annotations": [{"id": 1, "result": [of_all | one for one in results]}]}]


RECTANGLE = {
    "type": "rectanglelabels",
    "value": {"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["wall"]},
}
BOMB = "<!DOCTYPE a [<!ENTITY b 'ha'>{}]><annotations>&b9;</annotations>".format(
    "".join(f"<!ENTITY b{n} '{f'&b{n - 1 or str()};' * 10}'>" for n in range(1, 10))
)
LABELMAP = b"background:0,0,0::\nwall:200,50,0::\n"
WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda beside: beside / "none.zip", r"none\.zip: .*No such file"),
    "empty folder": (of_pngs(), "drawn: no known export; allowed: CVAT for images"),
    "another file": (of_zip({"a.txt": b"text"}), r"e\.zip: no known export"),
    "no annotation": (xml(ONE.format("c.jpeg", "")), r"e\.xml: no label in it \(CVAT for images 1\.1\)"),
    "only cancelled": (of_json([{"data": {"item": "c.jpeg"}, "annotations": []}]), "no label in it"),
    "entity bomb": (xml(BOMB), r"e\.xml: the annotations cannot be read as XML \(DTDForbidden"),
    "zip bomb": (of_zip({"annotations.xml": b"0" * 3_000_000}), "annotations.xml: unpacks to more than 1 MiB"),
    "path out of a zip": (of_zip({"../../annotations.xml": b""}), r"the name '\.\./\.\./annotations\.xml' leads out"),
    "absolute path": (of_zip({"/etc/annotations.xml": b""}), "the name '/etc/annotations.xml' leads out"),
    "other slashes": (of_zip({"a\\..\\c.png": b""}), "leads out of its folder"),
    "link out": (link_out, "c.png: .*(No such file|symbolic)"),
    "damaged zip": (cut_zip, "cannot be read|damaged"),
    "another class": (xml(ONE.format("c.jpeg", BOX.format("walls", 9))), "label 'walls'; did you mean wall"),
    "another size": (xml(ONE.format("a b.JPG", "").replace('"40"', '"30"')), r"a b\.JPG: the export says .*\(30, 30\)"),
    "unknown photo": (
        xml(ONE.format("d.jpeg", "")),
        r"d\.jpeg: no photograph in photos has this name; did you mean c\.jpeg\? allowed: the names there$",
    ),
    "overlap": (
        xml(ONE.format("ü.1.png", BOX.format("wall", 9) + BOX.format("path", 4))),
        r"ü\.1\.png: shapes of several labels share 36 pixels",
    ),
    "twice": (
        xml(
            ONE.format("ü.1.png", BOX.format("wall", 9)).replace("</annotations>", "")
            + ONE.format("ü.1.png", BOX.format("wall", 9)).replace("<annotations>", "")
        ),
        "it is there twice; allowed: once",
    ),
    "replaces": (xml(ONE.format("c.jpeg", BOX.format("wall", 9))), r"c\.jpeg: \d+ pixels have another class in c\.png"),
    "ellipse": (xml(ONE.format("c.jpeg", '<ellipse label="wall"/>')), "wall is drawn as ellipse; allowed: mask"),
    "huge image": (xml(ONE.format("c.jpeg", "").replace('"40"', f'"{10**12}"')), "the export says that it has"),
    "studio size": (of_json(studio(41, RECTANGLE)), r"c\.jpeg: the export says that it has \(41, 30\)"),
    "studio photo": (of_json(studio(40, RECTANGLE, name="../d.txt")), "no photograph in photos has this name"),
    "studio minimal": (of_json([{"image": "c.jpeg", "tag": []}]), "no list of tasks with annotations"),
    "png of another size": (of_pngs(c=png(LABEL[1:])), r"drawn: c\.png: size \(40, 29\), but its image"),
    "png value": (of_pngs(c=png(LABEL + 3)), r"c\.png: label value \d+ is neither a class nor ignored"),
    "no png": (of_pngs(c=b"text"), r"c\.png: cannot be decoded"),
    "masks label": (of_zip({"labelmap.txt": b"sky:1,2,3::"}), "label 'sky'; allowed: grass, path, wall"),
    "masks bytes": (of_zip({"labelmap.txt": b"\xff\xfe\x00"}), "labelmap.txt: the line .* is not understood"),
    "masks line": (of_zip({"labelmap.txt": b"wall"}), "labelmap.txt: the line 'wall' is not understood"),
    "masks colour": (
        of_zip({"labelmap.txt": LABELMAP, "SegmentationClass/c.png": png(np.full((30, 40, 3), 7, np.uint8))}),
        r"colour \[7, 7, 7\] at pixel \(x 0, y 0\) is no class's",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_export_is_one_line_and_changes_nothing(
    case: str, yard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(exports, "MOST", 2**20)
    make, said = WRONG[case]
    export = make(tmp_path)
    before = {path: path.read_bytes() for path in sorted((tmp_path / "labels").iterdir())}
    assert main(["read", str(yard), str(export)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line), line
    assert line.isprintable()
    assert len(line) < 300
    assert {path: path.read_bytes() for path in sorted((tmp_path / "labels").iterdir())} == before


def test_a_good_photograph_beside_a_wrong_one_is_not_written(yard: Path, tmp_path: Path):
    """The wrong one comes last."""
    good = ONE.format("ü.1.png", BOX.format("wall", 9)).replace("</annotations>", "")
    bad = ONE.format("c.jpeg", BOX.format("walls", 9)).replace("<annotations>", "")
    with pytest.raises(DataError, match="walls"):
        read(yard, xml(good + bad)(tmp_path))
    assert [*labels_in(yard)] == ["c.png"]


def test_a_data_set_without_a_folder_for_labels_is_one_line(yard: Path, tmp_path: Path):
    yard.write_text(yard.read_text().replace("    labels: labels\n", ""))
    with pytest.raises(DataError, match="the split train has no folder for labels; allowed: one, as `labels`"):
        read(yard, cvat_xml(tmp_path))
