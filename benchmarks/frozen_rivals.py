"""The round of `frozen_rounds.py` as people write it in plain torch, and with baal; an encoder's maps are made anew.

The head is the same `FrozenSmall` behind the same frozen encoder. Each image is decoded with PIL when it is asked for.
Only a few steps and images are run: each costs the same, so a whole round is their time, multiplied.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from baal import ActiveLearningDataset, ModelWrapper
from baal_loop import label_more, training_args
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms.functional import normalize, to_tensor

from alutils.datasets import IGNORE_INDEX, ImageDataset
from alutils.datasets.base import SceneFiles
from alutils.models import DEFAULT_ENCODER, build_model
from alutils.models.base import Maps, resize_logits
from alutils.models.encoders import encoder_network, weights_file
from alutils.models.frozen import FrozenSmall, enlarged_sum
from alutils.training.loop import default_device
from alutils.training.metrics import confusion_matrix, mean_iou, resize_predictions
from alutils.training.recipe import Recipe


class Scenes(Dataset):
    """Images (3, H, W), normalised as the encoder needs them, and classes (H, W)."""

    def __init__(self, files: SceneFiles):
        self.files = files

    def __len__(self) -> int:
        return len(self.files.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = Image.open(self.files.images[index]), Image.open(self.files.labels[index])
        pixels = normalize(to_tensor(image.convert("RGB")), [0.5] * 3, [0.5] * 3)
        classes = torch.from_numpy(self.files.meaning.of_value[np.array(label)]).long()
        return pixels, classes


class Whole(nn.Module):
    """A head behind its frozen encoder; with `at_own_size`, logits stay as small as our loss reads them."""

    at_own_size = False

    def __init__(self, head: FrozenSmall):
        super().__init__()
        self.encoder = encoder_network(DEFAULT_ENCODER, weights_file(DEFAULT_ENCODER)).requires_grad_(False)
        self.head = head
        self.last = nn.ModuleList(nn.Linear(last.shape[1], last.shape[0], bias=False) for last in head.last)
        for layer, last in zip(self.last, head.last, strict=True):
            layer.weight = last

    def train(self, mode: bool = True) -> "Whole":
        """Leave the encoder in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return logits; every layer is called, which `MCCachingModule` needs."""
        with torch.no_grad():
            levels = self.encoder(images)[-len(self.head.standardise) :]
        maps = self.head.encode(Maps(levels, images.shape))
        dropped = [dropout(level).permute(0, 2, 3, 1) for dropout, level in zip(self.head.dropout, maps, strict=True)]
        parts = [last(level).permute(0, 3, 1, 2) for last, level in zip(self.last, dropped, strict=True)]
        logits = enlarged_sum(parts) + self.head.bias
        return logits if self.at_own_size else resize_logits(logits, images.shape[2:])


@dataclass
class Rivals:
    """Parts of a round, `steps` optimizer steps or `test` and `pool` images long.

    train_set : the data set whose maps our network reads; its files are `train_files`
    """

    train_set: ImageDataset
    train_files: SceneFiles
    test_files: SceneFiles
    recipe: Recipe
    members: int
    steps: int
    test: int
    pool: int

    def __post_init__(self) -> None:
        """Build the network; that is not timed."""
        head = build_model("frozen_small", self.train_set.num_classes, seed=0, features=self.train_set.features)
        assert isinstance(head, FrozenSmall)
        self.network = Whole(head).to(default_device()).to(memory_format=torch.channels_last)

    def sides(self) -> dict[str, Callable[[], object]]:
        """Return all parts by name."""
        return {
            "plain_train": self.train,
            "plain_train_at_own_size": self.train_at_own_size,
            "plain_test": self.mean_iou,
            "plain_score": self.score,
            "baal_train": self.train_with_baal,
            "baal_score": partial(self.score_with_baal, is_cached=False),
            "baal_mccaching_score": partial(self.score_with_baal, is_cached=True),
        }

    def labelled(self) -> range:
        """Return the images of all steps, each once."""
        return range(self.steps * self.recipe.batch_size)

    def train(self) -> None:
        """Take optimizer steps."""
        optimizer = torch.optim.Adam(self.network.train().head.parameters(), self.recipe.learning_rate)
        scenes = Subset(Scenes(self.train_files), self.labelled())
        for images, labels in DataLoader(scenes, self.recipe.batch_size, shuffle=True):
            logits = self.network(images.to(default_device(), memory_format=torch.channels_last))
            targets = resize_predictions(labels.to(default_device()), logits.shape[2:])
            optimizer.zero_grad()
            F.cross_entropy(logits, targets, ignore_index=IGNORE_INDEX).backward()
            optimizer.step()

    def train_at_own_size(self) -> None:
        """Take optimizer steps, with the loss at the size of the finest maps."""
        self.network.at_own_size = True
        self.train()
        self.network.at_own_size = False

    @torch.inference_mode()
    def mean_iou(self) -> float:
        """Test images at their native resolution."""
        classes, batch = self.train_set.num_classes, self.recipe.batch_size
        self.network.eval()
        confusion = torch.zeros(classes, classes, dtype=torch.int64)
        for images, labels in DataLoader(Subset(Scenes(self.test_files), range(self.test)), batch):
            predictions = self.network(images.to(default_device(), memory_format=torch.channels_last)).argmax(dim=1)
            confusion += confusion_matrix(predictions.cpu(), labels, classes)
        return mean_iou(confusion)

    @torch.inference_mode()
    def score(self) -> Tensor:
        """Return the vote entropy of images of the pool, from whole passes with dropout on."""
        self.network.eval()
        self.network.head.dropout.train()
        scores = []
        for images, _ in DataLoader(Subset(Scenes(self.train_files), range(self.pool)), self.recipe.batch_size):
            batch = images.to(default_device(), memory_format=torch.channels_last)
            votes = torch.stack([self.network(batch).argmax(dim=1) for _ in range(self.members)])
            shares = [(votes == number).float().mean(dim=0) for number in range(self.train_set.num_classes)]
            scores.append(torch.special.entr(torch.stack(shares)).sum(dim=0).mean(dim=(1, 2)))
        return torch.cat(scores)

    def active_set(self) -> ActiveLearningDataset:
        """Return the labelled images and, as the rest, those of the pool."""
        images = self.train_files.images[: len(self.labelled()) + self.pool]
        scenes = Scenes(replace(self.train_files, images=images))
        active_set = ActiveLearningDataset(scenes)
        active_set.label(list(self.labelled()))
        return active_set

    def train_with_baal(self) -> None:
        """Take as many optimizer steps with `ModelWrapper`."""
        recipe = replace(self.recipe, epochs=1, steps=None)
        args = training_args(self.network, recipe, len(self.labelled()))
        ModelWrapper(self.network, args).train_on_dataset(self.active_set())

    def score_with_baal(self, *, is_cached: bool) -> None:
        """Label one image of the pool with `ActiveLearningLoop`; it has no vote entropy, so by consensus entropy."""
        label_more(self.active_set(), self.network.eval(), 1, self.members, is_cached)
