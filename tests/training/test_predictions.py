"""Our scores against the official Cityscapes evaluation, on the same files of label ids."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from alutils.datasets import ImageDataset, load_dataset
from alutils.datasets.cityscapes import CATEGORIES, CLASSES, scene_files
from alutils.errors import ParameterError
from alutils.grid.parameters import check_parameters, find_notebook
from alutils.models import SplitModel, build_model
from alutils.paths import cache_dir
from alutils.runs.config import BulkConfig
from alutils.runs.data import load_test_set
from alutils.training.loop import measure_on_test_set
from alutils.training.metrics import accuracy, category_iou, class_iou, confusion_matrix, mean_iou
from alutils.training.predictions import write_predictions


def official(predictions: list[Path], labels: list[Path]) -> dict[str, Any]:
    """Return what cityscapesScripts makes of files of label ids."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation

    arguments = evaluation.args
    arguments.evalInstLevelScore, arguments.JSONOutput, arguments.quiet = False, False, True
    return evaluation.evaluateImgLists([str(p) for p in predictions], [str(p) for p in labels], arguments)


def assert_same(ours: dict[str, float], theirs: dict[str, Any]) -> None:
    """Compare mean IoU, each class's and each category's, undefined ones included."""
    assert ours["miou"] == pytest.approx(theirs["averageScoreClasses"], abs=1e-6)
    for name, _ in CLASSES.values():
        assert ours[f"iou_{name}"] == pytest.approx(theirs["classScores"][name], abs=1e-6, nan_ok=True)
    for name in CATEGORIES:
        assert ours[f"category_iou_{name}"] == pytest.approx(theirs["categoryScores"][name], abs=1e-6, nan_ok=True)


def config_of(**changes: object) -> BulkConfig:
    given = {"dataset": "streets_tiny", "height": 32, "width": 64} | changes
    return BulkConfig.from_names(check_parameters(find_notebook("04_bulk_training"), given))


class Guess(SplitModel):
    """Predicts by brightness alone, a class or void, and some classes never."""

    def __init__(self, outputs: int):
        super().__init__()
        self.outputs = outputs
        self.scale = torch.nn.Parameter(torch.ones(1))

    def encode(self, images: Tensor) -> Tensor:
        grey = (images.mean(dim=1) * 7).abs().long() % self.outputs
        return torch.nn.functional.one_hot(self.outputs - 1 - grey // 2 * 2, self.outputs).movedim(-1, 1) * self.scale

    def decode(self, features: Tensor) -> Tensor:
        return features


@pytest.mark.slow
@pytest.mark.parametrize("void_class", [False, True])
def test_scores_at_the_native_resolution_are_the_official_ones(void_class: bool, tmp_path: Path):
    config = config_of(void_class=void_class)
    test_set = load_test_set(config)
    assert test_set.images.shape[2:] == (32, 64)
    assert test_set.labels.shape[1:] == (128, 256)
    model = Guess(config.outputs(test_set))
    write_predictions(model, test_set, config, tmp_path)
    written = [tmp_path / f"{name}.png" for name in test_set.item_names]
    files = scene_files("streets_tiny", next(cache_dir().glob("streets_tiny-drawn*/")), "test")
    ids = np.unique([np.asarray(Image.open(path)) for path in written])
    assert (0 in ids) == void_class, "some pixels are predicted to be void"
    theirs = official(written, files.labels)
    assert_same(measure_on_test_set(model, test_set, config).measures, theirs)
    assert any(np.isnan(theirs["classScores"][name]) for name, _ in CLASSES.values()), "some class is absent"
    assert any(theirs["classScores"][name] == 0 for name, _ in CLASSES.values()), "some class is never right"
    assert theirs["averageScoreClasses"] > 0


@pytest.mark.parametrize("seed", range(5))
def test_any_label_maps_are_scored_as_officially(seed: int, tmp_path: Path):
    """Noise over all 34 label ids and, predicted, over classes and void; a few classes are left out of either."""
    generator, classes = np.random.default_rng(seed), list(CLASSES)
    labels = generator.choice(generator.permutation(34)[: 20 + seed], (3, 40, 50)).astype(np.uint8)
    class_of = np.full(34, 255)
    class_of[classes] = range(19)
    predicted = generator.choice(generator.permutation(20)[: 10 + seed], labels.shape)
    known = class_of[labels]
    predicted = np.where((generator.random(labels.shape) < 0.7) & (known < 19), known, predicted)
    paths = []
    for name, ids in (("label", labels), ("prediction", np.array([*classes, 0], np.uint8)[predicted])):
        paths.append([tmp_path / f"{name}{i}.png" for i in range(3)])
        for path, image in zip(paths[-1], ids, strict=True):
            Image.fromarray(image).save(path)
    confusion = confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(known), 20)[:19]
    test_set = load_dataset("streets_tiny", "test")
    ours = {"miou": mean_iou(confusion)}
    ours |= {f"iou_{n}": iou for n, iou in zip(test_set.class_names, class_iou(confusion).tolist(), strict=True)}
    groups = category_iou(confusion, list(test_set.categories.values())).tolist()
    ours |= {f"category_iou_{n}": iou for n, iou in zip(test_set.categories, groups, strict=True)}
    assert_same(ours, official(paths[1], paths[0]))
    assert accuracy(confusion) == (predicted == known)[known < 19].mean()


def test_predictions_are_written_in_the_values_of_a_folders_labels(tiny_scenes: ImageDataset, tmp_path: Path):
    dataset = replace(tiny_scenes, label_values=[4, 9, 2, 77])
    model = build_model("unet_small", 3, seed=0)
    write_predictions(model, dataset, config_of(), tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == len(dataset)
    assert set(np.unique(np.asarray(Image.open(tmp_path / "scene03.png")))) <= {4, 9, 2}


def test_predictions_of_digits_are_refused(tmp_path: Path):
    with pytest.raises(ParameterError, match="predictions of digits cannot be written; allowed: scenes"):
        write_predictions(build_model("mnist_cnn", 10, seed=0), load_dataset("digits", "test"), config_of(), tmp_path)
