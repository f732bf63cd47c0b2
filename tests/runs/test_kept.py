"""The networks that a run keeps of its rounds are those that it tested and asked."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import ROUNDS

from alutils.datasets import ImageDataset
from alutils.errors import DataError, ParameterError
from alutils.queries.query import parse_query
from alutils.queries.scoring import score_images
from alutils.runs import kept
from alutils.runs.folder import RunFolder
from alutils.runs.kept import committee_of_round, kept_networks
from alutils.runs.rounds import run_rounds
from alutils.training.loop import measure_on_test_set

pytestmark = pytest.mark.usefixtures("tiny_everywhere", "quick_provenance")


@pytest.mark.parametrize("query", ["vote_entropy+dropout0.3", "bald", "vote_entropy+ensemble2"])
def test_kept_networks_reach_the_scores_of_the_tables_and_choose_as_they_did(query: str, tiny_scenes: ImageDataset):
    config = replace(ROUNDS, query=query)
    table, run = run_rounds(config), RunFolder("e", config.run_name)
    for number, miou in enumerate(table["miou"]):
        networks = kept_networks(config, run, number, tiny_scenes)
        assert measure_on_test_set(networks[0], tiny_scenes, config).measures["miou"] == miou
        if number < len(run.scores()):
            unlabelled = np.flatnonzero(~np.isnan(run.scores()[number]))
            committee = committee_of_round(config, parse_query(query), networks, number)
            scores = score_images(parse_query(query), committee, tiny_scenes, unlabelled, config)
            assert (scores.astype(np.float32) == run.scores()[number][unlabelled]).all()


def test_large_networks_are_not_kept_and_asking_for_them_says_so(
    monkeypatch: pytest.MonkeyPatch, tiny_scenes: ImageDataset
):
    monkeypatch.setattr(kept, "MOST_MB", 0.1)
    run_rounds(ROUNDS)
    run = RunFolder("e", ROUNDS.run_name)
    with pytest.raises(ParameterError, match=r"holds no networks of round 1; .* more than 0.1 MB a run"):
        kept_networks(ROUNDS, run, 1, tiny_scenes)


@pytest.mark.parametrize("change", [lambda content: content[:-9], lambda content: content.replace(b"PK", b"KP", 1)])
def test_damaged_networks_are_one_line(change, tiny_scenes: ImageDataset):
    run_rounds(ROUNDS)
    run = RunFolder("e", ROUNDS.run_name)
    path = run.path / "networks2.pt"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=r"networks2.pt: damaged"):
        kept_networks(ROUNDS, run, 2, tiny_scenes)
