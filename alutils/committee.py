"""A committee of one network with dropout left on: each member a fixed mask, reduced as it streams by."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alutils.config import check_committee
from alutils.models import SplitModel
from alutils.seeds import derive_seed

LN2 = 0.6931471805599453


@dataclass(frozen=True)
class Committee:
    """T members at dropout rate `dropout`, their masks fixed by `seed`."""

    members: int
    dropout: float
    seed: int

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_committee(self.members, self.dropout)

    def logits(self, model: SplitModel, images: Tensor) -> Iterator[Tensor]:
        """Yield each member's logits (N, C, ...); `model` encodes the images once, and decodes T times."""
        model.eval()
        features = model.encode(images)
        for member in range(self.members):
            with fixed_dropout(model, self.dropout, derive_seed(self.seed, "member", member)):
                logits = model.decode(features)
            yield logits  # outside, so that whoever consumes it finds the model without hooks


@dataclass(frozen=True)
class CommitteeStats:
    """What a committee says of N images, in memory that does not grow with the number of members.

    mean_probability : (N, C, ...) mean of the members' softmax, the consensus
    vote_share : (N, C, ...) share of the members whose most probable class it is
    mean_entropy : (N, ...) mean of the members' own entropies, in bits
    """

    mean_probability: Tensor
    vote_share: Tensor
    mean_entropy: Tensor

    @classmethod
    def from_members(cls, members: Iterable[Tensor]) -> "CommitteeStats":
        """Reduce an iterable of logits (N, C, ...), one per member, as they come.

        Raises `ValueError` if there is no member, or if a logit is not finite.
        """
        count = 0
        for logits in members:
            log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=1)
            if count == 0:
                probability, votes = torch.zeros_like(log_probs), torch.zeros_like(log_probs)
                entropies = torch.zeros_like(log_probs[:, 0])
            probs = log_probs.exp()
            probability += probs
            votes.scatter_add_(1, log_probs.argmax(dim=1, keepdim=True), torch.ones_like(votes[:, :1]))
            entropies += entropy_bits(probs)
            count += 1
        if count == 0:
            raise ValueError("a committee needs at least one member")
        if not torch.isfinite(entropies).all():
            raise ValueError("a committee member's logits are not finite")
        return cls(probability / count, votes / count, entropies / count)


def entropy_bits(probs: Tensor) -> Tensor:
    """Return the entropy over dimension 1 of probabilities (N, C, ...): (N, ...), in bits, 0 at certainty."""
    return torch.special.entr(probs).sum(dim=1) / LN2


@contextmanager
def fixed_dropout(model: nn.Module, rate: float, seed: int) -> Iterator[None]:
    """Let every dropout layer of `model`, in evaluation mode, apply one mask that `seed` fixes.

    The mask has the shape of one image's activations and is the same for every image, whatever the batch:
    inside, `model` is one fixed network. Kept activations are divided by 1 - `rate`.
    """

    def hook_for(layer_index: int):
        def hook(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            generator = torch.Generator().manual_seed(derive_seed(seed, "layer", layer_index))
            kept = torch.rand(output.shape[1:], generator=generator) >= rate
            return output * (kept.to(output.device, output.dtype) / (1 - rate))

        return hook

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
    handles = [layer.register_forward_hook(hook_for(index)) for index, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
