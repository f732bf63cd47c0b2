"""What a run has acquired, image by image or region by region: the pool, and the rows of `acquisitions.csv`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alutils.datasets import ImageDataset
from alutils.queries.embeddings import Candidates
from alutils.queries.query import parse_query
from alutils.queries.regions import Pieces
from alutils.queries.selections import selection_of
from alutils.runs.config import RoundsConfig
from alutils.runs.networks import build_network
from alutils.runs.pool import Pool
from alutils.seeds import derive_seed, numpy_generator
from alutils.training.loop import default_device

Row = dict[str, Any]
Rows = list[Row]
WHOLE_IMAGE = -1  # as the region of a row: all regions of the image


class Acquisitions:
    """The pieces that a run has labelled: `pool` holds their state, `rows` are those of `acquisitions.csv`."""

    def __init__(self, pieces: Pieces):
        self.pieces, self.pool, self.rows = pieces, Pool(len(pieces.sizes)), Rows()

    def label(self, rows: Rows) -> None:
        """Label what new rows name; rows of scenes also get the cost, pixels and clicks."""
        if self.pieces.dataset.is_dense:
            rows = [row | self.pieces.cost(row["index"], row.get("region", WHOLE_IMAGE)) for row in rows]
        self.restore(rows)

    def restore(self, rows: Rows) -> None:
        """Label what saved rows name; raise `ValueError` if something is no piece, or would be labelled twice."""
        for number in sorted({row["round"] for row in rows}):
            of_round = [row for row in rows if row["round"] == number]
            images = np.array([row["index"] for row in of_round], int)
            regions = np.array([row.get("region", WHOLE_IMAGE) for row in of_round], int)
            self.pool.label_pieces(self.pieces.numbers(images, regions), number)
        self.rows += rows

    def room(self, budget: int) -> int:
        """Return what is left of a budget of so many images, in the unit of the pieces' sizes."""
        return self.pieces.room(budget, self.pool.labelled_pieces)

    def total_cost(self, round_number: int) -> dict[str, int]:
        """Return the pixels and the clicks of all that is labelled up to a round; nothing for digits."""
        rows = [row for row in self.rows if row["round"] <= round_number and "clicks" in row]
        names = {"labelled_pixels": "pixels", "clicks": "clicks"}
        return {total: sum(int(row[name]) for row in rows) for total, name in names.items() if rows}


def start_set(config: RoundsConfig, pieces: Pieces, count: int) -> Rows:
    """Return the rows of the first batch, the same for all queries of a seed.

    It is `count` whole images or, if `start_query` says so, as many pixels of regions, drawn at random.
    """
    generator, everything = numpy_generator(config.seed, "start"), np.arange(len(pieces.dataset))
    start = parse_query(config.start_query)
    if start.regions is not None:
        order = generator.permutation(len(pieces.sizes))
        chosen = order[np.cumsum(pieces.sizes[order]) <= pieces.room(count, everything[:0])]
        return piece_rows(pieces, chosen, np.full(len(chosen), np.nan), 0)
    if start.name == "random":
        chosen = generator.permutation(everything)[:count]
    else:
        network = build_network(config, pieces.dataset, seed=derive_seed(config.seed, "weights", 0))
        candidates = Candidates(network.to(default_device()), pieces.dataset, config, everything, everything[:0])
        select, chance = selection_of(start), generator.random(len(everything))
        chosen = select(chance, count, generator, candidates)
    rows = image_rows(pieces.dataset, chosen, np.full(count, np.nan), 0)
    return with_regions(rows, [WHOLE_IMAGE] * count) if pieces.maps is not None else rows


def piece_rows(pieces: Pieces, chosen: np.ndarray, scores: np.ndarray, round_number: int) -> Rows:
    """Return one row per piece, in the order in which the pieces are chosen; chosen and scores (B,)."""
    rows = image_rows(pieces.dataset, pieces.images[chosen], scores, round_number)
    return with_regions(rows, pieces.regions[chosen].tolist()) if pieces.maps is not None else rows


def image_rows(dataset: ImageDataset, indices: np.ndarray, scores: np.ndarray, round_number: int) -> Rows:
    """Return one row per image, in the order in which the images are acquired; indices and scores (B,)."""
    ranked = enumerate(zip(indices.tolist(), scores.tolist(), strict=True))
    return [
        {"round": round_number, "rank": rank, "index": index, "item": dataset.item_names[index], "score": score}
        for rank, (index, score) in ranked
    ]


def with_regions(rows: Sequence[Mapping[str, Any]], regions: Sequence[int]) -> Rows:
    """Return rows with the number of a region each."""
    return [{**row, "region": region} for row, region in zip(rows, regions, strict=True)]
