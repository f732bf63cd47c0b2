"""The notebooks of the site: executed with their default parameters, then cleaned of what no page needs."""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from nbformat import NotebookNode
from site_pages import for_site

from alutils.errors import RunError
from alutils.paths import NOTEBOOKS, ROOT, published_dir

AT_A_TIME = 2
LONG = ("01_mnist_sanity_checks", "08_label_next", "09_explore")  # come first, so that no core waits at the end
WIDGET = "application/vnd.jupyter.widget-view+json"
SHOWN = ("text/html", "image/png", "image/jpeg", "image/svg+xml", "text/markdown", "text/plain")
INTERACTIVE = "*Interactive: run the notebook to use it.*"


def executed_copies(results: Path) -> dict[str, Path]:
    """Return, by the name of its notebook, the newest executed notebook below a results folder."""
    copies = sorted(results.glob("*/*/notebook.ipynb"), key=lambda path: path.stat().st_mtime_ns)
    inputs = [nbformat.read(copy, 4).metadata.papermill.input_path for copy in copies]
    return {Path(given).stem: copy for given, copy in zip(inputs, copies, strict=True)}


def outdated(notebooks: Sequence[Path], results: Path) -> list[Path]:
    """Return the notebooks that were not executed yet, or before they, the package or a published table changed."""
    read = [*(ROOT / "alutils").rglob("*.py"), *published_dir().glob("*.csv")]
    newest = max(path.stat().st_mtime_ns for path in read)
    copies = executed_copies(results)
    made = {name: copy.stat().st_mtime_ns for name, copy in copies.items()}
    return [path for path in notebooks if made.get(path.stem, 0) < max(newest, path.stat().st_mtime_ns)]


def execute(results: Path) -> None:
    """Execute the notebooks that are not up to date; with their default parameters none needs another's runs.

    A notebook that fails says so in its one line on stderr. Raises `RunError` with the names of those that failed.
    """
    notebooks = outdated(sorted(NOTEBOOKS.glob("*.ipynb"), key=lambda path: path.stem not in LONG), results)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        codes = [*pool.map(lambda notebook: _exit_code(notebook, results), notebooks)]
    if failed := [notebook.stem for notebook, code in zip(notebooks, codes, strict=True) if code]:
        raise RunError(f"the site lacks notebooks that failed: {', '.join(failed)}")


def _exit_code(notebook: Path, results: Path) -> int:
    command = [sys.executable, "-m", "alutils", "run", str(notebook)]
    return subprocess.run(command, env={**os.environ, "ALUTILS_RESULTS": str(results)}, check=False).returncode


def notebook_pages(results: Path) -> dict[str, str]:
    """Return the executed notebooks, cleaned, by their places on the site."""
    paths = {f"{NOTEBOOKS.name}/{name}.ipynb": copy for name, copy in executed_copies(results).items()}
    known = {path: copy for path, copy in paths.items() if (ROOT / path).exists()}
    return {path: nbformat.writes(clean(nbformat.read(copy, 4), path)) for path, copy in sorted(known.items())}


def clean(notebook: NotebookNode, path: str) -> NotebookNode:
    """Return an executed notebook as a page shows it: without traces of how it was run.

    The parameters that papermill puts in, all metadata of cells, messages on stderr and states of widgets go; links
    and paths become those of the site.

    path : of the notebook in the repository
    """
    cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    return nbformat.v4.new_notebook(
        cells=[_clean_cell(cell, path) for cell in cells],
        metadata={key: notebook.metadata[key] for key in ("kernelspec", "language_info") if key in notebook.metadata},
    )


def _clean_cell(cell: NotebookNode, path: str) -> NotebookNode:
    if cell.cell_type != "code":
        return nbformat.v4.new_markdown_cell(for_site(cell.source, path), id=cell.id)
    outputs = [clean_output(output) for output in cell.outputs if output.get("name") != "stderr"]
    return nbformat.v4.new_code_cell(cell.source, outputs=outputs, execution_count=cell.execution_count, id=cell.id)


def clean_output(output: NotebookNode) -> NotebookNode:
    """Return one output of a cell; in place of a widget, which needs a kernel, a sentence."""
    if output.output_type == "stream":
        return nbformat.v4.new_output("stream", name=output.name, text=_relative(output.text))
    if output.output_type == "error":
        return output
    if WIDGET in output.data:
        return nbformat.v4.new_output("display_data", data={"text/markdown": INTERACTIVE})
    data = {kind: content for kind, content in output.data.items() if kind in SHOWN}
    return nbformat.v4.new_output("display_data", data={kind: _relative(content) for kind, content in data.items()})


def _relative(text: str) -> str:
    """Return text with paths of this project relative to its folder."""
    return text.replace(f"{ROOT}/", "")


def name_pictures(app: Any, doctree: nodes.document) -> None:
    """Give each picture of a notebook's page a text that stands for it: the notebook's title and a number."""
    if not app.env.docname.startswith(f"{NOTEBOOKS.name}/"):
        return
    title = next(iter(doctree.findall(nodes.title))).astext()
    for number, image in enumerate(doctree.findall(nodes.image), 1):
        image["alt"] = image.get("alt") or f"{title}: picture {number}"
