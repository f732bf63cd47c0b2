"""The page to send holds what an experiment found and chose, and needs nothing else."""

from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import BULK
from explored import DIGITS, REGIONS, SCENES, finished
from test_web_page import Elements

from alutils.errors import DataError
from alutils.explorer import page
from alutils.explorer.page import write_page
from alutils.explorer.pictures import View, jpeg, parts_of
from alutils.results.comparison import comparisons_of
from alutils.results.comparison_text import read_gains
from alutils.results.publish import publish
from alutils.results.tables import Experiment
from alutils.runs.bulk import run_bulk

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_provenance")]
of_tiny_scenes = pytest.mark.usefixtures("tiny_everywhere")


@pytest.fixture
def text(tiny_everywhere: None) -> str:
    for seed in (0, 1):
        for config in (SCENES, REGIONS, replace(SCENES, query="random")):
            finished(replace(config, seed=seed))
    return write_page("e").read_text()


def views(text: str) -> list[tuple[int, int, int]]:
    found = [attributes for tag, attributes in Elements(text).found if (attributes.get("class") or "") == "view"]
    return [tuple(int(one[f"data-{name}"] or -1) for name in ("query", "round", "rank")) for one in found]  # type: ignore[misc]


def test_a_page_needs_nothing_else_and_can_be_read_by_everyone(text: str):
    elements = Elements(text).found
    images = [attributes for tag, attributes in elements if tag == "img"]
    assert len(images) > 20
    assert all((image["src"] or "").startswith("data:image/") and image["alt"] for image in images)
    for tag, attributes in elements:
        assert tag not in ("link", "iframe", "object"), tag
        assert tag != "script" or not attributes
        assert not (attributes.get("href") or "").startswith("http")
    controls = [attributes for tag, attributes in elements if tag in ("input", "select")]
    assert [one["id"] for one in controls] == ["query", "round", "rank"]
    assert [tag for tag, _ in elements].count("label") == len(controls), "each control has a label"
    assert ("html", {"lang": "en"}) in elements


def test_a_page_says_what_the_comparison_says(text: str):
    (comparison,) = comparisons_of(Experiment.find("e"))
    assert read_gains(comparison).replace("±", "±") in text
    for query in ("vote_entropy", "vote_entropy+windows2x2"):
        assert f"{comparison.by_query['area'][query]:.4f}" in text
    assert "vote entropy, round" not in text
    assert "alutils page e" in text
    seconds = sum(
        made["seconds"] for made in (record["provenance"] for record in Experiment.find("e").records.values())
    )
    assert f"<th>time in training and queries<td>{seconds:.0f} s" in text
    assert "<tr><th>batch_size<td>2" in text
    assert "<th>epochs<td>" in text
    assert "null" not in text.partition("How it was made")[2]


def test_views_are_the_choices_of_every_round_of_one_seed_of_every_query(text: str):
    run = finished(SCENES)
    expected = {(query, number, rank) for query in (0, 1, 2) for number in (0, 1) for rank in range(3)}
    assert expected <= {*views(text)}
    options = text.split("<option")[1:]
    assert ["seed0" in option for option in options] == [True] * 3
    position = next(number for number, option in enumerate(options) if f">{run.name}<" in option)
    order = views(text).index((position, 1, 2))
    sources = text.split('class="view"')[1 + order].split("</figure>")[0].split('src="data:image/jpeg;base64,')[1:]
    parts = parts_of(run, View(1, "train", run.chosen(1)[2], "vote_entropy"))
    assert [b64decode(source.split('"')[0]) for source in sources] == [jpeg(part) for part in parts.values()]


def test_a_page_has_as_many_views_as_fit(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(page, "VIEWS", 120_000)
    fewer = write_page("e").read_text()
    assert 0 < len(views(fewer)) < len(views(text))
    assert views(fewer) == views(text)[: len(views(fewer))]
    assert {rank for _, _, rank in views(text)[:6]} == {0}, "first choices come first"


@of_tiny_scenes
def test_runs_without_networks_say_why_there_are_no_views():
    for query in ("random", "bald"):
        run = finished(replace(SCENES, query=query))
        for path in run.run.path.glob("networks*.pt"):
            path.unlink()
    text = write_page("e").read_text()
    assert "There are no views: " in text
    assert "holds no networks of round 0" in text
    assert views(text) == []
    assert "script" not in [tag for tag, _ in Elements(text).found]


def test_a_published_experiment_has_a_page_without_views(text: str, published: Path, results: Path):
    publish("e")
    for path in (results / "e").glob("*/provenance.json"):
        path.unlink()
    again = write_page("e").read_text()
    assert views(again) == []
    assert "There are no views: only the published table is here; `alutils grid e` makes the runs." in again
    (comparison,) = comparisons_of(Experiment.published("e"))
    assert f"{comparison.by_query['area']['vote_entropy']:.4f}" in again


@of_tiny_scenes
def test_an_experiment_of_one_kind_of_run_has_a_page(results: Path):
    run_bulk(BULK)
    assert "Learning curves of tiny unet_small bulk" in write_page("e").read_text()
    assert write_page("e") == results / "e" / "page.html"


def test_digits_have_a_page():
    finished(DIGITS)
    text = write_page("e").read_text()
    assert len(views(text)) == page.RANKS
    assert "void" not in text.split("What was chosen")[1].split("<figure")[0]


def test_no_experiment_is_one_line():
    with pytest.raises(DataError, match=r"'nowhere' has no finished run in .* and no published table"):
        write_page("nowhere")
