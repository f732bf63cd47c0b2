"""What people see in a browser: notebooks in JupyterLab, the explorer, the page to send, the site."""

import json
import re
import shlex
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from alutils.explorer.page import write_page
from alutils.labelling.page import Work
from alutils.labelling.page import page as batch_page
from alutils.labelling.sheet import Tile
from alutils.paths import NOTEBOOKS, ROOT, cache_dir

sys.path.insert(0, str(ROOT / "benchmarks"))
from browser import INSTALL, PICTURE, browser, chromium, jupyter_lab, milliseconds_to_picture, run_all_cells, show_cell

BUILT = ROOT / "docs" / "_build"  # by `make docs`, which `make test` does first
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
EXPLORER = "09_explore"
CACHE = str(cache_dir())  # each test run has one of its own, which would be empty here
MOST = 600.0  # seconds of a notebook, with nothing finished before, on a busy machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason=f"there is no Chromium; {INSTALL}"),
]
needs_site = pytest.mark.skipif(not (BUILT / "html").exists(), reason="there is no site; run `make docs`")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve copies of the notebooks, which find the finished runs of the site's."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    kept = {"ALUTILS_RESULTS": str(BUILT / "results"), "ALUTILS_CACHE": CACHE}
    kept |= {"ALUTILS_PROGRESS": "1", "OMP_NUM_THREADS": "1"}
    with jupyter_lab(folder / "notebooks", folder / "settings", **kept) as address:
        yield address


def without_outputs(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return what git sees of a notebook that JupyterLab saves, by the filter that `make` sets up."""
    planned = subprocess.run(["make", "-n", "strip"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    command = re.search(r"filter\.notebooks\.clean '(.*?)'", planned)
    assert command
    _, *options = shlex.split(command[1])
    stripped = [sys.executable, "-m", "nbstripout", *options]
    done = subprocess.run(stripped, input=json.dumps(notebook), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_all_cells_of_a_notebook_run_in_jupyterlab(name: str, lab: str):
    with browser() as page:
        notebook = run_all_cells(page, lab.format(f"{name}.ipynb"), MOST)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert [output["evalue"] for output in outputs if output["output_type"] == "error"] == []
    said = "".join(output["text"] for output in outputs if output.get("name") == "stderr")
    assert "Traceback" not in said
    assert "\r" not in said, "a bar was left"
    assert without_outputs(notebook) == json.loads((NOTEBOOKS / f"{name}.ipynb").read_text()), "git would see a change"
    pictures = [output for output in outputs if {"image/png", "image/jpeg"} & {*output.get("data", {})}]
    assert pictures


def test_the_explorer_follows_sliders_pointer_and_clicks(lab: str):
    with browser() as page:
        notebook = run_all_cells(page, lab.format(f"{EXPLORER}.ipynb"), MOST)
        show_cell(page, [cell["source"] == "explorer.widget" for cell in notebook["cells"]].index(True))
        page.wait_for_selector(PICTURE)
        rounds = milliseconds_to_picture(page, 0, 2)
        ranks = milliseconds_to_picture(page, 1, 3)
        assert statistics.median(rounds + ranks) < 2000, "benchmarks/explorer.py measures on a quiet machine"
        picture, curve = page.locator(PICTURE).nth(0), page.locator(PICTURE).nth(1)
        picture.hover(position={"x": 90, "y": 90})
        picture.hover(position={"x": 100, "y": 100})
        page.get_by_text(re.compile(r"row \d+, column \d+")).wait_for()
        curve.click(position={"x": 75, "y": 100})
        page.get_by_text(re.compile(r", round 0: ")).first.wait_for()
        page.get_by_label("score").select_option("margin")
        page.get_by_text(re.compile(r"margin 0\.\d+")).first.wait_for()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, results: Path) -> str:
    """Return the address of an experiment's page, in a folder where nothing else lies."""
    monkeypatch.setenv("ALUTILS_CACHE", CACHE)
    shutil.copytree(BUILT / "results" / "explored", results / "explored")
    shutil.move(write_page("explored"), tmp_path / "page.html")
    return (tmp_path / "page.html").as_uri()


@needs_site
@pytest.mark.parametrize("width", [390, 1300])
def test_a_page_that_was_sent_works_without_a_network(width: int, sent: str):
    with browser(offline=True, width=width) as page:
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
        page.goto(sent)
        shown = lambda: page.locator(".view:not([hidden])").evaluate_all("all => all.map(one => one.innerText)")  # noqa: E731
        assert len(shown()) == 1
        seen = {shown()[0]}
        for control in ("round", "rank"):
            page.locator(f"#{control}").focus()
            page.keyboard.press("ArrowRight")
            assert len(shown()) == 1
            seen.add(shown()[0])
        assert len(seen) == 3, "the arrow keys lead to other views"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        parts = page.locator(".view:not([hidden]) .parts img")
        edges = parts.evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
        assert len(edges) == 4
        assert max(edges) <= width, "a view needs no sideways scrolling"
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0 && image.alt)")
        assert wrong == []


@pytest.mark.parametrize(("width", "in_a_row"), [(1300, 3), (390, 1)])
def test_pictures_of_a_photograph_stand_side_by_side_where_there_is_room(width: int, in_a_row: int, tmp_path: Path):
    tile = Tile([Image.new("RGB", (600, 300))] * 3, ["a.jpg", "why"], ["photograph", "prediction", "disagreement"])
    work = Work("own.yaml", "alutils read own.yaml EXPORT", "other", has_guess=True, has_marks=False)
    (tmp_path / "next.html").write_text(batch_page("own", 2, [], [tile] * 2, {}, work))
    with browser(offline=True, width=width) as page:
        page.goto((tmp_path / "next.html").as_uri())
        boxes = page.locator("li:first-child img").evaluate_all("all => all.map(one => one.getBoundingClientRect())")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    rows = {round(box["top"]) for box in boxes}
    assert len(rows) == 3 // in_a_row
    assert all(box["width"] == pytest.approx(2 * box["height"], rel=0.01) for box in boxes)
    used = max(box["right"] for box in boxes) - min(box["left"] for box in boxes)
    assert used > 0.8 * min(width, 1100), "it takes the width that there is"


@needs_site
def test_the_site_can_be_clicked_through_without_a_network():
    start = (BUILT / "html" / "index.html").as_uri()
    with browser(offline=True) as page:
        wrong: list[str] = []
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        left, seen = [start], set[str]()
        while left:
            address = left.pop()
            seen.add(address)
            page.goto(address)
            links = page.evaluate("[...document.links].map(link => link.href.split('#')[0])")
            left += {link for link in links if link.startswith("file:") and link.endswith(".html")} - seen - {*left}
            assert page.evaluate("[...document.images].every(image => image.complete)"), address
        assert len(seen) > 30
        assert wrong == []


@needs_site
@pytest.mark.parametrize("name", ["start_thesis", "start_research", "start_photos"])
def test_the_first_page_of_each_kind_of_reader_is_one_click_away(name: str):
    with browser(offline=True) as page:
        page.goto((BUILT / "html" / "index.html").as_uri())
        page.locator(f"article a[href$='{name}.html']").first.click()
        assert page.url.endswith(f"{name}.html")
        assert page.locator("article h1").inner_text()
