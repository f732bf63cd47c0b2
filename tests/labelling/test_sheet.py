"""Contact sheets and pages: what is shown, where, and nothing that a name could break."""

import re
from base64 import b64decode
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageFont

from alutils.labelling.page import Work, page
from alutils.labelling.sheet import GAP, HEIGHT, Tile, contact_sheet, fitted, jpeg, painted, small

WORK = Work("own.yaml", ".venv/bin/alutils read own.yaml EXPORT", None, has_guess=True, has_marks=False)


def test_a_small_picture_keeps_its_proportions():
    assert small(Image.new("RGB", (4000, 3000))).size == (200, 150)
    assert small(Image.new("RGB", (3000, 1000))).size == (300, 100), "wide ones are as wide as allowed"
    assert small(Image.new("RGB", (1, 3000))).size == (1, 150)


def test_labels_are_painted_half_and_void_not_at_all():
    photo = Image.new("RGB", (4, 2), (100, 100, 100))
    found = np.asarray(painted(photo, np.array([[0, 255]], np.uint8), [(200, 0, 0)]))
    assert found[:, :2].reshape(-1, 3).tolist() == [[150, 50, 50]] * 4
    assert found[:, 2:].reshape(-1, 3).tolist() == [[100, 100, 100]] * 4


def test_tiles_stand_in_rows_and_columns():
    tiles = [Tile([Image.new("RGB", (50, HEIGHT), colour)], ["a", "b"]) for colour in ("red", "lime", "blue")]
    sheet = np.asarray(contact_sheet(tiles, columns=2))
    assert sheet[GAP + 5, GAP + 5].tolist() == [255, 0, 0]
    assert sheet[GAP + 5, 2 * GAP + 55].tolist() == [0, 255, 0]
    below = np.flatnonzero((sheet[:, GAP + 5] == [0, 0, 255]).all(axis=1))
    assert len(below) == HEIGHT
    assert below[0] > HEIGHT
    with Image.open(BytesIO(jpeg(Image.fromarray(sheet)))) as image:
        assert image.format == "JPEG"


def test_a_long_caption_loses_its_middle():
    font = ImageFont.load_default(12)
    text = "a photograph with a very long name, number 17.jpg"
    short = fitted(text, font, 120)
    assert font.getlength(short) <= 120
    assert re.fullmatch(r"a photo.*….*17\.jpg", short)
    assert fitted("a.jpg", font, 120) == "a.jpg"


def test_a_page_needs_nothing_else_and_escapes_what_people_call_things():
    tile = Tile(
        [Image.new("RGB", (20, 10), "red")] * 2, ['<b>"1" & 2.jpg', "vote_entropy 0.3"], ["photograph", "guess"]
    )
    work = WORK._replace(file="<a>.yaml", command="alutils read '<a>.yaml' EXPORT")
    text = page("own", 3, ["1 < 2"], [tile], {"car & van": (255, 0, 16)}, work)
    assert "<b>" not in text
    assert "<a>" not in text
    assert "<h2>&lt;b&gt;&quot;1&quot; &amp; 2.jpg</h2>" in text
    assert "<p>1 &lt; 2</p>" in text
    assert 'background:#ff0010"></i>car &amp; van' in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text), "nothing is fetched"
    pictures = re.findall(r'<img alt="([^"]+)" src="data:image/jpeg;base64,([^"]+)">', text)
    assert [alt for alt, _ in pictures] == [
        f"&lt;b&gt;&quot;1&quot; &amp; 2.jpg: {of}" for of in ("photograph", "guess")
    ]
    assert Image.open(BytesIO(b64decode(pictures[0][1]))).size == (20, 10)


def page_for(**work: Any) -> str:
    """Return the text of a page without its line breaks."""
    return " ".join(page("own", 1, [], [], {}, WORK._replace(**work)).split())


def test_a_page_says_correct_where_there_is_something_to_correct():
    with_guess, nothing, marks = page_for(), page_for(has_guess=False), page_for(has_guess=False, has_marks=True)
    assert with_guess.count("Correct what is drawn, ") == 2
    assert nothing.count("Correct") == marks.count("Correct") == 0
    assert ["annotations.xml" in text for text in (with_guess, nothing, marks)] == [True, False, True]


def test_a_page_says_what_becomes_of_what_nobody_draws_on():
    assert "is void: networks learn nothing there, and" in page_for()
    assert "<code>rest: CLASS</code> in <code>own.yaml</code>" in page_for()
    assert "What you do not draw on becomes <b>other &amp; all</b>." in page_for(rest="other & all")
