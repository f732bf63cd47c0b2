"""A web page in one file that needs nothing else: no server, no network."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

DOCUMENT = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 70rem; margin: 1rem auto; padding: 0 1rem; color: #222; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.2rem } h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere }
figure { margin: 0 } figcaption { font-size: .85rem; color: #555 }
img { max-width: 100%; border-radius: 4px }
code { background: #f2f2f2; padding: 0 .2em; overflow-wrap: anywhere }
.wide { overflow-x: auto }
@media (max-width: 50rem) { .wide img { max-width: none } }
table { border-collapse: collapse; font-size: .9rem } th, td { padding: .1rem .6rem; text-align: right }
tr:nth-child(even) { background: #f6f6f6 } th:first-child { text-align: left }
$style
</style>
<h1>$title</h1>
$body
</html>
""")


def document(title: str, body: str, style: str = "") -> str:
    """Return the text of a page; `body` is HTML, `style` further CSS."""
    return DOCUMENT.substitute(title=escape(title), body=body, style=style)


def picture(content: bytes, description: str, kind: str = "jpeg") -> str:
    """Return an image element that holds the bytes of a picture, with its description for who cannot see it."""
    source = f"data:image/{kind};base64,{b64encode(content).decode()}"
    return f'<img alt="{escape(description)}" src="{source}">'


def chip(colour: Sequence[int]) -> str:
    """Return a small square of a colour (red, green, blue), which needs no style sheet."""
    size = "display:inline-block;width:.8em;height:.8em;margin-right:.3em;border:1px solid #999"
    return f'<i style="{size};background:#{bytes(colour).hex()}"></i>'


def legend(colours: Mapping[str, Sequence[int]]) -> str:
    """Return each name with its colour."""
    style = "display:inline-block;margin-right:1em;white-space:nowrap"
    return " ".join(f'<span style="{style}">{chip(of)}{escape(to)}</span>' for to, of in colours.items())
