"""Pictures of labels and scenes, checked pixel by pixel where that says something."""

from pathlib import Path

import numpy as np
import pytest

from alutils import figures
from alutils.datasets import ImageDataset


def test_labels_get_their_colours_and_void_is_black():
    painted = figures.paint_labels(np.array([[0, 1], [255, 1]]), [(1, 2, 3), (4, 5, 6)])
    assert painted.tolist() == [[[1, 2, 3], [4, 5, 6]], [[0, 0, 0], [4, 5, 6]]]


def test_an_overlay_mixes_halves_and_leaves_void_alone():
    image = np.full((3, 1, 2), 200, np.uint8)
    mixed = figures.overlay(image, np.array([[0, 255]], np.uint8), [(100, 0, 50)])
    assert mixed.tolist() == [[[150, 100, 125], [200, 200, 200]]]


def test_class_shares_sum_to_100_without_void(tiny_scenes: ImageDataset):
    shares = figures.class_shares(tiny_scenes)
    counted = tiny_scenes.labels[tiny_scenes.labels != 255]
    assert shares["b"] == pytest.approx(100 * (counted == 1).mean())
    assert shares.sum() == pytest.approx(100)


def test_figures_are_written_as_png_and_pdf(tiny_scenes: ImageDataset, tmp_path: Path):
    path = figures.save(figures.class_share_bars(tiny_scenes), tmp_path / "new" / "shares.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    photos = figures.save(figures.examples(tiny_scenes, [0, 5]), tmp_path / "examples.png")
    assert not photos.with_suffix(".pdf").exists()


def test_committee_maps_share_one_scale(tiny_scenes: ImageDataset):
    maps = {"low": np.full((24, 32), 0.1), "high": np.full((24, 32), 1.0)}
    figure = figures.committee_maps(tiny_scenes, 0, tiny_scenes.labels[0], maps, limit=1.0)
    shown = [axes.images[0].get_clim() for axes in figure.axes[3:5]]
    assert shown == [(0, 1), (0, 1)]
    assert "0.100 bits" in figure.axes[3].get_title()
