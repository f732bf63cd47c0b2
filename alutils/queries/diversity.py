"""Diverse points, chosen by their features alone: greedy k-center and k-means++, both exact, in few matrix products.

A plain loop reads the whole pool for each pick. This module compares a few hundred candidates with each other; their
distances decide which of them are picked, and then the pool is read once for all these picks. Memory is linear in the
pool.
"""

import numpy as np
import torch
from torch import Tensor

from alutils.errors import ParameterError, check_range

CANDIDATES = 768  # points that are compared with each other at a time
ROWS = 4096  # points of the pool in one matrix product; its result takes at most 25 MB
LONGEST = 1e18  # squared distances of shorter vectors fit in float32


@torch.inference_mode()
def k_center_greedy(features: Tensor, k: int, labelled: Tensor) -> Tensor:
    """Return the positions of `k` points, each the farthest (Euclidean) from all labelled and all chosen so far.

    If several points are equally far, the one at the lowest position is chosen. If nothing is labelled, the point
    nearest to the mean comes first. Distances are computed in float64 and compared in float32.

    features : (N, D) float32, on the CPU or a GPU
    labelled : (L, D) float32, on the same device; L may be 0

    Returns (k,) int64, in the order chosen. Raises `ParameterError` for impossible values. Sener & Savarese 2018.
    """
    cover = _Cover(features, k)
    centres = _checked("labelled", labelled, features.shape[1])
    if len(centres) > 0:
        for part in centres.split(CANDIDATES):
            cover.add(part)
    elif k > 0:
        cover.choose(cover.squared_distances(cover.points.mean(dim=0, keepdim=True)).argmin()[None])
    while cover.missing > 0:
        order = cover.nearest.sort(descending=True, stable=True).indices
        candidates, outside = order[:CANDIDATES].sort().values, order[CANDIDATES:]
        bound = (float(cover.nearest[outside[0]]), -int(outside[0])) if len(outside) else (-1.0, 0)
        cover.choose(candidates[_farthest_first(cover, candidates, bound)])
    return cover.positions


@torch.inference_mode()
def k_means_plus_plus(features: Tensor, k: int, *, generator: torch.Generator) -> Tensor:
    """Return the positions of `k` points, each drawn in proportion to squared distance to the nearest drawn so far.

    The first point is drawn uniformly. If only copies of drawn points remain, they are drawn uniformly too. No point is
    drawn twice.

    features : (N, D) float32, on the CPU or a GPU
    generator : on the CPU or a GPU

    Returns (k,) int64, in the order drawn. Raises `ParameterError` for impossible values. Arthur & Vassilvitskii
    2007; BADGE draws its batches like this.
    """
    cover, device = _Cover(features, k), generator.device
    if k > 0:
        cover.choose(torch.randint(len(features), (1,), generator=generator, device=device))
    while cover.missing > 0:
        weights = cover.nearest.clamp(min=0).to(device, torch.float64)
        if weights.any():
            candidates = weights.multinomial(CANDIDATES, replacement=True, generator=generator)
            uniform = torch.rand(CANDIDATES, dtype=torch.float64, generator=generator, device=device)
            cover.choose(candidates[_accepted(cover, candidates, uniform.cpu().numpy())])
        else:
            copies = (cover.nearest == 0).nonzero()[:, 0].to(device)
            shuffled = torch.randperm(len(copies), generator=generator, device=device)
            cover.choose(copies[shuffled[: cover.missing]])
    return cover.positions


class _Cover:
    """The points chosen from a pool so far, and the distance of each point of the pool to them.

    positions : positions of the chosen points, in order
    missing : how many points are still to be chosen
    nearest : (N,) float32, squared distance to the nearest chosen or labelled point; -1 for a chosen point
    """

    def __init__(self, features: Tensor, k: int) -> None:
        self.points = _checked("features", features)
        check_range("k", k, 0, len(features))
        self.squares = torch.linalg.vector_norm(self.points, dim=1).square()
        self.positions = torch.empty(0, dtype=torch.int64, device=features.device)
        self.missing = k
        self.nearest = torch.full((len(features),), torch.inf, device=features.device)

    def choose(self, positions: Tensor) -> None:
        """Add points of the pool to the chosen ones."""
        positions = positions.to(self.positions.device)
        self.positions = torch.cat([self.positions, positions])
        self.missing -= len(positions)
        if self.missing > 0:  # distances are not needed after the last pick
            self.add(self.points[positions])
            self.nearest[positions] = -1

    def add(self, centres: Tensor) -> None:
        """Update `nearest` with the distances to `centres` (M, D)."""
        self.nearest = self.nearest.minimum(self.squared_distances(centres))

    def squared_distances(self, centres: Tensor) -> Tensor:
        """Return each point's squared distance to the nearest of `centres` (M, D): (N,)."""
        smallest = [_products(points, centres).amin(dim=0) for points in self.points.split(ROWS)]
        return _to_squared_distances(torch.cat(smallest), self.squares, centres.shape[1])

    def among(self, positions: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return `nearest` for some points, (M,), and their squared distances to each other, (M, M)."""
        positions = positions.to(self.positions.device)
        points, squares = self.points[positions], self.squares[positions]
        between = _to_squared_distances(_products(points, points), squares, points.shape[1])
        return self.nearest[positions].cpu().numpy(), between.cpu().numpy()


def _products(points: Tensor, centres: Tensor) -> Tensor:
    """Return |c|^2 / 2 - c x for points x (N, D) and centres c (M, D): (M, N)."""
    half = torch.linalg.vector_norm(centres, dim=1, keepdim=True).square() / 2
    return torch.addmm(half, centres, points.T, alpha=-1)


def _to_squared_distances(products: Tensor, squares: Tensor, dimensions: int) -> Tensor:
    """Return squared distances (..., N) float32 from `_products` and the points' |x|^2 (N,).

    A distance below the rounding error of float64 becomes 0. Rounding to float32 removes the last bits, in which two
    equal points may differ.
    """
    distances = products.mul(2).add(squares)
    rounding = 2 * (dimensions + 4) * torch.finfo(torch.float64).eps * squares
    return distances.where(distances > rounding, 0).float()


def _farthest_first(cover: _Cover, candidates: Tensor, bound: tuple[float, int]) -> list[int]:
    """Return which candidates are picked next, in order; it stops where a point outside may be picked before them.

    bound : squared distance and negative position of the best point that is no candidate
    """
    nearest, between = cover.among(candidates)
    ranks = (-candidates).tolist()
    picked: list[int] = []
    while len(picked) < cover.missing:
        best = int(nearest.argmax())
        if (nearest[best], ranks[best]) < bound:
            break
        picked.append(best)
        nearest = np.minimum(nearest, between[best])
        nearest[best] = -1
    return picked


def _accepted(cover: _Cover, candidates: Tensor, uniform: np.ndarray) -> list[int]:
    """Return which candidates are kept; each is kept with the probability (present weight / weight when drawn).

    This rejection turns draws by the old weights into exact draws by the present weights.

    uniform : (M,) in [0, 1)
    """
    nearest, between = cover.among(candidates)
    limits = uniform * nearest
    picked: list[int] = []
    for candidate, limit in enumerate(limits):
        if limit < nearest[candidate] and len(picked) < cover.missing:
            picked.append(candidate)
            nearest = np.minimum(nearest, between[candidate])
    return picked


def _checked(name: str, vectors: Tensor, dimensions: int | None = None) -> Tensor:
    """Return vectors (N, D) in float64."""
    if vectors.ndim != 2 or dimensions not in (None, vectors.shape[1]):
        allowed = f"(vectors, {dimensions or 'dimensions'})"
        raise ParameterError(f"{name} has shape {tuple(vectors.shape)}; allowed: {allowed}")
    points = vectors.double()
    if not (torch.linalg.vector_norm(points, dim=1) < LONGEST).all():
        raise ParameterError(f"{name} has values not finite or too large; allowed: vectors shorter than {LONGEST:g}")
    return points
