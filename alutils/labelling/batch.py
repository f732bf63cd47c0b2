"""A batch of photographs to label, as a folder: contact sheet, table, page, and files for annotation tools."""

import math
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from torch import Tensor

from alutils.datasets.base import IGNORE_INDEX, Colour
from alutils.datasets.decoding import read_image
from alutils.errors import DataError
from alutils.files import built_once, write_whole
from alutils.labelling import cvat, label_studio
from alutils.labelling.choose import Choice, committee_of
from alutils.labelling.heads import RECIPE, Heads, guess
from alutils.labelling.page import Work, page
from alutils.labelling.photos import Photos
from alutils.labelling.shapes import REGION, VOID, Drawing, Outline
from alutils.labelling.sheet import Tile, contact_sheet, jpeg, painted, small
from alutils.labelling.stopping import save_confusions
from alutils.paths import labelling_dir
from alutils.queries.query import Query
from alutils.queries.regions import corners, divide
from alutils.queries.scores import SCORES, applied, statistics_of
from alutils.queries.scoring import ask_committee

IMAGES, GUESSES, TABLE = "images", "guesses", "next.csv"
WRITTEN = ("cvat", "label_studio")  # folders with what is imported into a tool
ON_PAGE = 2  # times as large as on the contact sheet
SURE = 0.75  # the probability from which a guess is sure
# Black is background in CVAT's masks.
MARKS: dict[str, Colour] = {VOID: (40, 40, 40), REGION: (255, 255, 0)}
SCORE = "vote_entropy"  # shown as disagreement where the query has no score of its own


def batches(name: str) -> list[Path]:
    """Return the folders of a data set's batches, the first one first."""
    found = [path for path in labelling_dir(name).glob("batch*") if path.name[5:].isdigit() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def newest_guess(name: str, photo: Path) -> np.ndarray | None:
    """Return what was last drawn for a photograph before a person saw it, (H, W) uint8; `None` if nothing was."""
    for batch in reversed(batches(name)):
        path = batch / GUESSES / f"{photo.stem}.png"
        if path.is_file():
            with Image.open(path) as image:
                return np.asarray(image)
    return None


def chosen_before(photos: Photos) -> set[str]:
    """Return the files of photographs that the last batch chose and that have no label yet."""
    tables = [batch / TABLE for batch in batches(photos.description.name)[-1:]]
    unlabelled = {photos.files[position].name for position in photos.unlabelled}
    return {file for table in tables if table.is_file() for file in pd.read_csv(table)["file"].astype(str)} & unlabelled


class Shown(NamedTuple):
    """One chosen photograph.

    guess : (H, W) uint8, void where nothing is drawn; `None` without heads
    disagreement : (h, w) in the score's unit; `None` without heads
    """

    row: dict[str, Any]
    file: Path
    drawing: Drawing
    guess: np.ndarray | None
    disagreement: np.ndarray | None


def write_batch(photos: Photos, heads: Heads, choice: Choice, prelabel: str, said: Sequence[str], path: Path) -> Path:
    """Write the folder of the next batch and return it; it appears whole.

    path : the YAML file, for the command that reads the labels back
    prelabel : "all" to draw the committee's prediction, "sure" to draw it where one class has the probability `SURE`,
        "none"
    said : lines for the page

    Raises `DataError` for a class whose name has another meaning.
    """
    name, names = photos.description.name, [*photos.description.classes]
    if MARKS.keys() & {*names}:
        raise DataError(f"{name}: a class is named {VOID} or {REGION}; allowed: other names")
    before = batches(name)
    number = int(before[-1].name[5:]) + 1 if before else 1
    place, shown = labelling_dir(name) / f"batch{number}", _shown(photos, heads, choice, prelabel)
    marks = MARKS if choice.regions is not None else {VOID: MARKS[VOID]}
    labels = dict(zip(names, photos.dataset.colours, strict=True)) | marks
    has_guess = any((one.drawing.classes != IGNORE_INDEX).any() for one in shown)
    command = reading_command(path, photos.split)
    work = Work(path.name, command, photos.description.rest, has_guess, choice.regions is not None)

    def build(folder: Path) -> None:
        _write_images(shown, folder, with_guesses=bool(heads.networks) and prelabel != "none")
        pd.DataFrame(_rows(photos, choice)).to_csv(folder / TABLE, index=False)
        drawings, scores = [one.drawing for one in shown], [one.row["score"] for one in shown]
        cvat.write(folder / WRITTEN[0], drawings, labels)
        label_studio.write(folder / WRITTEN[1], drawings, labels, place / IMAGES, scores)
        tiles = _tiles(shown, photos, shown_score(choice.query))
        write_whole(folder / "contact_sheet.jpg", jpeg(contact_sheet(tiles, columns=3 if heads.networks else 6)))
        write_whole(folder / "next.html", page(name, number, said, tiles, labels, work))
        save_confusions(folder, heads.confusions)

    return built_once(place, build)


def reading_command(path: Path, split: str) -> str:
    """Return what to type to read an export back, in the folder that `path` is relative to."""
    options = "" if split == "train" else f" --split {split}"
    return f".venv/bin/alutils read {shlex.quote(str(path))} EXPORT{options}"


def _write_images(shown: Sequence[Shown], folder: Path, with_guesses: bool) -> None:
    """Copy the photographs into a batch's folder, and write their guesses beside."""
    for inner in (IMAGES, GUESSES) if with_guesses else (IMAGES,):
        (folder / inner).mkdir(parents=True)
    for one in shown:
        shutil.copy(one.file, folder / IMAGES / one.file.name)
        if with_guesses:
            Image.fromarray(one.drawing.classes).save(folder / GUESSES / f"{one.file.stem}.png")


def _rows(photos: Photos, choice: Choice) -> list[dict[str, Any]]:
    """Return the rows of `next.csv`."""
    rows = []
    for rank, position in enumerate(choice.positions):
        row: dict[str, Any] = {"rank": rank + 1, "file": photos.files[position].name}
        if choice.regions is not None:
            row["region"] = int(choice.regions[rank])
        has_score = not math.isnan(choice.scores[rank])
        row |= {"score": float(choice.scores[rank]), "score_rank": int(choice.ranks[rank]) if has_score else None}
        rows.append(row | {"stands_for": int(choice.stands_for[rank]), "why": why(choice, rank)})
    return rows


def why(choice: Choice, rank: int) -> str:
    """Return why something was chosen, in a few words."""
    count = int(choice.stands_for[rank])
    alike = f"stands for {count} photograph{'s' if count != 1 else ''}" if choice.regions is None else ""
    if math.isnan(choice.scores[rank]):
        return f"{'typical, ' if choice.query.name == 'typiclust' else ''}{alike}"
    score = f"{choice.query.name} {choice.scores[rank]:.3f}, the {_ordinal(int(choice.ranks[rank]))}highest"
    return f"{score}, {alike}" if alike else score


def _ordinal(number: int) -> str:
    """Return "2nd ", "3rd " and so on; nothing for the first."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending} " if number > 1 else ""


def _shown(photos: Photos, heads: Heads, choice: Choice, prelabel: str) -> list[Shown]:
    """Return the chosen photographs, each once, in the order of their first choice."""
    rows, found = _rows(photos, choice), list[Shown]()
    positions = [*dict.fromkeys(choice.positions.tolist())]
    maps = divide(photos.dataset, choice.query.regions)[0] if choice.query.regions is not None else None
    answers = _answers(photos, heads, choice, positions)
    for position in positions:
        places = np.flatnonzero(choice.positions == position)
        width, height = photos.sizes[position]
        drawn = disagreement = None
        if answers is not None:
            probability, disagreement = next(answers)
            drawn = guess(probability, (height, width), SURE if prelabel == "sure" else 0)
        regions = None if maps is None or choice.regions is None else np.isin(maps[position], choice.regions[places])
        drawing = _drawing(photos, position, None if prelabel == "none" else drawn, regions)
        found.append(Shown(rows[places[0]], photos.files[position], drawing, drawn, disagreement))
    return found


def shown_score(query: Query) -> str:
    """Return the name of the score that is shown as disagreement."""
    score = query.entry.score
    return score if isinstance(score, str) and score in SCORES else SCORE


def _answers(
    photos: Photos, heads: Heads, choice: Choice, positions: list[int]
) -> Iterator[tuple[Tensor, np.ndarray]] | None:
    """Yield the committee's mean probabilities (C, h, w) and its disagreement (h, w) on photographs; `None` without."""
    if not heads.networks:
        return None
    shown = SCORES[shown_score(choice.query)]
    names = sorted({"mean_probability", *statistics_of(shown)})
    committee = committee_of(heads, choice.query)
    return (
        (of["mean_probability"][image], applied(shown, of)[image].float().cpu().numpy())
        for of in ask_committee(committee, photos.dataset, np.array(positions), RECIPE, names)
        for image in range(len(of["mean_probability"]))
    )


def _drawing(photos: Photos, position: int, drawn: np.ndarray | None, regions: np.ndarray | None) -> Drawing:
    """Return what an annotation tool shows; `regions` (h, w) bool is what is to be labelled."""
    width, height = photos.sizes[position]
    file, names = photos.files[position].name, [*photos.description.classes]
    nothing = np.full((height, width), IGNORE_INDEX, np.uint8)
    if regions is None:
        return Drawing(file, nothing if drawn is None else drawn, names)
    inside = np.asarray(Image.fromarray(regions).resize((width, height), Image.Resampling.NEAREST))
    return Drawing(
        file,
        np.where(inside, nothing if drawn is None else drawn, IGNORE_INDEX).astype(np.uint8),
        names,
        ~inside,
        outlines_of(inside),
    )


def outlines_of(area: np.ndarray) -> list[Outline]:
    """Return the outlines of the parts of an area (H, W) bool, in pixels from the upper left corner of the image."""
    return [Outline(REGION, [(x + 0.5, y + 0.5) for y, x in points]) for points in corners(area) if len(points) > 2]


def _tiles(shown: Sequence[Shown], photos: Photos, score: str) -> list[Tile]:
    """Return the tile of each photograph; the colours of the disagreement mean the same on all of them."""
    highest = max([1.0, *(float(one.disagreement.max()) for one in shown if one.disagreement is not None)])
    captions = ["photograph", "prediction", f"disagreement ({score}), from 0 (black) to {highest:.2f} (light yellow)"]
    return [_tile(one, photos, highest, captions) for one in shown]


def _tile(one: Shown, photos: Photos, highest: float, captions: Sequence[str]) -> Tile:
    """Return a photograph, dark where nothing is to be labelled, the prediction and the disagreement."""
    photo = small(read_image(one.file), ON_PAGE)
    if one.drawing.elsewhere is not None:
        is_dark = Image.fromarray(one.drawing.elsewhere).resize(photo.size)
        photo.paste(photo.point(lambda value: value // 3), mask=is_dark)
        scale, pen = photo.width / one.drawing.classes.shape[1], ImageDraw.Draw(photo)
        for outline in one.drawing.outlines:
            pen.polygon([(scale * x, scale * y) for x, y in outline.points], outline=MARKS[REGION])
    pictures = [photo]
    if one.guess is not None and one.disagreement is not None:
        pictures += [painted(photo, one.guess, photos.dataset.colours), heat(one.disagreement, photo.size, highest)]
    return Tile(pictures, [one.file.name, one.row["why"]], captions[: len(pictures)])


def heat(values: np.ndarray, size: tuple[int, int], highest: float) -> Image.Image:
    """Return a map (h, w) in colours, black for 0 and light yellow for the `highest` value."""
    from matplotlib import colormaps

    colours = colormaps["magma"](values / highest)
    return Image.fromarray((255 * colours[..., :3]).astype(np.uint8)).resize(size)
