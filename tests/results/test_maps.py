"""Score maps come back from their file as they were."""

from pathlib import Path

import numpy as np
import pytest

from alutils.errors import DataError
from alutils.results.maps import SavedMaps


def test_saved_maps_come_back(tmp_path: Path):
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    scores = {(name, rate): pixels * rate for name in ("vote_entropy", "consensus_entropy") for rate in (0.2, 0.9)}
    image = np.stack([pixels * 9, pixels, pixels])
    maps = SavedMaps("there", 0.4, [(255, 0, 0), (0, 255, 0)], image, pixels % 2, pixels // 2 % 2, scores)
    np.savez_compressed(tmp_path / "maps.npz", **maps.arrays())  # type: ignore[arg-type]
    again = SavedMaps.read(tmp_path / "maps.npz")
    assert (again.title, again.miou, again.colours) == (maps.title, maps.miou, maps.colours)
    for name in ("image", "label", "prediction"):
        assert (getattr(again, name) == getattr(maps, name)).all()
    assert sorted(again.scores) == sorted(maps.scores)
    for key, values in maps.scores.items():
        np.testing.assert_allclose(again.scores[key], values, rtol=1e-3)


def test_damaged_maps_are_one_line(tmp_path: Path):
    np.savez_compressed(tmp_path / "maps.npz", image=np.zeros(3))
    content = (tmp_path / "maps.npz").read_bytes()
    for damaged in (b"", content, content[:-20]):
        (tmp_path / "maps.npz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"maps.npz: damaged \("):
            SavedMaps.read(tmp_path / "maps.npz")
