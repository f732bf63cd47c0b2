"""Take the screenshots of the explorer and of a page to send: `python docs/screenshots.py EXPERIMENT RUN BESIDE ROUND`.

RUN and BESIDE are finished runs of the experiment with one seed. The pictures go to `image_examples/`.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from PIL import Image

from alutils.explorer.page import write_page
from alutils.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
from browser import PICTURE, browser, jupyter_lab, run_all_cells

EXAMPLES = ROOT / "image_examples"
WIDTH = 1000  # pixels of a screenshot
CELL = """from alutils.explorer.widget import Explorer
explorer = Explorer({experiment!r}, {run!r})
explorer.set(beside={beside!r}, number={number})
explorer.widget"""


def save(shot: bytes, name: str, folder: Path) -> None:
    """Save a screenshot, shrunk."""
    (folder / "shot.png").write_bytes(shot)
    picture = Image.open(folder / "shot.png").convert("RGB")
    picture.thumbnail((WIDTH, picture.height))
    picture.quantize(256, Image.Quantize.MAXCOVERAGE).save(EXAMPLES / f"{name}.png", optimize=True)


def main(experiment: str, run: str, beside: str, number: int) -> None:
    """Take both screenshots."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cell = nbformat.v4.new_code_cell(CELL.format(experiment=experiment, run=run, beside=beside, number=number))
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), folder / "explore.ipynb")
        with jupyter_lab(folder, folder / "settings") as address, browser(height=1400) as page:
            run_all_cells(page, address.format("explore.ipynb"), 300)
            page.add_style_tag(content=".Toastify { display: none }")
            page.wait_for_selector(PICTURE)
            picture = page.locator(PICTURE).first
            for place in (100, 130):  # a pointer that moves
                picture.hover(position={"x": place, "y": 120})
                page.wait_for_timeout(1000)
            save(page.locator(".jp-OutputArea-output .widget-vbox").first.screenshot(), "explorer", folder)
        with browser(offline=True, width=1100, height=900) as page:
            page.goto(write_page(experiment).as_uri())
            page.locator(".controls").scroll_into_view_if_needed()
            page.evaluate("document.querySelector('.controls').scrollIntoView()")
            save(page.screenshot(), "page", folder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
