"""The page of a batch: one HTML file that needs nothing else."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from PIL import Image

from alutils.datasets.base import Colour
from alutils.labelling.sheet import Tile, jpeg

CAPTIONS = {
    "photograph": "photograph",
    "prediction": "prediction",
    "disagreement": "disagreement, from black (none) to yellow (most)",
}
PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 66rem; margin: 1rem auto; padding: 0 1rem; color: #222; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere }
li { margin-bottom: 1.2rem } figure { display: inline-block; margin: 0 .5rem 0 0 }
figcaption { font-size: .8rem; color: #555 } img { max-width: 100%; border-radius: 4px }
.key { display: inline-block; margin-right: 1rem; white-space: nowrap }
.key i { display: inline-block; width: 1em; height: 1em; margin-right: .3em; border: 1px solid #999 }
code { background: #f2f2f2; padding: 0 .2em; overflow-wrap: anywhere }
</style>
<h1>$title</h1>
$lines
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
<code>--later-wins</code>: of the shapes on a pixel, the one begun last counts.</p>
</html>
""")


def page(name: str, number: int, said: Sequence[str], tiles: Sequence[Tile], labels: Mapping[str, Colour]) -> str:
    """Return the HTML text of the page of a batch.

    said : lines that stand at its top
    tiles : a photograph each; the first line of a tile is its heading
    labels : the colours of the legend
    """
    keys = [
        f'<span class="key"><i style="background: #{bytes(of).hex()}"></i>{escape(to)}</span>'
        for to, of in labels.items()
    ]
    return PAGE.substitute(
        title=escape(f"{name}: batch {number}"),
        lines="\n".join(f"<p>{escape(line)}</p>" for line in said),
        keys="\n".join(keys),
        items="\n".join(map(_item, tiles)),
    )


def _item(tile: Tile) -> str:
    heading, *others = map(escape, tile.lines)
    shown = zip(tile.pictures, CAPTIONS.items(), strict=False)
    figures = [
        f"<figure>{_picture(picture, f'{name} of {heading}')}<figcaption>{caption}</figcaption></figure>"
        for picture, (name, caption) in shown
    ]
    return f"<li><h2>{heading}</h2>{''.join(figures)}<div>{'<br>'.join(others)}</div></li>"


def _picture(picture: Image.Image, description: str) -> str:
    return f'<img alt="{description}" src="data:image/jpeg;base64,{b64encode(jpeg(picture)).decode()}">'
