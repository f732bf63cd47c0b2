"""A committee explained: what its members say in a few cases, their consensus, and their votes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from alutils.queries.committee import committee_statistics
from alutils.queries.scores import consensus_entropy, vote_entropy
from alutils.results.figures.style import STYLES, annotated_matrix

MOST = 3  # classes shown of a case, the most probable ones
SMALLEST = 1e-30  # a probability of 0 has no logarithm


def committee_cases(cases: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Draw one column per case: the members' probabilities, and below them their consensus and their votes.

    The `MOST` most probable classes are shown, and each member's vote is bold. Entropies are those of all classes.

    cases : by title, the members' probabilities, (T, C)
    names : of the C classes
    """
    names = [name.replace(" ", "\n") for name in names]  # so that they stand beside each other
    size = (2.7 * len(cases) + 0.6, 4.8)
    figure, grid = plt.subplots(
        3, len(cases), figsize=size, layout="constrained", squeeze=False, height_ratios=[2, 1, 1]
    )
    for column, (title, probabilities) in zip(grid.T, cases.items(), strict=True):
        shown = np.sort(np.argsort(-probabilities.mean(axis=0), kind="stable")[:MOST])
        _draw_members(column[0], probabilities, shown, [names[index] for index in shown])
        column[0].set_title(title, fontsize=10)
        column[0].tick_params(labelleft=column[0] is grid[0, 0])
        consensus, votes = _consensus_and_votes(probabilities[..., None])  # (1, C) each
        for axes, shares, entropy, name in (
            (column[1], consensus, consensus_entropy(consensus), "consensus"),
            (column[2], votes, vote_entropy(votes), "vote"),
        ):
            colour = STYLES[f"{name}_entropy"]["color"]
            axes.bar([names[index] for index in shown], shares[0, shown].numpy(), color=colour)
            axes.set_ylim(0, 1)
            axes.set_title(f"{name} entropy: {abs(float(entropy)):.2f} bits", fontsize=9)
    return figure


def _draw_members(axes: Axes, probabilities: np.ndarray, shown: np.ndarray, names: Sequence[str]) -> None:
    members = [f"member {number + 1}" for number in range(len(probabilities))]
    table = pd.DataFrame(probabilities[:, shown], members, list(names))
    annotated_matrix(axes, table, ".2f", cmap="Blues", vmin=0, vmax=1.5, yticklabels=True)
    is_vote = shown == probabilities.argmax(axis=1)[:, None]
    for text, is_bold in zip(axes.texts, is_vote.ravel(), strict=True):
        text.set_fontweight("bold" if is_bold else "normal")


def _consensus_and_votes(probabilities: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the mean probabilities and the shares of votes, both (P, C); probabilities (T, C, P)."""
    logits = (torch.from_numpy(member.T).clamp(min=SMALLEST).log() for member in probabilities)
    means = committee_statistics(logits, ["mean_probability", "vote_share"])
    return means["mean_probability"], means["vote_share"]


def pixel_cases(probabilities: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw `committee_cases` for three pixels: the surest one, an unsure one where all vote alike, one of most dispute.

    The second has the highest consensus entropy among the pixels with a vote entropy of 0; the third has the highest
    vote entropy.

    probabilities : of each member, class and pixel, (T, C, P)
    names : of the C classes
    """
    consensus, votes = _consensus_and_votes(probabilities)
    unsure, dispute = consensus_entropy(consensus), vote_entropy(votes)  # (P,)
    of_one_mind = torch.where(dispute == 0, unsure, -1)
    pixels = {"all are sure": unsure.argmin(), "all vote alike": of_one_mind.argmax(), "votes differ": dispute.argmax()}
    return committee_cases({title: probabilities[:, :, int(pixel)] for title, pixel in pixels.items()}, names)
