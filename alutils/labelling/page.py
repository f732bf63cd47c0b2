"""The page of a batch: one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import NamedTuple

from alutils.datasets.base import Colour
from alutils.labelling.sheet import Tile, jpeg
from alutils.web_page import document, legend, picture

STYLE = """
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere } li { margin-bottom: 1.2rem }
.pictures { display: flex; gap: .5rem } figure { flex: 1 1 0; min-width: 0; max-width: 600px }
@media (min-width: 50rem) {
  ol:not(:has(figure + figure)) { display: grid; grid-template-columns: 1fr 1fr; column-gap: 3rem }
}
@media (max-width: 50rem) { .pictures { flex-direction: column } ol { padding-left: 1.5rem } }
"""
BODY = Template("""$lines
<p>$keys</p>
<h1>What to label</h1>
<ol>
$items
</ol>
<h1>How to go on</h1>
<p>$rest</p>
<p>CVAT: make a task with the labels in <code>cvat/labels.json</code> (Raw), and upload <code>images/</code>. $upload
$draw, export, then, where you called <code>next</code>: <code>$command</code></p>
<p>Label Studio: start it in this folder by <code>set -a; . label_studio/settings.txt; label-studio start</code>. Make
a project; its Labeling Interface, as Code, is <code>label_studio/labelling_configuration.xml</code>. Under Settings,
Cloud Storage, add a source storage of Local Files, whose path stands in <code>label_studio/settings.txt</code>, and
choose “Save”, not “Save &amp; Sync”. Import <code>label_studio/tasks.json</code>. $draw, submit, export as JSON, then:
<code>$command</code>. If you drew a new shape over others, add <code>--later-wins</code>: of the shapes on a pixel, the
one begun last counts.</p>""")
UPLOAD = "Upload <code>cvat/annotations.xml</code> as “CVAT 1.1”. "


class Work(NamedTuple):
    """How a person goes on with a batch.

    file : the name of the YAML file
    command : what reads the export back
    rest : the class of what nobody draws on, if there is one
    has_guess, has_marks : whether the tools show a guess, and where to draw
    """

    file: str
    command: str
    rest: str | None
    has_guess: bool
    has_marks: bool


def page(
    name: str, number: int, said: Sequence[str], tiles: Sequence[Tile], labels: Mapping[str, Colour], work: Work
) -> str:
    """Return the HTML text of the page of a batch.

    said : lines that stand at its top
    tiles : a photograph each; the first line of a tile is its heading
    labels : the colours of the legend
    """
    body = BODY.substitute(
        lines="\n".join(f"<p>{escape(line)}</p>" for line in said),
        keys=legend(labels),
        items="\n".join(map(_item, tiles)),
        rest=_about_the_rest(work),
        upload=UPLOAD if work.has_guess or work.has_marks else "",
        draw="Correct what is drawn" if work.has_guess else "Draw",
        command=escape(work.command),
    )
    return document(f"{name}: batch {number}", body, STYLE)


def _about_the_rest(work: Work) -> str:
    if work.rest is not None:
        return (
            f"What you do not draw on becomes <b>{escape(work.rest)}</b>. A photograph on which you draw nothing stays"
            " unlabelled."
        )
    return (
        "What you do not draw on is void: networks learn nothing there, and give it one of the classes. So outline"
        f" everything, or make a class for the rest, as <code>rest: CLASS</code> in <code>{escape(work.file)}</code>."
    )


def _item(tile: Tile) -> str:
    heading, *others = map(escape, tile.lines)
    figures = [
        f"<figure>{picture(jpeg(drawn), f'{tile.lines[0]}: {caption}')}<figcaption>{caption}</figcaption></figure>"
        for drawn, caption in zip(tile.pictures, tile.captions, strict=True)
    ]
    return f'<li><h2>{heading}</h2><div class="pictures">{"".join(figures)}</div><div>{"<br>".join(others)}</div></li>'
