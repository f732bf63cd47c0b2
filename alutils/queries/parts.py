"""The typed parts of a query, and the one table that reads them, writes them and explains them."""

import re
from dataclasses import asdict, dataclass
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from alutils.errors import ParameterError, check_range, did_you_mean


@dataclass(frozen=True)
class Sum:
    """Reduction: an image's score is the sum over its pixels."""


@dataclass(frozen=True)
class Top:
    """Reduction: an image's score is the mean over the `share` of its pixels (0 to 1) that score highest."""

    share: float

    def __post_init__(self) -> None:
        """Refuse a share that is not above 0 and at most 1."""
        _check_number("share of top", self.share, 1e-6, 1)


@dataclass(frozen=True)
class Interior:
    """Reduction: the mean over the pixels farther than `width` pixels from any other predicted class."""

    width: int

    def __post_init__(self) -> None:
        """Refuse a width below 1."""
        _check_whole("width of interior", self.width, 1, 1000)


@dataclass(frozen=True)
class Ensemble:
    """Committee: so many `networks`, trained separately and asked without dropout."""

    networks: int

    def __post_init__(self) -> None:
        """Refuse fewer than two networks."""
        _check_whole("networks of ensemble", self.networks, 2, 1000)


@dataclass(frozen=True)
class Dropout:
    """Committee: one network asked with this dropout `rate`, instead of the config's `committee_dropout`."""

    rate: float

    def __post_init__(self) -> None:
        """Refuse a rate that leaves all members equal, or almost nothing of the network."""
        _check_number("rate of dropout", self.rate, 0.01, 0.99)


@dataclass(frozen=True)
class Mixture:
    """Selection: shares of a batch, which sum to 1: from each cluster in turn, the highest scores, at random."""

    by_cluster: float
    highest: float
    random: float

    def __post_init__(self) -> None:
        """Refuse shares that are not between 0 and 1, or do not sum to 1."""
        for name, share in asdict(self).items():
            _check_number(f"{name} of mixture", share, 0, 1)
        total = self.by_cluster + self.highest + self.random
        if abs(total - 1) > 1e-9:
            raise ParameterError(f"shares of mixture sum to {total:g}; allowed: 1")


@dataclass(frozen=True)
class Power:
    """Selection: drawn with probabilities in proportion to score ** `beta`."""

    beta: float

    def __post_init__(self) -> None:
        """Refuse an exponent that is not above 0."""
        _check_number("beta of power", self.beta, 1e-6, 1000)


@dataclass(frozen=True)
class Diverse:
    """Selection: of the `factor` times k highest scores, the images nearest to the centres of k clusters."""

    factor: float

    def __post_init__(self) -> None:
        """Refuse a factor below 1."""
        _check_number("factor of diverse", self.factor, 1, 1e6)


@dataclass(frozen=True)
class PerImage:
    """Selection: the highest scores, but at most `regions` of an image while others can fill the batch."""

    regions: int

    def __post_init__(self) -> None:
        """Refuse a number below 1."""
        _check_whole("regions of perimage", self.regions, 1, 2**16)


@dataclass(frozen=True)
class Windows:
    """Regions: each scene is divided into a grid of `rows` x `columns` windows."""

    rows: int
    columns: int

    def __post_init__(self) -> None:
        """Refuse an empty grid, and one of more windows than 16 bits can number."""
        _check_whole("rows of windows", self.rows, 1, 2**16)
        _check_whole("columns of windows", self.columns, 1, 2**16)
        check_range("number of windows", self.rows * self.columns, 1, 2**16)


@dataclass(frozen=True)
class Superpixels:
    """Regions: each scene is divided into about `count` superpixels."""

    count: int

    def __post_init__(self) -> None:
        """Refuse fewer than two superpixels, and more than 16 bits can number."""
        _check_whole("count of superpixels", self.count, 2, 2**16)


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ParameterError(f"{name} is {value!r}; allowed: a number from {low:g} to {high:g}")
    check_range(name, float(value), low, high)


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ParameterError(f"{name} is {value!r}; allowed: a whole number from {low} to {high}")
    check_range(name, int(value), low, high)


@dataclass(frozen=True)
class Modifier:
    """One row of the table of modifiers.

    field : the argument of `Query` that the part is given as
    numbers : the text after the modifier's word, with the part's fields in braces
    example : a part of this kind
    does, source, cost : sentences for `docs/queries.md`
    """

    field: str
    numbers: str
    example: Any
    does: str
    source: str = ""
    cost: str = "none"


MODIFIERS: dict[str, Modifier] = {
    "balanced": Modifier(
        "balanced",
        "",
        True,
        "each pixel's score is multiplied by 1 / ln(1.02 + share); the share is that of its predicted class among the"
        " labels so far",
        "the weights of Paszke et al. 2016; Cai et al. 2021 use similar ones",
    ),
    "sum": Modifier("reduce", "", Sum(), "an image's score is the sum over its pixels", "the thesis's figure"),
    "top": Modifier(
        "reduce",
        "{share}",
        Top(0.1),
        "an image's score is the mean over this share of its pixels, those that score highest; small objects count",
        cost="a partial sort",
    ),
    "interior": Modifier(
        "reduce",
        "{width}",
        Interior(3),
        "an image's score is the mean over pixels farther than this width from another predicted class; outlines score"
        " high in every image",
        cost="two poolings",
    ),
    "ensemble": Modifier(
        "committee",
        "{networks}",
        Ensemble(5),
        "the committee is so many networks, trained separately and asked without dropout",
        "Lakshminarayanan et al. 2017",
        "one training and one forward per network",
    ),
    "dropout": Modifier(
        "committee",
        "{rate}",
        Dropout(0.9),
        "the committee is one network, asked with this dropout rate; results show it, unlike `committee_dropout`",
        "the thesis asks with 0.9",
    ),
    "mixture": Modifier(
        "select",
        "{by_cluster}-{highest}-{random}",
        Mixture(0.6, 0.2, 0.2),
        "three shares of a batch: the highest scores of each of 20 clusters in turn, the highest of all others, random"
        " images",
        "the thesis",
        "features, k-means",
    ),
    "power": Modifier(
        "select",
        "{beta}",
        Power(1),
        "images are drawn with probabilities in proportion to score^beta; `bald+power1` is PowerBALD",
        "Kirsch et al. 2023",
    ),
    "diverse": Modifier(
        "select",
        "{factor}",
        Diverse(3),
        "of the factor x k highest scores, the images nearest to the centres of k clusters; scores are the weights",
        "Zhdanov 2019",
        "forward over factor x k images, k-means",
    ),
    "perimage": Modifier(
        "select",
        "{regions}",
        PerImage(1),
        "the highest scores, but at most so many regions of an image in a batch; more only if it is not full then",
    ),
    "windows": Modifier(
        "regions",
        "{rows}x{columns}",
        Windows(8, 8),
        "the windows of a grid are scored and labelled instead of images",
        "Mackowiak et al. 2018 (CEREALS)",
    ),
    "superpixels": Modifier(
        "regions",
        "{count}",
        Superpixels(50),
        "about so many superpixels per image (SLIC) are scored and labelled instead of images",
        "Cai et al. 2021; Achanta et al. 2012",
        "superpixels, computed once",
    ),
}
NUMBER = r"[0-9]+\.?[0-9]*|\.[0-9]+"


def form_of(word: str) -> str:
    """Return how a modifier is written, for example `mixture<by_cluster>-<highest>-<random>`."""
    return word + re.sub(r"\{(\w+)\}", r"<\1>", MODIFIERS[word].numbers)


def words_of(*fields: str) -> list[str]:
    """Return the words of the modifiers that fill one of these fields of `Query`."""
    return [word for word, modifier in MODIFIERS.items() if modifier.field in fields]


def text_of(part: Any) -> str:
    """Return the canonical text of a part: `Top(0.10)` is `top0.1`, `Power(1.0)` is `power1`."""
    word = next(word for word, modifier in MODIFIERS.items() if type(modifier.example) is type(part))
    numbers = {} if part is True else {name: _canonical(value) for name, value in asdict(part).items()}
    return word + MODIFIERS[word].numbers.format(**numbers)


def _canonical(number: float) -> str:
    return f"{Decimal(repr(float(number))).normalize():f}"


def read_part(text: str) -> tuple[str, Any]:
    """Return the field of `Query` that a modifier's text fills, and the part that it stands for.

    Raises `ParameterError` for an unknown word, and for other numbers than the word is followed by.
    """
    word = next((word for word in MODIFIERS if text.startswith(word)), None)
    if word is None:
        given = re.split("[^a-z]", text)[0]
        meant = did_you_mean(given, MODIFIERS, after=text[len(given) :])
        raise ParameterError(f"{text!r} is no modifier; {meant}allowed: {', '.join(MODIFIERS)}")
    modifier = MODIFIERS[word]
    pattern = re.sub(r"\{(\w+)\}", rf"(?P<\1>{NUMBER})", modifier.numbers)
    found = re.fullmatch(pattern, text.removeprefix(word))
    if not found:
        example = text_of(modifier.example)
        such_as = f", such as {example}" if modifier.numbers else ""
        raise ParameterError(f"{text!r} is no modifier; allowed: {form_of(word)}{such_as}")
    if modifier.example is True:
        return modifier.field, True
    return modifier.field, type(modifier.example)(**{name: _number(value) for name, value in found.groupdict().items()})


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value
