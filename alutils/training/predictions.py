"""Predictions as image files with the data set's own label values; the Cityscapes evaluation reads its files."""

from pathlib import Path

import numpy as np
from PIL import Image

from alutils.datasets import ImageDataset
from alutils.errors import ParameterError
from alutils.models import SplitModel
from alutils.training.loop import predict
from alutils.training.recipe import Recipe


def write_predictions(model: SplitModel, dataset: ImageDataset, recipe: Recipe, folder: Path) -> None:
    """Write the prediction for each image of `dataset` to `<item name>.png` in `folder`.

    A file has the resolution of the label and one byte a pixel, a label value of the data set. Where a network with a
    void class predicts void, the pixel gets the label value of void (0 for Cityscapes). Raises `ParameterError` for
    digits.
    """
    if not dataset.label_values:
        raise ParameterError(f"predictions of {dataset.name} cannot be written; allowed: scenes")
    folder.mkdir(parents=True, exist_ok=True)
    values, names = np.array(dataset.label_values, np.uint8), iter(dataset.item_names)
    for predictions, _ in predict(model, dataset, recipe):
        for prediction in predictions.cpu().numpy():
            Image.fromarray(values[prediction]).save(folder / f"{next(names)}.png")
