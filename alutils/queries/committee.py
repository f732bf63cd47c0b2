"""A committee of networks, one with dropout left on or several: its members are averaged as they stream by."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alutils.models import SplitModel
from alutils.models.base import resize_logits
from alutils.seeds import derive_seed
from alutils.training.recipe import check_committee

LN2 = 0.6931471805599453
PIECE = {"cpu": 2**17, "cuda": 2**26}  # numbers worked on at a time: on a CPU what fits its cache


@dataclass(frozen=True)
class Committee:
    """Of each network T members at dropout rate `dropout`, their masks fixed by `seed`.

    One network and a rate above 0: MC dropout (Gal & Ghahramani 2016). Several, with one member each at rate 0: an
    ensemble (Lakshminarayanan et al. 2017).
    """

    members: int
    dropout: float
    seed: int

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_committee(self.members, self.dropout)

    def logits(self, models: Iterable[SplitModel], images: Tensor) -> Iterator[Tensor]:
        """Yield each member's logits of images (N, C, H, W): (N, classes), or (N, classes, h, w) as `decode` gives.

        A network's part without dropout runs once for all: a member costs one `decode`.
        """
        for model in models:
            features = model.eval().encode(images)
            for member in range(self.members):
                with fixed_dropout(model, self.dropout, derive_seed(self.seed, "member", member)):
                    logits = model.decode(features)
                yield logits  # outside, so that whoever consumes it finds the model without hooks


@contextmanager
def fixed_dropout(model: nn.Module, rate: float, seed: int) -> Iterator[None]:
    """Let every dropout layer of `model`, in evaluation mode, apply one mask that `seed` fixes.

    The mask has the shape of one image's activations and is the same for every image, whatever the batch:
    inside, `model` is one fixed network. Kept activations are divided by 1 - `rate`.
    """

    def hook_for(layer_index: int):
        def hook(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            generator = torch.Generator(output.device).manual_seed(derive_seed(seed, "layer", layer_index))
            drawn = torch.empty_like(output[0], dtype=torch.float32).uniform_(generator=generator)
            return output * ((drawn >= rate).to(output.dtype) / (1 - rate))

        return hook

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
    handles = [layer.register_forward_hook(hook_for(index)) for index, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def probability(logits: Tensor) -> Tensor:
    """Return the softmax of logits (N, C, ...)."""
    return logits.softmax(dim=1)


def vote(logits: Tensor) -> Tensor:
    """Return 1 at the most probable class of logits (N, C, ...), the first of equals, and 0 elsewhere."""
    chosen = logits.max(dim=1, keepdim=True).indices  # argmax is several times slower on a CPU
    return torch.zeros_like(logits).scatter_(1, chosen, 1)


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of the softmax of logits (N, C, ...): (N, ...), in bits."""
    return entropy_bits(probability(logits))


def entropy_bits(probs: Tensor) -> Tensor:
    """Return the entropy over dimension 1 of probabilities (N, C, ...): (N, ...), in bits, 0 at certainty."""
    return torch.special.entr(probs).sum(dim=1) / LN2


# What is known of a committee: means over its members of something that each one's logits give.
STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_probability": probability,  # (N, C, ...), the consensus
    "vote_share": vote,  # (N, C, ...), the share of the members whose most probable class it is
    "mean_entropy": entropy,  # (N, ...), the mean of the members' own entropies
}


def committee_statistics(
    members: Iterable[Tensor], names: Iterable[str], size: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """Return the statistics `names`, in memory that does not grow with the number of members.

    members : logits (N, C, ...), one tensor per member, used as they come
    size : height and width that logits (N, C, h, w) are enlarged to; `None`: as they are

    Raises `ValueError` if there is no member, or if a logit is not finite.
    """
    totals: dict[str, Tensor] = {}
    count, finite = 0, torch.tensor(True)
    for logits in members:
        count += 1
        finite = finite.to(logits.device) & torch.isfinite(logits.sum())  # one that is not makes the sum so
        size = logits.shape[2:] if size is None else size
        with torch.autocast(logits.device.type, enabled=False):  # whatever the members ran in
            for place, piece in enlarged_pieces(logits, size):
                for name in names:
                    part = STATISTICS[name](piece)
                    if name not in totals:
                        totals[name] = part.new_zeros(len(logits), *part.shape[1 : part.ndim - len(size)], *size)
                    totals[name][place].add_(part)  # `+=` would copy the piece onto itself as well
    if count == 0:
        raise ValueError("a committee needs at least one member")
    if not finite:
        raise ValueError("a committee member's logits are not finite")
    return {name: total.div_(count) for name, total in totals.items()}


def enlarged_pieces(logits: Tensor, size: Sequence[int]) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    """Yield logits (N, C, h, w) bilinearly enlarged to `size`, a few rows of one image at a time, with their place.

    Each is (1, C, rows, W); logits (N, C) are one piece. Done in pieces, the passes that follow stay in a
    processor's cache, and no logits of full size are ever held.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.ndim == 2:
        yield (), logits
        return
    (classes, low_height), (height, width) = logits.shape[1:3], size
    wide = resize_logits(logits.contiguous(), (low_height, width))
    shares = row_shares(wide, height)
    step = max(1, PIECE[logits.device.type] // (classes * width))
    for image in range(len(logits)):
        for start in range(0, height, step):
            rows = slice(start, min(start + step, height))
            # The rows of `wide` that these are blended of; a product of two matrices is the fastest way to do it.
            low = slice(max(0, rows.start * low_height // height - 1), -(-rows.stop * low_height // height) + 1)
            yield (slice(image, image + 1), ..., rows, slice(None)), shares[rows, low] @ wide[image : image + 1, :, low]


def row_shares(low: Tensor, height: int) -> Tensor:
    """Return (height, h): how much each row of `low` (N, C, h, w) counts in each row once there are `height`."""
    single_rows = torch.eye(low.shape[2], dtype=low.dtype, device=low.device)[None, None]
    return resize_logits(single_rows, (height, low.shape[2]))[0, 0]
