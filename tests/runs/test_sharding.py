"""A pool scored in parts by several processes: the same scores, the same choice, the same run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alutils.errors import ParameterError
from alutils.grid.parameters import check_parameters, find_notebook
from alutils.models import build_model
from alutils.queries.committee import Committee
from alutils.queries.query import parse_query
from alutils.queries.scoring import score_images
from alutils.queries.selections import top_k
from alutils.runs.config import RoundsConfig
from alutils.runs.data import load_split
from alutils.runs.folder import RunFolder
from alutils.runs.rounds import run_rounds
from alutils.runs.sharding import score_in_shards, shards

GIVEN = {"rounds": 2, "steps": 4, "batch_size": 3, "query": "consensus_entropy"}


def config_of(**changes: object) -> RoundsConfig:
    return RoundsConfig.from_names(check_parameters(find_notebook("03_active_learning_rounds"), GIVEN | changes))


@given(st.integers(0, 50), st.integers(1, 9), st.integers(1, 7))
def test_shards_are_whole_batches_in_a_row(count: int, workers: int, batch_size: int):
    parts = shards(np.arange(count), workers, batch_size)
    assert np.concatenate([np.arange(0), *parts]).tolist() == list(range(count))
    assert len(parts) <= workers
    assert all(len(part) for part in parts)
    assert all(len(part) % batch_size == 0 for part in parts[:-1])
    assert max([len(part) for part in parts], default=0) <= -(-count // batch_size // workers) * batch_size + batch_size


@pytest.mark.slow
def test_several_workers_give_the_scores_and_the_choice_of_one():
    config = config_of()
    dataset = load_split(config, "train")
    model = build_model(config.model, dataset.num_classes, seed=1)
    committee, indices = Committee([model], 3, 0.5, 7), np.arange(2, 39)
    one = score_images(parse_query(config.query), committee, dataset, indices, config)
    three = score_in_shards(config, committee, indices, 3, config.batch_size)
    assert three.tobytes() == one.tobytes()
    chosen = [top_k(scores, 5, np.random.default_rng(0)) for scores in (one, three)]
    assert chosen[0].tolist() == chosen[1].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("query", ["consensus_entropy", "bald+balanced+windows2x3"])
def test_a_run_whose_pool_is_scored_by_two_workers_is_the_same_run(query: str):
    tables = []
    for workers, experiment in ((1, "one"), (2, "two")):
        config = config_of(experiment=experiment, query=query)
        run_rounds(config, workers)
        tables.append((RunFolder(experiment, config.run_name).path / "acquisitions.csv").read_bytes())
    assert tables[0] == tables[1]


def test_no_workers_are_refused():
    with pytest.raises(ParameterError, match="scoring_workers is 0; allowed: 1 to 1000"):
        run_rounds(config_of(), 0)
