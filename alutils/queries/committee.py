"""A committee of networks, and the means over its members, which are added up member by member."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from alutils.errors import check_range
from alutils.models import SplitModel
from alutils.models.base import Maps, inference_copy, predicted_classes, resize_logits
from alutils.models.frozen import FrozenHead
from alutils.seeds import derive_seed

LN2 = 0.6931471805599453
TOGETHER = 5  # members of a network on frozen maps that are computed at a time; more are no faster
PIECE = {"cpu": 2**17, "cuda": 2**26}  # numbers processed at a time; on a CPU they fit into its cache


@dataclass(frozen=True)
class Committee:
    """Networks that are asked for their predictions together.

    Each network is asked `members` times, each time with another dropout mask. The masks have the rate `dropout` and
    depend on `seed` only.

    - `Committee([network])`: the network's plain prediction, without dropout.
    - `Committee([network], 20, 0.5, seed)`: MC dropout with T = 20 members (Gal & Ghahramani 2016).
    - `Committee(networks)`: an ensemble, one member a network (Lakshminarayanan et al. 2017).
    """

    networks: Sequence[SplitModel]
    members: int = 1
    dropout: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_range("committee_members", self.members, 1, 1000)
        check_range("committee_dropout", self.dropout, 0, 0.99)

    @property
    def device(self) -> torch.device:
        """Return the device that the networks are on."""
        return next(self.networks[0].parameters()).device

    def to(self, device: torch.device | str) -> Self:
        """Return a committee of copies of the networks on `device`."""
        return replace(self, networks=[copy.deepcopy(network).to(device) for network in self.networks])

    def for_inference(self) -> Self:
        """Return a committee of copies of the networks in evaluation mode, which run faster (`inference_copy`)."""
        return replace(self, networks=[inference_copy(network) for network in self.networks])

    def logits(self, images: Tensor | Maps) -> Iterator[Tensor]:
        """Yield each member's logits of images (N, C, H, W): (N, classes), or (N, classes, h, w) as `decode` gives.

        `encode`, which has no dropout, runs once for all members of a network; a member costs one `decode`. Several
        members of a `FrozenHead` are one matrix product.
        """
        seeds = [derive_seed(self.seed, "member", member) for member in range(self.members)]
        for network in self.networks:
            features = network.eval().encode(images)
            if isinstance(network, FrozenHead):
                features = network.for_committee(features)
                for start in range(0, len(seeds), TOGETHER):
                    masks = _channel_masks(features, self.dropout, seeds[start : start + TOGETHER])
                    yield from network.decode_members(features, masks)
                continue
            for seed in seeds:
                with fixed_dropout(network, self.dropout, seed):
                    logits = network.decode(features)
                yield logits  # after the `with`, so that the network has no hooks while the caller uses the logits


@contextmanager
def fixed_dropout(model: nn.Module, rate: float, seed: int) -> Iterator[None]:
    """Apply one fixed mask, drawn from `seed`, in every dropout layer of `model`, which is in evaluation mode.

    A mask has the shape of one image's activations, or of its channels where a layer drops whole channels. All images
    of all batches get the same mask, so within this context `model` is one fixed network. Activations that are kept are
    divided by 1 - `rate`.
    """

    def hook_for(layer_index: int):
        def hook(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            like = output[0, :, :1, :1] if isinstance(layer, nn.Dropout2d) else output[0]
            return output * _mask(like, rate, derive_seed(seed, "layer", layer_index))

        return hook

    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Dropout, nn.Dropout2d))]
    handles = [layer.register_forward_hook(hook_for(index)) for index, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _mask(like: Tensor, rate: float, seed: int) -> Tensor:
    """Return a mask of the shape of `like`: 0 with the probability `rate`, else 1 / (1 - `rate`)."""
    generator = torch.Generator(like.device).manual_seed(seed)
    drawn = torch.empty_like(like, dtype=torch.float32).uniform_(generator=generator)
    return (drawn >= rate).to(like.dtype) / (1 - rate)


def _channel_masks(features: Sequence[Tensor], rate: float, seeds: Sequence[int]) -> list[Tensor]:
    """Return for each map of `features` (N, D, h, w) the masks (T, D) that `fixed_dropout` draws from T seeds."""
    return [
        torch.stack([_mask(maps[0, :, 0, 0], rate, derive_seed(seed, "layer", number)) for seed in seeds])
        for number, maps in enumerate(features)
    ]


def probability(logits: Tensor) -> Tensor:
    """Return the softmax of logits (N, C, ...)."""
    return logits.softmax(dim=1)


def vote(logits: Tensor) -> Tensor:
    """Return 1 at the most probable class of logits (N, C, ...) and 0 elsewhere; the first of equal classes wins."""
    return torch.zeros_like(logits).scatter_(1, predicted_classes(logits)[:, None], 1)


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of the softmax of logits (N, C, ...): (N, ...), in bits."""
    return entropy_bits(probability(logits))


def entropy_bits(probs: Tensor) -> Tensor:
    """Return the entropy over dimension 1 of probabilities (N, C, ...): (N, ...), in bits, 0 at certainty."""
    return torch.special.entr(probs).sum(dim=1) / LN2


# Committee statistics are means over the members. Each function gives what is averaged, from one member's logits.
STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_probability": probability,  # (N, C, ...), the members' consensus
    "vote_share": vote,  # (N, C, ...), the share of the members that vote for each class
    "mean_entropy": entropy,  # (N, ...), the mean of the members' own entropies, in bits
}


def committee_statistics(
    members: Iterable[Tensor], names: Iterable[str], size: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """Return the statistics `names` (keys of `STATISTICS`), each averaged over all members.

    The memory needed does not grow with the number of members.

    members : one tensor of logits (N, C, ...) a member, read one after the other
    size : the height and width that logits (N, C, h, w) are enlarged to; `None` leaves them as they are

    Raises `ValueError` if there is no member, or if a logit is not finite.
    """
    totals: dict[str, Tensor] = {}
    count, finite = 0, torch.tensor(True)
    for logits in members:
        count += 1
        finite = finite.to(logits.device) & torch.isfinite(logits.sum())  # one infinite or NaN logit is enough
        size = logits.shape[2:] if size is None else size
        with torch.autocast(logits.device.type, enabled=False):  # full precision, whatever the members ran in
            for place, piece in enlarged_pieces(logits, size):
                for name in names:
                    part = STATISTICS[name](piece)
                    if name not in totals:
                        totals[name] = part.new_zeros(len(logits), *part.shape[1 : part.ndim - len(size)], *size)
                    totals[name][place].add_(part)  # `+=` would write the piece twice
    if count == 0:
        raise ValueError("a committee needs at least one member")
    if not finite:
        raise ValueError("a committee member's logits are not finite")
    return {name: total.div_(count) for name, total in totals.items()}


def enlarged_pieces(logits: Tensor, size: Sequence[int]) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    """Enlarge logits (N, C, h, w) bilinearly to `size`; yield a few rows of one image at a time.

    Yields pairs: the index of the piece in a tensor (N, ..., H, W), and the piece (1, C, rows, W). Logits (N, C) are
    one piece. A piece fits into a processor's cache, and the logits of full size are never in memory at once.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.ndim == 2:
        yield (), logits
        return
    (classes, low_height), (height, width) = logits.shape[1:3], size
    wide = resize_logits(logits.contiguous(), (low_height, width))
    shares = row_shares(wide, height) if low_height != height else None
    step = max(1, PIECE[logits.device.type] // (classes * width))
    for image in range(len(logits)):
        for start in range(0, height, step):
            rows = slice(start, min(start + step, height))
            if shares is None:
                piece = wide[image : image + 1, :, rows]
            else:
                # Only these rows of `wide` contribute. A matrix product is the fastest way to blend them.
                low = slice(max(0, rows.start * low_height // height - 1), -(-rows.stop * low_height // height) + 1)
                piece = shares[rows, low] @ wide[image : image + 1, :, low]
            yield (slice(image, image + 1), ..., rows, slice(None)), piece


def row_shares(low: Tensor, height: int) -> Tensor:
    """Return the weights (height, h) with which the rows of `low` (N, C, h, w) are blended into `height` rows."""
    single_rows = torch.eye(low.shape[2], dtype=low.dtype, device=low.device)[None, None]
    return resize_logits(single_rows, (height, low.shape[2]))[0, 0]
