"""An afternoon of labelling, rehearsed: hidden labels stand in for the person who draws."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from alutils.datasets import ImageDataset, load_dataset
from alutils.labelling import cvat
from alutils.labelling.heads import RECIPE, Heads, train_heads
from alutils.labelling.next_batch import NextBatch, next_batch
from alutils.labelling.photos import read_photos
from alutils.labelling.reading import Reading, read
from alutils.labelling.shapes import Drawing
from alutils.models import DEFAULT_ENCODER
from alutils.models.encoders import encoded
from alutils.paths import labelling_dir
from alutils.training.loop import default_device, measure_on_test_set


@dataclass
class Rehearsal:
    """A folder of photographs without labels, described by the YAML file `path`, and the labels that nobody sees.

    hidden : by the name of a photograph's file, its classes (H, W) uint8
    test_set : what the scores are measured on
    rows : for each number of labels so far, the score of heads that are trained on them, the clicks that it takes to
        draw them, and the clicks if only what a guess had wrong is drawn
    """

    path: Path
    hidden: Mapping[str, np.ndarray]
    test_set: ImageDataset
    seed: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    clicks: int = 0
    corrections: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of the photographs."""
        height, width = self.test_set.images.shape[2:]
        return height, width

    def next(self, k: int, query: str = "") -> NextBatch:
        """Return the next batch of `k` photographs; `query` is asked as soon as there are labels."""
        known = any(self.path.parent.joinpath("labels").iterdir())
        asked = query if known or query == "random" else ""
        batch = next_batch(self.path, k, query=asked, size=self.size, seed=self.seed)
        self._note(len(batch.photos.labelled), batch.heads)
        return batch

    def label(self, batch: NextBatch) -> Reading:
        """Draw the hidden labels of a batch and read them, through files in CVAT's format."""
        names = self.test_set.class_names
        files = [batch.photos.files[position].name for position in batch.choice.positions]
        drawings = [Drawing(file, self.hidden[file], names) for file in files]
        cvat.write(batch.folder / "drawn", drawings, dict(zip(names, self.test_set.colours, strict=True)))
        reading = read(self.path, batch.folder / "drawn")
        self.clicks, self.corrections = self.clicks + reading.clicks[0], self.corrections + reading.clicks[1]
        return reading

    def table(self) -> pd.DataFrame:
        """Return the rows so far, with one for all labels."""
        photos = read_photos(self.path, size=self.size)
        self._note(len(photos.labelled), train_heads(photos.dataset, photos.labelled, seed=self.seed))
        return pd.DataFrame(self.rows)

    def _note(self, labelled: int, heads: Heads) -> None:
        if heads.networks:
            scores = [measure_on_test_set(one, self.test_set, RECIPE).measures["miou"] for one in heads.networks]
            cost = {"clicks": self.clicks, "corrections": self.corrections}
            self.rows.append({"labelled": labelled, "miou": float(np.mean(scores)), **cost})


def rehearsal(dataset: str, count: int, name: str, size: tuple[int, int], seed: int = 0) -> Rehearsal:
    """Write `count` training images of a data set, spread evenly, as photographs without labels, and describe them.

    They lie in the folder of the batches of `name`, which is emptied first. Labels that are drawn go beside them.
    """
    train_set = load_dataset(dataset, "train", *size)
    chosen = np.unique(np.linspace(0, len(train_set) - 1, count).round().astype(int))
    folder = labelling_dir(name)
    shutil.rmtree(folder, ignore_errors=True)
    for inner in ("photos", "labels"):
        (folder / inner).mkdir(parents=True)
    hidden = {}
    for index in chosen:
        file = f"{train_set.item_names[index]}.jpg"
        hidden[file] = np.array(train_set.labels[index])
        Image.fromarray(train_set.images[index].transpose(1, 2, 0)).save(folder / "photos" / file, quality=95)
    classes = {of: [*colour] for of, colour in zip(train_set.class_names, train_set.colours, strict=True)}
    splits = {"train": {"images": "photos", "labels": "labels"}}
    content = {"name": name, "classes": classes, "splits": splits}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None))
    test_set = encoded(load_dataset(dataset, "test", *size), DEFAULT_ENCODER, None, default_device())
    return Rehearsal(folder / f"{name}.yaml", hidden, test_set, seed)
