"""What is labelled next, and what was: rows of `acquisitions.csv`, of images or regions of them."""

from typing import Any

import numpy as np

from alutils.datasets import ImageDataset
from alutils.models import SplitModel, build_model
from alutils.queries.committee import Committee
from alutils.queries.embeddings import Candidates
from alutils.queries.query import Query
from alutils.queries.regions import Pieces
from alutils.queries.scoring import score_images
from alutils.queries.selections import selection_of
from alutils.runs.config import RoundsConfig
from alutils.runs.pool import Pool
from alutils.runs.sharding import score_in_shards
from alutils.seeds import derive_seed, numpy_generator
from alutils.training.loop import class_loss_weights, default_device

Rows = list[dict[str, Any]]


def start_set(config: RoundsConfig, pieces: Pieces, count: int) -> Rows:
    """Return the rows of a seed's first batch, whole images, the same for every query."""
    generator, everything = numpy_generator(config.seed, "start"), np.arange(len(pieces.dataset))
    if config.start_query == "random":
        chosen = generator.permutation(everything)[:count]
    else:
        seed = derive_seed(config.seed, "weights", 0)
        model = build_model(config.model, config.outputs(pieces.dataset), seed=seed, weights=config.weights)
        candidates = Candidates(model.to(default_device()), pieces.dataset, config, everything, everything[:0])
        select, chance = selection_of(Query(config.start_query)), generator.random(len(everything))
        chosen = select(chance, count, generator, candidates)
    rows = image_rows(pieces.dataset, chosen, np.full(count, np.nan), 0)
    return rows if pieces.maps is None else [row | {"region": -1} for row in rows]


def labelled(pieces: Pieces, acquired: Rows) -> np.ndarray:
    """Return the pieces that rows of acquisitions name."""
    images, regions = (np.array([row.get(name, -1) for row in acquired], int) for name in ("index", "region"))
    return pieces.numbers(images, regions)


def pool_of(pieces: Pieces, acquired: Rows, round_number: int) -> Pool:
    """Return the pool in which all that was acquired up to a round is labelled."""
    pool = Pool(len(pieces.sizes))
    pool.label_indices(labelled(pieces, [row for row in acquired if row["round"] <= round_number]))
    return pool


def with_cost(pieces: Pieces, rows: Rows) -> Rows:
    """Return rows of scenes with what was labelled: its pixels, and the clicks that takes; of digits as they are."""
    if not pieces.dataset.is_dense:
        return rows
    return [row | pieces.cost(row["index"], row.get("region", -1)) for row in rows]


def total_cost(acquired: Rows, round_number: int) -> dict[str, int]:
    """Return what of scenes was labelled up to a round: pixels, and clicks that it took."""
    rows = [row for row in acquired if row["round"] <= round_number and "clicks" in row]
    names = {"labelled_pixels": "pixels", "clicks": "clicks"}
    return {total: sum(int(row[name]) for row in rows) for total, name in names.items() if rows}


def score_pieces(
    config: RoundsConfig,
    query: Query,
    models: list[SplitModel],
    pieces: Pieces,
    pool: Pool,
    round_number: int,
    *,
    workers: int,
) -> np.ndarray:
    """Return the scores of all pieces, (P,), NaN for labelled ones; by `workers` processes, to the same result."""
    seed = derive_seed(config.seed, "committee", round_number)
    committee = Committee(1, 0.0, seed)  # of each network of an ensemble
    if query.has_dropout:
        committee = Committee(config.committee_members, config.committee_dropout, seed)
    weights = class_loss_weights(*pieces.labelled_only(pool.labelled), config.void_class) if query.balanced else None
    images = np.unique(pieces.images[pool.unlabelled])
    if workers > 1 and query.asks_committee:
        scores = score_in_shards(config, models, images, committee, workers, weights)
    else:
        generator = numpy_generator(config.seed, "scores", round_number)
        scores = score_images(query, models, pieces.dataset, images, config, committee, generator, weights)
    of_all = np.full((len(pieces.dataset), *scores.shape[1:], 1), np.nan)
    of_all[images] = scores[..., None]
    of_pieces = of_all.reshape(len(of_all), -1)[pieces.images, pieces.regions]
    of_pieces[pool.labelled] = np.nan
    return of_pieces


def acquire(
    config: RoundsConfig,
    query: Query,
    model: SplitModel,
    pieces: Pieces,
    pool: Pool,
    round_number: int,
    scores: np.ndarray,
) -> Rows:
    """Label the next batch, or in regime `one_shot` all batches that follow; return their rows of acquisitions."""
    generator, budgets = numpy_generator(config.seed, "query", round_number), config.budgets(len(pieces.dataset))
    last_round = config.rounds - 1 if config.regime == "one_shot" else round_number + 1
    rows = []
    for of_round in range(round_number + 1, last_round + 1):
        unlabelled, room = pool.unlabelled, pieces.room(budgets[of_round], pool.labelled)
        most = min(room // pieces.sizes[unlabelled].min(), len(unlabelled))
        candidates = Candidates(model, pieces.dataset, config, pieces.images[unlabelled], pieces.images[pool.labelled])
        chosen = selection_of(query)(scores[unlabelled], most, generator, candidates)
        taken = pool.label(chosen[np.cumsum(pieces.sizes[unlabelled[chosen]]) <= room])
        of_batch = image_rows(pieces.dataset, pieces.images[taken], scores[taken], of_round)
        if pieces.maps is not None:
            regions = pieces.regions[taken].tolist()
            of_batch = [row | {"region": region} for row, region in zip(of_batch, regions, strict=True)]
        rows += of_batch
    return rows


def image_rows(dataset: ImageDataset, indices: np.ndarray, scores: np.ndarray, round_number: int) -> Rows:
    """Return a row an image, in the order acquired."""
    ranked = enumerate(zip(indices.tolist(), scores.tolist(), strict=True))
    return [
        {"round": round_number, "rank": rank, "index": index, "item": dataset.item_names[index], "score": score}
        for rank, (index, score) in ranked
    ]
