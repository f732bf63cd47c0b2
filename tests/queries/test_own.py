"""A query from a file of one's own: refused in one line without running it, and run with the run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alutils.errors import ParameterError
from alutils.queries.committee import STATISTICS
from alutils.queries.own import COMMITTEE_STATISTICS, query_digest, query_file
from alutils.queries.parts import Power, Top
from alutils.queries.query import Query, parse_query
from alutils.queries.scores import applied, score_of
from alutils.queries.selections import selection_of

CONTENT = """
from pathlib import Path
from alutils.queries.query import Entry

Path("was_run").touch()

def my_query(mean_entropy, scale=2):
    return scale * mean_entropy

def of_votes(votes):
    return votes

def backwards(scores, k, generator, candidates):
    return (-scores).argsort()[::-1][:k]

plain = Entry(my_query, is_plain=True)
chosen = Entry(selection=backwards)
number = 3
"""


@pytest.fixture(autouse=True)
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write `my_scores.py` into a new current folder."""
    monkeypatch.chdir(tmp_path)
    Path("my_scores.py").write_text(CONTENT)
    return tmp_path / "my_scores.py"


def test_a_query_of_a_file_has_a_text_a_word_and_a_digest(own_file: Path):
    query = parse_query("./my_scores.py:my_query+power1.0+top0.10")
    assert query == Query("my_scores.py:my_query", reduce=Top(0.1), select=Power(1))
    assert str(query) == "my_scores.py:my_query+top0.1+power1"
    assert query.word == "my_scores.my_query+top0.1+power1"
    assert parse_query(str(query)) == query
    before = query_digest(str(query))
    own_file.write_text(CONTENT + "\n")
    assert before != query_digest(str(query)) is not None
    assert query_file(str(query)) == Path("my_scores.py")
    assert query_digest("bald+top0.1") is None is query_digest("all")


def test_a_file_of_the_project_is_found_from_any_folder(own_file: Path, monkeypatch: pytest.MonkeyPatch):
    """A grid's jobs are listed in another folder than they run in."""
    digest = query_digest("my_scores.py:my_query")
    (own_file.parent / "elsewhere").mkdir()
    monkeypatch.chdir(own_file.parent / "elsewhere")
    monkeypatch.setattr("alutils.queries.own.ROOT", own_file.parent)
    assert parse_query("my_scores.py:my_query").loaded().entry.score is not None
    assert query_digest("my_scores.py:my_query") == digest
    Path("my_scores.py").write_text("def my_query(vote_share): return vote_share.amax(dim=1)\n")
    assert query_digest("my_scores.py:my_query") != digest, "the current folder's comes first"


def test_the_file_is_not_run_before_the_query_is_used():
    query = parse_query("my_scores.py:my_query+top0.1")
    assert not Path("was_run").exists()
    score = score_of(query.loaded())
    assert Path("was_run").exists()
    assert score
    assert applied(score, {"mean_entropy": torch.tensor([1.0, 3.0])}).tolist() == [2.0, 6.0]
    assert query.has_dropout


def test_an_entry_of_a_file_says_who_is_asked_and_what_is_chosen():
    plain = parse_query("my_scores.py:plain+balanced").loaded()
    assert plain.asks_committee
    assert not plain.has_dropout
    chosen = parse_query("my_scores.py:chosen").loaded()
    assert not chosen.asks_committee
    assert selection_of(chosen)(np.array([3.0, 1.0, 2.0]), 2, np.random.default_rng(0), None).tolist() == [1, 2]


BAD = [
    (
        "other.py:my_query",
        r"^query is 'other.py:my_query'; /.*/other.py: No such file or directory; allowed: FILE.py:NAME",
    ),
    ("my_scores.py:my_qurey", r"my_scores.py has no 'my_qurey'; did you mean my_query\? allowed: my_query, of_votes"),
    (
        "my_scores.py:of_votes",
        r"my_scores.py: of_votes has the parameter 'votes'; did you mean vote_share\?",
    ),
    ("my_scores.py:my_query+interior1+windows2x2", "interior1 reduces whole images only"),
    ("broken.py:f", r"broken.py, line 2: .*; allowed: a Python file$"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_what_is_wrong_is_one_line_before_the_file_is_run(text: str, message: str):
    Path("broken.py").write_text("a = 1\ndef f(:\n")
    with pytest.raises(ParameterError, match=message) as caught:
        parse_query(text)
    assert "\n" not in str(caught.value)
    assert not Path("was_run").exists()


BAD_WHEN_RUN = [
    (
        "my_scores.py:number",
        r"^my_scores.py:number is of type int; allowed: a function of committee statistics, or an Entry$",
    ),
    (
        "my_scores.py:chosen+power1",
        r"^my_scores.py:chosen has a selection of its own; allowed: my_scores.py:chosen without",
    ),
    ("fails.py:f", r"^fails.py: ZeroDivisionError while it is run: division by zero$"),
    ("imports.py:Path", r"imports.py:Path has the parameter 'args'; allowed: mean_probability"),
]


@pytest.mark.parametrize(("text", "message"), BAD_WHEN_RUN)
def test_what_only_running_the_file_shows_is_one_line(text: str, message: str):
    Path("fails.py").write_text("1 / 0\n\ndef f(vote_share):\n    return vote_share\n")
    Path("imports.py").write_text("from pathlib import Path\n")
    with pytest.raises(ParameterError, match=message):
        parse_query(text).loaded()


def test_the_names_of_statistics_are_those_of_the_committee():
    assert tuple(STATISTICS) == COMMITTEE_STATISTICS
