"""Contact sheets and pages: what is shown, where, and nothing that a name could break."""

import re
from base64 import b64decode
from io import BytesIO

import numpy as np
from PIL import Image, ImageFont

from alutils.labelling.page import page
from alutils.labelling.sheet import GAP, HEIGHT, Tile, contact_sheet, fitted, jpeg, painted, small


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
    tile = Tile([Image.new("RGB", (20, 10), "red")] * 2, ['<b>"1" & 2.jpg', "vote_entropy 0.3"])
    text = page("own", 3, ["1 < 2"], [tile], {"car & van": (255, 0, 16)})
    assert "<b>" not in text
    assert "<h2>&lt;b&gt;&quot;1&quot; &amp; 2.jpg</h2>" in text
    assert "<p>1 &lt; 2</p>" in text
    assert 'background:#ff0010"></i>car &amp; van' in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text), "nothing is fetched"
    pictures = re.findall(r'<img alt="([^"]+)" src="data:image/jpeg;base64,([^"]+)">', text)
    assert [alt for alt, _ in pictures] == [
        f"{of} of &lt;b&gt;&quot;1&quot; &amp; 2.jpg" for of in ("photograph", "prediction")
    ]
    assert Image.open(BytesIO(b64decode(pictures[0][1]))).size == (20, 10)
