"""The site: how pages, docstrings and notebooks are made ready for it, and whether what was built is whole."""

import os
import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from alutils.datasets.base import ImageDataset, Item
from alutils.errors import RunError
from alutils.paths import NOTEBOOKS, ROOT
from alutils.training.optimizer import Adam

sys.path.insert(0, str(ROOT / "docs"))
import site_notebooks
from site_notebooks import INTERACTIVE, LONG, WIDGET, clean, clean_output, executed_copies, outdated
from site_pages import contents, for_site, pages, place, write_files
from site_reference import as_rst, readable_signature, room_page, rooms, skip_member

HTML = ROOT / "docs" / "_build" / "html"


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("docs/results.md", "results.md"),
        ("docs/index.md", "index.md"),
        ("README.md", "index.md"),
        ("CONTRIBUTING.md", "contributing.md"),
        ("notebooks/06_figures.ipynb", "notebooks/06_figures.ipynb"),
        ("image_examples/rounds.png", "image_examples/rounds.png"),
        ("alutils/queries/scores.py", "reference/queries.rst"),
        ("alutils/paths.py", "reference/ground-floor.rst"),
        ("alutils/datasets/camvid.yaml", None),
        ("results/published", None),
        ("LICENSE", None),
    ],
)
def test_files_of_the_repository_have_a_place_on_the_site_or_none(path: str, there: str | None):
    assert place(path) == there


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("[a](queries.md#modifiers)", "docs/grids.md", "[a](queries.md#modifiers)"),
        ("[a](#cvat)", "docs/labelling.md", "[a](#cvat)"),
        ("[a](https://b.org/c.md)", "docs/grids.md", "[a](https://b.org/c.md)"),
        ("![a](../image_examples/x.png)", "docs/grids.md", "![a](image_examples/x.png)"),
        ("[speed](../README.md#speed)", "docs/grids.md", "[speed](index.md)"),
        ("[a](docs/queries.md)", "CONTRIBUTING.md", "[a](queries.md)"),
        ("[a](../docs/labelling.md)", "notebooks/08_label_next.ipynb", "[a](../labelling.md)"),
        ("[a](../notebooks/06_figures.ipynb)", "docs/index.md", "[a](notebooks/06_figures.ipynb)"),
        ("[scores](../alutils/queries/scores.py)", "docs/queries.md", "[scores](reference/queries.rst)"),
        ("[results/published/](../results/published/)", "docs/results.md", "`results/published`"),
        ("[the\nfile](../alutils/datasets/x.yaml)", "docs/a.md", "the\nfile (`alutils/datasets/x.yaml`)"),
        ("[`a`](../LICENSE) and `[b](../LICENSE)`", "docs/a.md", "`a` (`LICENSE`) and `[b](../LICENSE)`"),
        ("```text\n[b](../LICENSE)\n```\n", "docs/a.md", "```text\n[b](../LICENSE)\n```\n"),
    ],
)
def test_links_lead_to_places_on_the_site(text: str, path: str, expected: str):
    assert for_site(text, path) == expected


def test_the_contents_have_the_order_of_the_front_page():
    front = "[p](start_photos.md) [b](b.md) [a](a.md) [b](b.md#c) [c](../CONTRIBUTING.md) [s](start_thesis.md)"
    text = contents(front, ["01_x"], ["ground-floor"])
    blocks = re.findall(r":caption: (\w+)\n\n(.*?)```", text, re.DOTALL)
    assert [(title, names.split()) for title, names in blocks] == [
        ("Start", ["start_photos", "start_thesis"]),
        ("Pages", ["b", "a", "contributing"]),
        ("Notebooks", ["notebooks/01_x"]),
        ("Reference", ["reference/ground-floor"]),
    ]


def test_the_site_has_every_page_and_the_front_page_leads_to_it():
    files = pages([], [])
    named = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert {place for place in files if place.endswith(".md")} == named | {"contributing.md"}
    front = str(files["index.md"]).split("```{toctree}")[0]
    assert named - {"index.md"} <= set(re.findall(r"\]\((\w[\w-]*\.md)", front))


def test_files_that_are_written_stay_as_they_are_and_others_go(tmp_path: Path):
    assert write_files({"a/b.md": "old", "c.png": b"c", "d.md": "d"}, tmp_path) == []
    for path in tmp_path.rglob("*.*"):
        os.utime(path, ns=(1, 1))
    assert write_files({"a/b.md": "new", "c.png": b"c"}, tmp_path) == [tmp_path / "d.md"]
    assert (tmp_path / "a" / "b.md").read_text() == "new"
    assert (tmp_path / "c.png").stat().st_mtime_ns == 1
    assert not (tmp_path / "d.md").exists()


DOCSTRING = """Return `x`, (N, ...): a|b, *all* of log2_x.

Of `Query`s.

rows, columns : how many, or `None`
    for all
*rest : others

- `a`: first
- second

    code of * its own
"""

AS_RST = r"""Return ``x``, (N, ...): a\|b, \*all\* of log2\_x.

Of ``Query``\ s.

``rows``, ``columns``
    how many, or ``None``
    for all
``*rest``
    others

- ``a``: first
- second

::

        code of * its own
"""


def test_docstrings_become_restructured_text():
    assert "\n".join(as_rst(DOCSTRING.split("\n"))) == AS_RST


def test_a_default_that_is_no_python_is_left_out_of_a_signature():
    shown = readable_signature(None, "class", "a", None, None, "(x: dict[str, int] = <factory>, y: int = 3)", "str")
    assert shown == ("(x: dict[str, int] = ..., y: int = 3)", "str")
    assert readable_signature(None, "module", "a", None, None, None, None) == (None, None)


def test_members_with_the_docstring_of_another_package_are_left_out():
    assert skip_member(None, "class", "state_dict", Adam.state_dict, False, None)
    assert skip_member(None, "class", "image", Item.image, False, None), "a field of a named tuple"
    assert skip_member(None, "class", "__len__", ImageDataset.__len__, False, None) is None


def test_every_room_of_the_map_has_a_page_with_all_its_modules():
    what, names = rooms()["datasets"]
    page = room_page("datasets", what, names)
    assert page.startswith("Datasets\n========\n\n.. automodule:: alutils.datasets\n   :members:\n")
    named = re.findall(r"automodule:: alutils\.datasets\.(\S+)", page)
    assert [name for name in named if "." not in name] == names
    assert "streets.canvas" in named, "modules of a package inside a room"
    assert "automodule:: alutils.paths\n" in room_page("ground floor", *rooms()["ground floor"])


def test_a_widget_becomes_a_sentence():
    output = new_output("display_data", data={WIDGET: {"model_id": "1"}, "text/plain": "VBox()"})
    assert clean_output(output).data == {"text/markdown": INTERACTIVE}


def test_of_an_output_what_pages_show_is_kept_with_relative_paths():
    data = {"text/plain": f"{ROOT}/results/a.csv", "image/png": "aGk=", "application/json": {}}
    cleaned = clean_output(new_output("execute_result", data=data, metadata={"a": 1}, execution_count=3))
    assert cleaned.data == {"text/plain": "results/a.csv", "image/png": "aGk="}
    assert not cleaned.metadata
    assert clean_output(new_output("stream", name="stdout", text=f"wrote {ROOT}/a\n")).text == "wrote a\n"


def test_a_page_shows_a_notebook_without_traces_of_its_run():
    bar = new_output("stream", name="stderr", text="10%|#\r20%|##")
    printed = new_output("stream", name="stdout", text="printed")
    cells = [
        new_markdown_cell("# Title\n[labelling](../docs/labelling.md)"),
        new_code_cell("seed: int = 0", metadata={"tags": ["parameters"], "papermill": {"status": "completed"}}),
        new_code_cell("seed = 0", metadata={"tags": ["injected-parameters"]}),
        new_code_cell("run()", outputs=[bar, printed]),
    ]
    about = {"papermill": {"input_path": f"{ROOT}/x"}, "widgets": {}, "language_info": {"name": "python"}}
    cleaned = clean(new_notebook(cells=cells, metadata=about), "notebooks/x.ipynb")
    assert [cell.source for cell in cleaned.cells] == [
        "# Title\n[labelling](../labelling.md)",
        "seed: int = 0",
        "run()",
    ]
    assert cleaned.cells[-1].outputs == [printed]
    assert [*cleaned.metadata] == ["language_info"]
    assert not cleaned.cells[1].metadata
    nbformat.validate(cleaned)


def executed(notebook: str, copy: Path, nanoseconds: int) -> Path:
    """Write the executed copy of a notebook, as old as that."""
    copy.parent.mkdir(parents=True)
    content: NotebookNode = new_notebook(metadata={"papermill": {"input_path": f"/x/{notebook}.ipynb"}})
    nbformat.write(content, copy)
    os.utime(copy, ns=(nanoseconds, nanoseconds))
    return copy


def test_the_newest_copy_of_a_notebook_is_shown(tmp_path: Path):
    newest = executed("01_a", tmp_path / "scratch" / "new" / "notebook.ipynb", 10**18)
    executed("01_a", tmp_path / "scratch" / "old" / "notebook.ipynb", 1)
    other = executed("02_b", tmp_path / "explored" / "b" / "notebook.ipynb", 2)
    assert executed_copies(tmp_path) == {"01_a": newest, "02_b": other}


def test_notebooks_that_are_new_or_older_than_the_code_are_executed(tmp_path: Path):
    made, old, new = (NOTEBOOKS / f"{name}.ipynb" for name in ("02_street_scenes", "06_figures", "04_bulk_training"))
    executed(made.stem, tmp_path / "scratch" / "a" / "notebook.ipynb", 10**19)
    executed(old.stem, tmp_path / "scratch" / "b" / "notebook.ipynb", 1)
    assert outdated([made, old, new], tmp_path) == [old, new]


def test_long_notebooks_come_first_and_a_failure_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started: list[str] = []

    def exit_code(notebook: Path, results: Path) -> int:
        started.append(notebook.stem)
        return int(notebook.stem == "07_compare_queries")

    monkeypatch.setattr(site_notebooks, "_exit_code", exit_code)
    with pytest.raises(RunError, match=r"notebooks that failed: 07_compare_queries$"):
        site_notebooks.execute(tmp_path)
    assert {*started[: len(LONG)]} == {*LONG}
    assert sorted(started) == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


class Page(HTMLParser):
    """The tags of a built page: what it loads, where its links lead, and its anchors."""

    def __init__(self, text: str):
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = {"", "top"}
        self.without_alt = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" or "src" in given:
            self.loaded.append(given.get("src", given.get("href", "")))
        self.without_alt += tag == "img" and not given.get("alt")


@cache
def built(path: Path) -> Page:
    return Page(path.read_text())


def built_pages() -> list[Path]:
    if not (HTML / "index.html").exists():
        pytest.skip("no site: run `make docs` first")
    return sorted(HTML.rglob("*.html"))


@pytest.mark.slow  # needs the site
def test_no_page_loads_anything_from_the_net():
    for path in built_pages():
        assert [one for one in built(path).loaded if urlsplit(one).scheme not in ("", "data")] == [], path
        assert [one for one in built(path).loaded if one.startswith("//")] == [], path
    for path in HTML.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text()), path


@pytest.mark.slow  # needs the site
def test_every_link_of_the_site_leads_somewhere():
    for path in built_pages():
        for link in [*built(path).links, *built(path).loaded]:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path}: {link}"
            if target.suffix == ".html":
                assert unquote(parts.fragment) in built(target).anchors, f"{path}: {link}"


@pytest.mark.slow  # needs the site
def test_every_picture_of_the_site_has_a_text():
    assert {path.name: built(path).without_alt for path in built_pages() if built(path).without_alt} == {}


@pytest.mark.slow  # needs the site
def test_the_site_has_every_notebook_with_outputs():
    for notebook in NOTEBOOKS.glob("*.ipynb"):
        assert (HTML / "notebooks" / f"{notebook.stem}.html") in built_pages()
        assert "cell_output" in (HTML / "notebooks" / f"{notebook.stem}.html").read_text()


@pytest.mark.slow  # needs the site
def test_no_page_names_a_folder_of_this_machine():
    assert [path.name for path in built_pages() if f"{ROOT}/" in path.read_text()] == []
