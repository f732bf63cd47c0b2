"""The pages: short enough, true to the tree, and without commands or files that do not exist.

`python tests/test_documents.py` copies the map of the package's docstring to CONTRIBUTING.
"""

import itertools
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import yaml

import alutils
from alutils.paths import IMAGE_EXAMPLES, NOTEBOOKS, ROOT
from alutils.results.pages import fill_tables

README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PAGES = [README, CONTRIBUTING, *sorted((ROOT / "docs").glob("*.md"))]
SUBCOMMANDS = {
    *("run", "grid", "status", "show", "compare", "page", "publish", "figures"),
    *("new-dataset", "check", "next", "read"),
}
COPY_MAP = "python tests/test_documents.py"
GENERATED = re.compile(r"<!-- \w+: written by `[^`]*` -->\n.*?<!-- end -->", re.DOTALL)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def written(page: Path) -> str:
    """Return a page without its generated parts."""
    return GENERATED.sub("", page.read_text())


def commands(page: Path, program: str) -> list[list[str]]:
    """Return the arguments of each call of `program` on a page, in backticks or in an indented line."""
    text = page.read_text().replace("\\\n", " ")
    called = rf"(?:\.venv/bin/)?{program} ([^`\n]+)"
    lines = re.findall(rf"`{called}`", text) + re.findall(rf"^ {{4,}}(?:\S+=\S+ )*{called}$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def package_map() -> str:
    """Return the map of rooms and modules in the package's docstring, as a block for CONTRIBUTING."""
    text = alutils.__doc__ or ""
    return f"```text\n{text[text.index('ground floor  ') :].rstrip()}\n```"


def with_map(text: str) -> str:
    """Return CONTRIBUTING's text with the map of today."""
    return fill_tables(text, COPY_MAP, lambda name: package_map())


def table_after(first_column: str, page: Path = README) -> list[list[str]]:
    """Return the rows of the table whose first column has this title."""
    lines = page.read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_readme_is_one_page():
    assert len(README.read_text().splitlines()) <= 150


@each_page
def test_links_lead_to_files_and_headings_that_exist(page: Path):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_figure_is_shown():
    shown = {
        (page.parent / image).resolve()
        for page in PAGES
        for image in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text())
    }
    assert {*IMAGE_EXAMPLES.glob("*.png")} - shown == set()


@each_page
def test_make_targets_exist(page: Path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {arguments[0] for arguments in commands(page, "make")} <= targets


@each_page
def test_presets_and_experiments_exist(page: Path):
    given = [argument.split("=") for arguments in commands(page, "make") for argument in arguments if "=" in argument]
    names = {value for key, value in given if key in {"PRESET", "EXPERIMENT"} and value.isidentifier()}
    assert {name for name in names if name.islower()} <= {path.stem for path in (ROOT / "params").glob("*.yaml")}


@each_page
def test_subcommands_exist(page: Path):
    named = {arguments[0] for arguments in commands(page, "alutils") + commands(page, "python -m alutils")}
    assert named <= SUBCOMMANDS


@each_page
def test_commands_that_are_gone_are_not_named(page: Path):
    text = page.read_text()
    assert re.findall(r"alutils\.(?:run|report|readme_figures)\b|alutils\.grid run", text) == []


@each_page
def test_modules_that_are_run_are_programs(page: Path):
    for name in re.findall(r"-m (alutils\.[\w.]*\w)", page.read_text()):
        assert 'if __name__ == "__main__":' in (ROOT / f"{name.replace('.', '/')}.py").read_text(), name


@each_page
def test_queries_are_not_named_in_the_old_form(page: Path):
    old = r"\b\w+_(?:power|top|interior|ensemble|mixture|diverse|windows|superpixels)_[\d.]\w*"
    assert re.findall(old, written(page)) == []


@each_page
def test_notebooks_have_the_parameters_of_the_commands(page: Path):
    runs = [arguments for arguments in commands(page, "alutils") if arguments[0] == "run" and len(arguments) > 1]
    for _, notebook, *rest in runs:
        if notebook.isupper():
            continue
        cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
        declared = next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
        named = {rest[index + 1] for index, argument in enumerate(rest) if argument == "-p"}
        assert named <= set(re.findall(r"^(\w+):", declared, re.MULTILINE))


def test_readme_maps_every_notebook():
    named = [cells[0].strip("`") for cells in table_after("notebook")]
    assert named == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def test_readme_maps_every_room_in_the_order_of_the_house():
    rooms = [cells[0].strip("`/") for cells in table_after("room")]
    assert rooms == re.findall(r"^(\w[\w ]*?) {2,}\S", alutils.__doc__ or "", re.MULTILINE)


def test_files_to_open_first_exist():
    for room, _, files in table_after("room"):
        folder = ROOT / "alutils" / ("" if room == "ground floor" else room.strip("`"))
        for file in re.findall(r"`([\w.]+)`", files):
            assert (folder / file).exists(), file


@each_page
def test_files_named_in_the_text_exist(page: Path):
    named = re.findall(r"`((?:alutils|tests|benchmarks|params|notebooks|docs|\.ci)/[\w./]+)`", written(page))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_contributing_holds_the_map():
    text = CONTRIBUTING.read_text()
    assert package_map() in text, f"run `{COPY_MAP}`"
    assert with_map(text) == text, f"run `{COPY_MAP}`"


def test_numbers_of_the_findings_stand_in_a_table():
    findings = re.findall(r"^- .*(?:\n  .*)*", README.read_text(), re.MULTILINE)
    pages = (ROOT / "docs" / name for name in ("results.md", "tables.md"))
    tables = "".join(part for page in pages for part in GENERATED.findall(page.read_text()))
    assert len(findings) == 4
    for number in re.findall(r"\d+\.\d+", re.sub(r"`[^`]*`", "", "".join(findings))):
        assert number in tables, number


def test_the_python_example_of_readme_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert tuple(getattr(names["scores_N_H_W"], "shape")) == (2, 64, 128)  # noqa: B009


def test_the_citation_names_this_version_and_the_thesis():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == alutils.__version__
    (thesis,) = citation["references"]
    assert thesis["type"] == "thesis"
    assert thesis["title"].lower() in README.read_text().replace("\n", " ").lower()


if __name__ == "__main__":
    CONTRIBUTING.write_text(with_map(CONTRIBUTING.read_text()))
