"""Pages in one file."""

from base64 import b64decode
from html.parser import HTMLParser

from alutils.web_page import document, legend, picture


class Elements(HTMLParser):
    """Collects the elements of a page with their attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_what_comes_from_elsewhere_is_escaped():
    text = document(
        "a <b> & c", picture(b"123", 'x" onload="alert()') + legend({"<i>": (1, 2, 255)}), "p { color: red }"
    )
    ((_, image),) = [one for one in Elements(text).found if one[0] == "img"]
    assert image["alt"] == 'x" onload="alert()'
    assert "onload" not in image
    source = image["src"] or ""
    assert b64decode(source.removeprefix("data:image/jpeg;base64,")) == b"123"
    assert "<title>a &lt;b&gt; &amp; c</title>" in text
    assert "background:#0102ff" in text
    assert "&lt;i&gt;" in text
    assert "p { color: red }" in text
