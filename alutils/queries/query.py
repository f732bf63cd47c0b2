"""Queries, which say what to label next: the registry, the typed query, and its text form.

A query scores each pixel (or digit), reduces the scores of an image or region to one number, and selects a batch. This
module loads no torch, so that a name is checked at once. `docs/queries.md` explains all queries and modifiers.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from inspect import Parameter, signature
from typing import Any, Self

from alutils.errors import ParameterError, did_you_mean
from alutils.queries.own import check_statistics, file_and_name, is_score, run_file, split_text
from alutils.queries.parts import (
    MODIFIERS,
    Diverse,
    Dropout,
    Ensemble,
    Interior,
    Mixture,
    PerImage,
    Power,
    Sum,
    Superpixels,
    Top,
    Windows,
    form_of,
    read_part,
    text_of,
    words_of,
)

TOP_K = "top_k"


@dataclass(frozen=True)
class Entry:
    """What the name of a query stands for.

    score : the name of a function in `scores.SCORES`, or a function of committee statistics; `None`: no committee is
        asked, and each image's score is drawn at random
    is_plain : the score is of one network's prediction without dropout, unless a modifier asks a committee
    selection : the name of a function in `selections.SELECTIONS`, or such a function; one other than the k highest
        scores allows no modifiers
    formula, source, cost : text for `docs/queries.md`
    """

    score: str | Callable[..., Any] | None = None
    is_plain: bool = False
    selection: str | Callable[..., Any] = TOP_K
    formula: str = ""
    source: str = ""
    cost: str = ""


ASKING = "forward, T decodes"
QUERIES: dict[str, Entry] = {
    "random": Entry(formula="uniform", cost="none"),
    "strided_random": Entry(
        selection="strided",
        formula="every (N / k)-th image from a random one on: random choice for video",
        source="Mittal et al. 2023",
        cost="none",
    ),
    "consensus_entropy": Entry(
        "consensus_entropy", formula="H(p)", source="the thesis; McCallum & Nigam 1998", cost=ASKING
    ),
    "vote_entropy": Entry("vote_entropy", formula="H(v)", source="the thesis; Dagan & Engelson 1995", cost=ASKING),
    "bald": Entry(
        "mutual_information",
        formula="H(p) - mean H(p_t): the mutual information, which equals the mean KL(p_t, p)",
        source="Houlsby et al. 2011, Gal et al. 2017; McCallum & Nigam 1998",
        cost=ASKING,
    ),
    "variation_ratio": Entry(
        "variation_ratio", formula="1 - max v", source="Freeman 1965, Gal et al. 2017", cost=ASKING
    ),
    "least_confidence": Entry(
        "least_confidence", is_plain=True, formula="1 - max p", source="Lewis & Gale 1994", cost="forward"
    ),
    "margin": Entry(
        "margin",
        is_plain=True,
        formula="1 - (p of the first class - p of the second)",
        source="Scheffer et al. 2001",
        cost="forward",
    ),
    "entropy": Entry(
        "consensus_entropy", is_plain=True, formula="H(p)", source="Shannon 1948; Settles 2009", cost="forward"
    ),
    "core_set": Entry(
        selection="core_set",
        formula="greedy k-center on the network's embeddings: each image is the farthest from all labelled and chosen",
        source="Sener & Savarese 2018",
        cost="forward over N + K, distances k (N + K) D",
    ),
    "k_means": Entry(
        selection="k_means",
        formula="the images nearest to the centres of k clusters of the network's embeddings",
        source="Zhdanov 2019, without scores",
        cost="forward, k-means of N in k",
    ),
    "badge": Entry(
        selection="badge",
        formula="k-means++ on the gradients of the last layer for the predicted class",
        source="Ash et al. 2020",
        cost="forward, distances k N C D; memory 12 N C D bytes",
    ),
    "drop_query": Entry(
        "variation_ratio",
        selection="drop_query",
        formula="of the half of the images with the highest variation ratio, those nearest to the centres of k"
        " clusters",
        source="Gupte et al. 2024, without scenes",
        cost="forward, T decodes; k-means of N / 2 in k",
    ),
    "typiclust": Entry(
        selection="typiclust",
        formula="the most typical image of the largest clusters without labels",
        source="Hacohen et al. 2022",
        cost="forward over N + K (digits: an autoencoder, once), k-means",
    ),
}


@dataclass(frozen=True)
class Query:
    """A way to choose what to label next; `str` gives its text, for example `margin+balanced+top0.1+power1`.

    name : a key of `QUERIES`, or `my_scores.py:my_query` for what is called so in a file of one's own
    balanced : a pixel's score is multiplied by a weight, high if its predicted class is rare among the labels so far
    reduce : how one score is made from an image's pixels; `None`: their mean
    committee : who is asked; `None`: one network with dropout, or without for a score of a plain prediction
    select : how a batch is chosen by the scores; `None`: the k highest
    regions : what is scored and labelled; `None`: whole images

    Raises `ParameterError` for an unknown name and for parts that do not go together.
    """

    name: str
    balanced: bool = False
    reduce: Sum | Top | Interior | None = None
    committee: Ensemble | Dropout | None = None
    select: Mixture | Power | Diverse | PerImage | None = None
    regions: Windows | Superpixels | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown name, a part of the wrong kind, and parts that do not go together."""
        if place := file_and_name(self.name):
            object.__setattr__(self, "name", f"{place[0]}:{place[1]}")  # ./a.py is a.py
        self._check_kinds()
        entry = _entry_at_sight(self.name)
        if entry:
            self._check_together(entry)

    def __str__(self) -> str:
        """Return the canonical text."""
        return "+".join([self.name, *map(text_of, self.parts)])

    @property
    def parts(self) -> list[Any]:
        """Return the parts that are given, in the order of the canonical text."""
        given = [getattr(self, field.name) for field in fields(self)[1:]]
        return [part for part in given if part is not None and part is not False]

    @property
    def word(self) -> str:
        """Return the text for a run's name, in which `my_scores.py:my_query` is `my_scores.my_query`."""
        place = file_and_name(self.name)
        name = f"{place[0].stem}.{place[1]}" if place else self.name
        return "+".join([name, *map(text_of, self.parts)])

    @cached_property
    def entry(self) -> Entry:
        """What the name stands for; a file of one's own is run for it, once."""
        place = file_and_name(self.name)
        if not place:
            return QUERIES[self.name]
        found = run_file(*place)
        if not isinstance(found, Entry) and not callable(found):
            allowed = "a function of committee statistics, or an Entry"
            raise ParameterError(f"{self.name} is of type {type(found).__name__}; allowed: {allowed}")
        entry = found if isinstance(found, Entry) else Entry(found)
        if callable(entry.score):
            parameters = signature(entry.score).parameters.values()
            check_statistics(self.name, (one.name for one in parameters if one.default is Parameter.empty))
        return entry

    def loaded(self) -> Self:
        """Return the query after running its file, if it is in a file of one's own; the file's entry is checked."""
        self._check_together(self.entry)
        return self

    @property
    def asks_committee(self) -> bool:
        """Return whether the score comes from a committee; otherwise it is drawn at random."""
        return self.entry.score is not None

    @property
    def networks(self) -> int:
        """Return how many networks are trained and asked."""
        return self.committee.networks if isinstance(self.committee, Ensemble) else 1

    @property
    def has_dropout(self) -> bool:
        """Return whether the network is asked with dropout, as a committee of several members."""
        return isinstance(self.committee, Dropout) or (self.committee is None and not self.entry.is_plain)

    def _check_kinds(self) -> None:
        for field in fields(self)[1:]:
            part = getattr(self, field.name)
            allowed = [type(MODIFIERS[word].example) for word in words_of(field.name)]
            if part != field.default and type(part) not in allowed:
                names = ", ".join(one.__name__ for one in allowed)
                raise ParameterError(f"{field.name} is {part!r}; allowed: {names}")

    def _check_together(self, entry: Entry) -> None:
        if entry.selection != TOP_K and self.parts:
            without = f"{self.name} without {text_of(self.parts[0])}"
            raise ParameterError(f"{self.name} has a selection of its own; allowed: {without}")
        if entry.score is None:
            for part in (self.balanced or None, self.reduce, self.committee):
                if part is not None:
                    allowed = ", ".join(words_of("select", "regions"))
                    raise ParameterError(f"{self.name} has no score for {text_of(part)} to change; allowed: {allowed}")
        if self.regions is not None:
            self._check_regions(text_of(self.regions))
        elif isinstance(self.select, PerImage):
            allowed = ", ".join(map(form_of, words_of("regions")))
            raise ParameterError(f"{text_of(self.select)} chooses regions; allowed with: {allowed}")

    def _check_regions(self, regions: str) -> None:
        """Refuse parts that are defined for whole images only."""
        if isinstance(self.select, Mixture | Diverse):
            which = f"{text_of(self.select)} chooses whole images only"
            raise ParameterError(f"{which}; allowed with {regions}: {form_of('power')}, {form_of('perimage')}")
        if isinstance(self.reduce, Interior):
            which = f"{text_of(self.reduce)} reduces whole images only"
            raise ParameterError(f"{which}; allowed with {regions}: sum, {form_of('top')}, or no reduction")


def _entry_at_sight(name: str) -> Entry | None:
    """Return what a name stands for; `None` if a file of one's own has to be run to know it."""
    if place := file_and_name(name):
        return Entry(name) if is_score(*place) else None
    if name not in QUERIES:
        raise ParameterError(_unknown(name, name))
    return QUERIES[name]


def parse_query(text: str, others: Sequence[str] = ()) -> Query:
    """Return the query of a text: a name, then modifiers in any order, each after a `+`.

    `vote_entropy+ensemble5` asks five networks that are trained separately, instead of one with dropout;
    `bald+power1+top0.1` is `bald+top0.1+power1`. Raises `ParameterError`, one line that names the part that is wrong;
    for an unknown name it also lists `others`, words that the caller allows as well.
    """
    name, modifiers = split_text(text)
    if name not in QUERIES and not file_and_name(name):
        raise ParameterError(_unknown(text, name, others))
    try:
        return Query(name, **_read_parts(modifiers))
    except ParameterError as error:
        raise ParameterError(f"query is {text!r}; {error}") from None


def _read_parts(modifiers: list[str]) -> dict[str, Any]:
    """Return the parts by the field of `Query` that each one fills; two parts of one field are refused."""
    parts: dict[str, Any] = {}
    for modifier in modifiers:
        field, part = read_part(modifier)
        if field in parts:
            both = f"{text_of(parts[field])} and {text_of(part)} are both given"
            raise ParameterError(f"{both}; allowed: one of {', '.join(words_of(field))}")
        parts[field] = part
    return parts


def _unknown(text: str, name: str, others: Sequence[str] = ()) -> str:
    known = [*others, *QUERIES]
    new_form = _new_form(text)
    meant = f"did you mean {new_form}? " if new_form else did_you_mean(name, known, after=text[len(name) :])
    return f"query is {text!r}; {meant}allowed: {', '.join(known)}, or FILE.py:NAME"


def _new_form(text: str) -> str | None:
    """Return the present form of a text with underscores before its modifiers: `bald_power_1` means `bald+power1`."""
    name = max((name for name in QUERIES if text.startswith(f"{name}_")), key=len, default="")
    modifiers = re.sub(r"_(?=[a-z])", "+", text[len(name) :])
    modifiers = re.sub(r"(?<=[a-z])_(?=[0-9.])", "", modifiers).replace("_", "-")
    try:
        return str(parse_query(name + modifiers)) if name else None
    except ParameterError:
        return None


def queries_table() -> str:
    """Return the registry as a table in Markdown, one row per query."""
    rows: list[tuple[str, ...]] = [("query", "score", "formula", "source", "cost")]
    for name, entry in QUERIES.items():
        asked = "none" if entry.score is None else "plain prediction" if entry.is_plain else "committee"
        rows.append((f"`{name}`", asked, entry.formula, entry.source, entry.cost))
    return _markdown(rows)


def modifiers_table() -> str:
    """Return the modifiers as a table in Markdown, one row per modifier."""
    rows: list[tuple[str, ...]] = [("modifier", "example", "in Python", "what it does", "source", "cost")]
    for word, modifier in MODIFIERS.items():
        example = f"`+{text_of(modifier.example)}`", f"`{modifier.field}={modifier.example!r}`"
        rows.append((f"`+{form_of(word)}`", *example, modifier.does, modifier.source, modifier.cost))
    return _markdown(rows)


def _markdown(rows: list[tuple[str, ...]]) -> str:
    lines = [rows[0], ("---",) * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
