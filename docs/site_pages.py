"""The pages of docs/ for the site: their links, and the contents beside them.

Pages are written to be read in the repository, too, with links relative to where they lie there. This module gives each
link the place that its target has on the site. What is no page of the site, such as a table, becomes its path as code.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from alutils.files import write_whole
from alutils.paths import IMAGE_EXAMPLES, NOTEBOOKS, ROOT

PAGES = {"CONTRIBUTING.md": "contributing.md", "README.md": "index.md"}  # by path in the repository; and all of docs/
NOT_A_LINK = r"^(?P<fence>`{3,}).*?^(?P=fence)|`[^`\n]+`"
LINK = re.compile(rf"{NOT_A_LINK}|(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)", re.DOTALL | re.MULTILINE)


def place(path: str) -> str | None:
    """Return where the file with this path in the repository is on the site; `None` if it is not there."""
    if path in PAGES:
        return PAGES[path]
    folder, _, rest = path.partition("/")
    if folder == "docs" and path.endswith(".md"):
        return rest
    if folder == "alutils" and path.endswith(".py"):
        return f"reference/{rest.split('/')[0] if '/' in rest else 'ground-floor'}.rst"
    return path if path.endswith((".ipynb", ".png")) and folder in (NOTEBOOKS.name, IMAGE_EXAMPLES.name) else None


def for_site(text: str, path: str) -> str:
    """Return Markdown with links to places on the site.

    text : a page, or a cell of a notebook
    path : of its file in the repository
    """
    return LINK.sub(lambda found: _link(found, path) if found["target"] else found[0], text)


def _link(found: re.Match[str], path: str) -> str:
    """Return one link of the page `path`, or its text and its path as code."""
    target, _, anchor = found["target"].partition("#")
    if "://" in target or not target:
        return found[0]
    aim = normpath(PurePosixPath(path).parent / target)
    there = place(aim)
    if not there:
        return f"`{aim}`" if found["text"].strip("`/") == aim else f"{found['text']} (`{aim}`)"
    address = relpath(there, PurePosixPath(place(path) or path).parent)
    kept = f"#{anchor}" if anchor and aim != "README.md" else ""  # the front page has other headings than README
    return f"{found['image']}[{found['text']}]({address}{kept})"


def contents(front: str, notebooks: list[str], rooms: list[str]) -> str:
    """Return the contents of the site, which stand beside every page.

    front : the front page; the order of its links is that of the pages
    notebooks, rooms : names of the pages of notebooks and of the reference
    """
    linked = [*dict.fromkeys(re.findall(r"\]\(([\w-]+)\.md", front))]
    starts = [name for name in linked if name.startswith("start_")]
    others = [name for name in linked if name not in (*starts, "contributing")]
    parts = {
        "Start": starts,
        "Pages": [*others, "contributing"],
        "Notebooks": [f"notebooks/{name}" for name in notebooks],
        "Reference": [f"reference/{name}" for name in rooms],
    }
    return "\n".join(_toctree(title, names) for title, names in parts.items() if names)


def _toctree(title: str, names: list[str]) -> str:
    return "\n".join(["", "```{toctree}", ":hidden:", ":titlesonly:", f":caption: {title}", "", *names, "```", ""])


def pages(notebooks: list[str], rooms: list[str]) -> dict[str, str | bytes]:
    """Return all pages, and the figures that they show, by their places on the site.

    notebooks, rooms : names of the pages of notebooks and of the reference
    """
    sources = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sources}
    beside = {"docs/index.md": contents(texts["docs/index.md"], notebooks, rooms)}
    files = {str(place(path)): for_site(text, path) + beside.get(path, "") for path, text in texts.items()}
    return files | {f"{IMAGE_EXAMPLES.name}/{image.name}": image.read_bytes() for image in IMAGE_EXAMPLES.glob("*.png")}


def write_files(files: Mapping[str, str | bytes], folder: Path) -> list[Path]:
    """Let `folder` hold these files and no others; return the files that are gone.

    What is there already is not written again: Sphinx reads anew what is newer than its page.
    """
    gone = [path for path in folder.rglob("*.*") if path.relative_to(folder).as_posix() not in files]
    for path in gone:
        path.unlink()
    for place, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        if not (folder / place).exists() or (folder / place).read_bytes() != data:
            write_whole(folder / place, data)
    return gone
