"""One scene's score maps, as they are stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np

from alutils.runs.schemas import read_bytes, reported


@dataclass(frozen=True)
class SavedMaps:
    """One scene, its prediction and its score maps, as notebook `05_committee_maps` keeps them.

    title, miou : the scene's name, and the network's mean IoU on the test set
    colours : RGB of each class
    image (3, H, W), label and prediction (H, W), all uint8
    scores : by name and dropout rate, (H, W) in bits
    """

    title: str
    miou: float
    colours: list[tuple[int, int, int]]
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    scores: Mapping[tuple[str, float], np.ndarray]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays, the scores in half precision."""
        scores = {f"score {name} {rate}": values.astype(np.float16) for (name, rate), values in self.scores.items()}
        told = {"title": np.array(self.title), "miou": np.array(self.miou), "colours": np.array(self.colours)}
        return told | {"image": self.image, "label": self.label, "prediction": self.prediction} | scores

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the maps that were written as `arrays` into a .npz file; raise `DataError` if it is damaged."""
        with reported(path), np.load(BytesIO(read_bytes(path))) as found:
            names = [name.split(" ") for name in found.files if name.startswith("score ")]
            scores = {(name, float(rate)): found[f"score {name} {rate}"] for _, name, rate in names}
            colours = [(int(r), int(g), int(b)) for r, g, b in found["colours"]]
            image, label, prediction = (found[name] for name in ("image", "label", "prediction"))
            return cls(str(found["title"]), float(found["miou"]), colours, image, label, prediction, scores)
