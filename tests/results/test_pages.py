"""What is printed, and the tables in README and docs/: written by a command, never by hand."""

import re
from pathlib import Path

import pytest
from conftest import finished_run, finished_runs_of

from alutils.errors import DataError, ParameterError
from alutils.paths import IMAGE_EXAMPLES
from alutils.results.figures.published import FIGURES
from alutils.results.pages import all_pages, compare, fill_tables, markdown, recipes_table, variants_table
from alutils.results.publish import publish
from alutils.results.tables import Experiment
from alutils.results.thesis import THESIS_FIGURES

pytestmark = pytest.mark.usefixtures("quick_provenance")


@pytest.mark.slow
@pytest.mark.parametrize("page", all_pages(), ids=lambda page: page.name)
def test_a_page_holds_what_the_published_tables_say(page: Path):
    text = page.read_text()
    assert fill_tables(text) == text, "run `make figures`"


def test_variants_of_a_query_are_held_against_this_query_alone(published: Path):
    curves = {"bald+windows2x3": [0.1, 0.2], "bald+perimage1+windows2x3": [0.1, 0.25], "margin+windows2x3": [0.1, 0.3]}
    finished_runs_of({query: [curve, curve] for query, curve in curves.items()})
    publish("e")
    rows = [line.split(" | ") for line in variants_table("e", ["bald+windows2x3", "margin+windows2x3"]).splitlines()]
    assert [(row[0], row[3]) for row in rows if row[0].startswith("| bald")] == [
        ("| bald+perimage1+windows2x3", "+0.0500 [+0.0500, +0.0500]"),
        ("| bald+windows2x3", ""),
    ]
    assert [row[0] for row in rows if row[0].startswith("| margin")] == ["| margin+windows2x3"]
    with pytest.raises(ParameterError, match=r"baseline|query"):
        variants_table("e", ["core_set+windows2x3"])


def test_recipes_are_compared_with_the_queries_and_seeds_that_all_have(published: Path):
    random = [[0.1, 0.2], [0.1, 0.3], [0.1, 0.9]]
    usual = {"random": random, "bald": [[0.1, 0.25], [0.1, 0.35], [0.1, 0.1]], "margin": random}
    other = {"random": random[:2], "bald": [[0.1, 0.26], [0.1, 0.38]]}
    finished_runs_of(usual, experiment="usual")
    finished_runs_of(other, experiment="other", steps=7)
    for name in ("usual", "other"):
        publish(name)
    rows = [line.split(" | ") for line in recipes_table({"usual": "long", "other": "short"}).splitlines()]
    assert rows[0][-1] == "gains more by [95 %] |"
    assert [(*row[:4], row[-1]) for row in rows[2:]] == [
        ("| long", "bald", "2", "0.3000", " |"),
        ("| long", "random", "2", "0.2500", " |"),
        ("| short", "bald", "2", "0.3200", "+0.0200 [-0.1071, +0.1471] |"),
        ("| short", "random", "2", "0.2500", " |"),
    ]


def test_the_thesis_and_every_published_experiment_stand_on_a_page():
    text = "".join(page.read_text() for page in all_pages())
    for name in (*THESIS_FIGURES, "camvid_small", "mnist_small"):
        assert markdown(name) in text


def test_a_thesis_figures_table_has_a_row_a_percent_and_both_gains():
    lines = markdown("bulk_all").splitlines()
    first = [line.split(" | ")[0] for line in lines if line.startswith("| ")]
    assert first == ["| %", "| 20", "| 30", "| 40", "| 70", "| 100", "| %", "| 20", "| 30", "| 40", "| 70"]
    assert set(lines[1]) == {"|", "-"}
    assert "0.6131 ± 0.0060 (5)" in lines[2], "consensus entropy of the thesis at 20 %"
    assert lines[0].count("gain") == 2
    (slopes,) = [line for line in lines if line.startswith("What one percent")]
    assert "0.0019" in slopes, "the slope that the thesis states"


def test_the_thesiss_gain_is_held_against_the_interval_of_ours():
    rows = [line.split(" | ") for line in markdown("bulk_all").splitlines()[-4:]]
    assert [row[0].strip("| ") for row in rows] == ["20", "30", "40", "70"]
    for _, thesis, ours, seeds, answer, *of_drives in rows:
        assert len(of_drives) == 2, "one that training also has, and one that it has not"
        mean, low, high = map(float, re.findall(r"[-+][0-9.]+", ours))
        assert low < mean < high
        assert int(seeds) >= 5
        assert answer.strip("| ") == ("within" if low <= float(thesis) <= high else "excluded")


CURVES = {"random": [[0.2, 0.3], [0.2, 0.4]], "vote_entropy": [[0.2, 0.5], [0.2, 0.61]]}


def test_compare_says_tables_verdicts_and_notes():
    finished_runs_of(CURVES)
    parts = compare("e").split("\n\n")
    assert parts[0] == "d m: area under the curve of mean IoU, gain over random paired by seed"
    assert [line.split()[0] for line in parts[1].splitlines()] == ["seeds", "query", "vote_entropy", "random"]
    assert "+0.2050 [+0.1415, +0.2685]" in parts[1]
    assert parts[2].startswith("By area, ahead of random: vote_entropy (+0.2050 [+0.1415, +0.2685], p 0.0155).")
    assert parts[-1] == "No full-data result: no finished training on all labels."


def test_compare_without_such_an_experiment_is_one_line(published: Path):
    finished_run("random", 0, [0.1], experiment="there")
    message = "'nothing' has no finished run in .* and no published table; known: there"
    with pytest.raises(DataError, match=f"^{message}$"):
        compare("nothing")


def test_what_is_refused_is_refused_before_pixels_are_read(monkeypatch: pytest.MonkeyPatch):
    finished_run("random", 0, [0.1, 0.2])
    finished_run("margin", 0, [0.1, 0.2], device="cuda")
    monkeypatch.setattr(Experiment, "acquired", property(lambda experiment: pytest.fail("data are read")))
    with pytest.raises(DataError, match="margin-0 has device 'cuda'"):
        compare("e")


def test_a_page_takes_the_comparison_of_a_published_table(published: Path):
    finished_runs_of(CURVES, full=[0.9])
    publish("e")
    page = "<!-- e_comparison: written by `make figures` -->\nold\n<!-- end -->"
    filled = fill_tables(page)
    lines = filled.splitlines()
    assert "old" not in lines
    assert lines[3].startswith("| query | seeds | area | gain [95 %] | sign-flip p | p, Holm | verdict | ")
    assert lines[5].startswith(
        "| vote_entropy | 2 | 0.5550 | +0.2050 [+0.1415, +0.2685] | 0.5000 | 0.0155 | ahead of random | "
    )
    assert lines[6].startswith("| random | 2 | 0.3500 |  |  |  |  | ")
    assert sum(line.startswith("| query | ") for line in lines) == 2, "scores and labels"
    assert fill_tables(filled) == filled
    assert markdown("e_verdicts").splitlines() == lines[1:7], "the scores alone"


def test_a_page_without_its_published_table_is_one_line(published: Path):
    with pytest.raises(DataError, match=r"e\.csv: no such table; published: none$"):
        markdown("e_comparison")


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: page.name)
def test_pages_point_to_files_that_exist(page: Path):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert targets or page.name != "README.md"
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


def test_every_picture_is_shown():
    text = "".join(page.read_text() for page in all_pages())
    shown = {Path(target).name for target in re.findall(r"!\[[^]]*\]\(([^)]+)", text)}
    screenshots = {"explorer.png", "page.png"}  # by docs/screenshots.py
    drawn = {f"{name}.png" for name in FIGURES} | screenshots
    assert shown == {path.name for path in IMAGE_EXAMPLES.glob("*.png")} == drawn
