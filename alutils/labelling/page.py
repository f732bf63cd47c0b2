"""The page of a batch: one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from alutils.datasets.base import Colour
from alutils.labelling.sheet import Tile, jpeg
from alutils.web_page import document, legend, picture

CAPTIONS = {
    "photograph": "photograph",
    "prediction": "prediction",
    "disagreement": "disagreement, from black (none) to yellow (most)",
}
STYLE = """
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere } li { margin-bottom: 1.2rem }
figure { display: inline-block; margin: 0 .5rem 0 0 }
"""
BODY = Template("""$lines
<p>$keys</p>
<h1>What to label</h1>
<ol>
$items
</ol>
<h1>How to go on</h1>
<p>CVAT: make a task with the labels in <code>cvat/labels.json</code> (Raw), upload <code>images/</code>, then upload
<code>cvat/annotations.xml</code> as “CVAT 1.1”. Correct what is drawn, export, then:
<code>alutils read DATA.yaml EXPORT</code></p>
<p>Label Studio: start it in this folder by <code>set -a; . label_studio/settings.txt; label-studio start</code>. Make
a project; its Labeling Interface, as Code, is <code>label_studio/labelling_configuration.xml</code>. Under Settings,
Cloud Storage, add a source storage of Local Files, whose path stands in <code>label_studio/settings.txt</code>, and
choose “Save”, not “Save &amp; Sync”. Import <code>label_studio/tasks.json</code>. Correct what is drawn, submit,
export as JSON, then: <code>alutils read DATA.yaml EXPORT</code>. If you drew a new shape over others, add
<code>--later-wins</code>: of the shapes on a pixel, the one begun last counts.</p>""")


def page(name: str, number: int, said: Sequence[str], tiles: Sequence[Tile], labels: Mapping[str, Colour]) -> str:
    """Return the HTML text of the page of a batch.

    said : lines that stand at its top
    tiles : a photograph each; the first line of a tile is its heading
    labels : the colours of the legend
    """
    body = BODY.substitute(
        lines="\n".join(f"<p>{escape(line)}</p>" for line in said),
        keys=legend(labels),
        items="\n".join(map(_item, tiles)),
    )
    return document(f"{name}: batch {number}", body, STYLE)


def _item(tile: Tile) -> str:
    heading, *others = map(escape, tile.lines)
    shown = zip(tile.pictures, CAPTIONS.items(), strict=False)
    figures = [
        f"<figure>{picture(jpeg(drawn), f'{name} of {tile.lines[0]}')}<figcaption>{caption}</figcaption></figure>"
        for drawn, (name, caption) in shown
    ]
    return f"<li><h2>{heading}</h2>{''.join(figures)}<div>{'<br>'.join(others)}</div></li>"
