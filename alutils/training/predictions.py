"""Predictions as files of label values, as the data set's own labels are; for Cityscapes, what its evaluation reads."""

from pathlib import Path

import numpy as np
from PIL import Image

from alutils.datasets import ImageDataset
from alutils.errors import ParameterError
from alutils.models import SplitModel
from alutils.training.loop import predict
from alutils.training.recipe import Recipe


def write_predictions(model: SplitModel, dataset: ImageDataset, recipe: Recipe, folder: Path) -> None:
    """Write `<item name>.png` for each image of `dataset`, at its labels' resolution: one byte a pixel, a label value.

    What a network with a void class takes for void gets the value of void (0 for Cityscapes). Raises `ParameterError`
    for digits.
    """
    if not dataset.label_values:
        raise ParameterError(f"predictions of {dataset.name} cannot be written; allowed: scenes")
    folder.mkdir(parents=True, exist_ok=True)
    values, names = np.array(dataset.label_values, np.uint8), iter(dataset.item_names)
    for predictions, _ in predict(model, dataset, recipe):
        for prediction in predictions.cpu().numpy():
            Image.fromarray(values[prediction]).save(folder / f"{next(names)}.png")
