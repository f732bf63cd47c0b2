"""The published figures: each drawn from what is committed, and what cannot be drawn stays as it was."""

from pathlib import Path

import pytest
from conftest import need_real_data
from PIL import Image

from alutils import paths
from alutils.errors import ParameterError
from alutils.results.figures import published

NEEDED = {"mnist_sure": "mnist", "mnist_example": "mnist", "regions_chosen": "nuclei"}  # whose pixels a figure shows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that figures are drawn into."""
    monkeypatch.setattr(published, "IMAGE_EXAMPLES", tmp_path / "images")
    return tmp_path / "images"


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.slow
@pytest.mark.parametrize("name", published.FIGURES)
def test_a_figure_is_drawn_small_enough_and_as_a_vector_copy(name: str, folder: Path):
    if name in NEEDED:
        need_real_data(NEEDED[name])
    published.draw([name])
    path = folder / f"{name}.png"
    assert path.stat().st_size < 300_000
    assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    committed = paths.IMAGE_EXAMPLES / path.name
    assert size(committed) == size(path), "run `make figures`"


def test_inference_example_is_as_large_as_a_photo_of_cityscapes(folder: Path):
    published.draw(["inference_example"])
    assert size(folder / "inference_example.png") == (2048, 1024)


def test_without_the_digits_their_figure_stays_as_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("ALUTILS_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    folder.mkdir()
    (folder / "mnist_example.png").write_bytes(b"as it was")
    published.draw(["mnist_example"])
    assert "mnist_example.png stays as it is: " in capsys.readouterr().err
    assert (folder / "mnist_example.png").read_bytes() == b"as it was"


def test_an_unknown_figure_is_one_line():
    with pytest.raises(ParameterError, match=r"^figure is 'bulk'; did you mean bulk_all\? allowed: bulk_all, [^\n]*$"):
        published.draw(["bulk"])
