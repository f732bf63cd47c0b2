"""What to label next, from a YAML file to a folder."""

import time
from pathlib import Path
from typing import NamedTuple

from alutils.datasets import label_counts
from alutils.datasets.folder import listed, read_description
from alutils.errors import DataError, check_choice, check_range
from alutils.files import try_lock
from alutils.labelling.batch import batches, chosen_before, write_batch
from alutils.labelling.choose import Choice, choose, left_to_label, query_for
from alutils.labelling.heads import Heads, train_heads
from alutils.labelling.photos import Photos, read_photos
from alutils.labelling.stopping import curve, gain, last_confusions, note, score, scores_so_far
from alutils.paths import labelling_dir

PRELABELS = ("all", "sure", "none")


class NextBatch(NamedTuple):
    """A batch to label, and what is known so far."""

    photos: Photos
    heads: Heads
    choice: Choice
    folder: Path
    said: list[str]


def next_batch(
    path: Path,
    k: int = 20,
    *,
    query: str = "",
    regions: str = "",
    split: str = "train",
    prelabel: str = "all",
    size: tuple[int, int] | None = None,
    seed: int = 0,
) -> NextBatch:
    """Choose what to label next of a data set's photographs, and write a folder for annotation tools.

    path : the YAML file that describes the data set
    k : how many photographs, or regions
    query : asked with the labels so far; "" for what suits their number
    regions : such as "windows8x8" or "superpixels100"; "" for whole photographs
    prelabel : what annotation tools show: "all" of the prediction, what is "sure" of it, "none"
    size : height and width that the network reads

    Raises `ParameterError` for an impossible value, `DataError` for a file that is wrong, or while another process
    chooses photographs of this data set.
    """
    check_choice("prelabel", prelabel, PRELABELS)
    description = read_description(path)
    listing = listed(description, path.resolve().parent, split)
    query_for(query, regions, has_labels=bool(listing.labels))
    check_range("k", k, 1, len(listing.images) if not regions else 1_000_000)
    lock = try_lock(labelling_dir(description.name) / ".next.lock")
    if lock is None:
        raise DataError(f"{path}: another process chooses photographs of {description.name}; wait until it is done")
    with lock:
        started = time.monotonic()
        made = _next_batch(path, read_photos(path, split, size), k, query, regions, prelabel, seed)
        row = {"batch": made.folder.name, "labelled": len(made.photos.labelled), "chosen": len(made.choice.positions)}
        row |= {"query": str(made.choice.query)}
        row |= {"score": round(score(made.heads.confusions), 4) if made.heads.confusions else None}
        note(labelling_dir(description.name), row | {"seconds": round(time.monotonic() - started, 1)})
        return made


def _next_batch(path: Path, photos: Photos, k: int, query: str, regions: str, prelabel: str, seed: int) -> NextBatch:
    """Train, choose, and write the folder; what cannot be chosen is refused before the training."""
    asked = query_for(query, regions, has_labels=photos.have_classes)
    left = left_to_label(photos, asked, k)
    heads = train_heads(photos.dataset, photos.labelled, seed=seed)
    choice = choose(photos, heads, asked, left, k, seed=seed)
    said = _said(photos, heads, choice)
    return NextBatch(photos, heads, choice, write_batch(photos, heads, choice, prelabel, said, path), said)


def _said(photos: Photos, heads: Heads, choice: Choice) -> list[str]:
    """Return lines on what is labelled, on how well that does, and on the batch."""
    count, total = len(photos.labelled), len(photos.files)
    said = [f"{photos.description.name} {photos.split}: {total} photographs, {count} with a label"]
    if heads.confusions:
        scores = scores_so_far(labelling_dir(photos.description.name)) | {count: score(heads.confusions)}
        said.append(f"mean IoU on photographs that a network has not seen, by the number of labels: {curve(scores)}")
        helped = gain(last_confusions(batches(photos.description.name), len(heads.confusions)), heads.confusions)
        said += [str(helped)] if helped else []
    counts = label_counts(photos.dataset, photos.labelled)
    missing = [name for name, pixels in zip(photos.description.classes, counts, strict=True) if not pixels]
    said += [f"no label has yet: {', '.join(missing)}"] if count and missing else []
    again = {photos.files[position].name for position in choice.positions} & chosen_before(photos)
    said += [f"{len(again)} of these photographs were chosen before and have no label yet"] if again else []
    left_out = f"; {choice.left_out} left out that look like others" if choice.left_out else ""
    kind = "photographs" if choice.regions is None else "regions"
    return [*said, f"next {len(choice.positions)} {kind}, by {choice.query}{left_out}"]
