"""Build the site in docs/_build/html: `make docs`."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import site_pages
from site_notebooks import execute, notebook_pages
from site_reference import reference_pages
from sphinx.cmd.build import build_main

from alutils.errors import RunError

DOCS = Path(__file__).resolve().parent
BUILD = DOCS / "_build"
SOURCE = BUILD / "source"


def names(places: Iterable[str]) -> list[str]:
    """Return the names of pages."""
    return [Path(place).stem for place in places]


def main() -> int:
    """Execute the notebooks, write what Sphinx reads, and let it build; return the exit code."""
    try:
        execute(BUILD / "results")
    except RunError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    notebooks, reference = notebook_pages(BUILD / "results"), reference_pages()
    pages = site_pages.pages(names(notebooks), names(reference))
    if site_pages.write_files(pages | notebooks | reference, SOURCE):  # Sphinx would keep the pages of what is gone
        shutil.rmtree(BUILD / "doctrees", ignore_errors=True)
        shutil.rmtree(BUILD / "html", ignore_errors=True)
    options = ["-W", "--keep-going", "-n", "-q", "-j", "auto", "-d", BUILD / "doctrees", "-c", DOCS]
    failed = build_main([*map(str, options), str(SOURCE), str(BUILD / "html")])
    if not failed:
        sys.stdout.write(f"{BUILD / 'html' / 'index.html'}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
