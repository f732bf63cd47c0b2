"""The keys of the YAML file that describes a folder of images and labels, and what is allowed for each.

A module of its own, imported when such a file is read, because pydantic takes a while to load.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from alutils.datasets.base import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD
from alutils.errors import did_you_mean

LabelValue = Annotated[int, Field(ge=0, le=255)]
Colour = Annotated[list[LabelValue], Field(min_length=3, max_length=3)]
Means = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=3, max_length=3)]
Deviations = Annotated[list[Annotated[float, Field(ge=1e-6, le=1)]], Field(min_length=3, max_length=3)]
WORD = r"^[\w-]{1,60}$"


class Split(BaseModel):
    """The two folders of one split, both below `root`. Without a folder of labels, no image has one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    images: str = Field(description="a folder of images")
    labels: str | None = Field(default=None, description="a folder of labels")


class Description(BaseModel):
    """A data set in a folder. Its class k is the k-th entry of `classes`, and has the value k in label files."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(pattern=WORD, description="one word of at most 60 letters, digits, _ and -")
    classes: dict[str, Colour] = Field(
        min_length=1, max_length=255, description="for each label value, from 0 on, a name and [red, green, blue]"
    )
    ignore: list[LabelValue] = Field(default=[IGNORE_INDEX], description="a list of label values, each from 0 to 255")
    labels_by: Literal["value", "colour"] | None = Field(default=None, description="value or colour")
    ignore_colours: list[Colour] | Literal["unknown"] = Field(
        default=[], description="a list of colours, [red, green, blue], or unknown"
    )
    root: str = Field(default=".", description="a folder, absolute or relative to the folder of the YAML file")
    mean: Means = Field(default=[*IMAGENET_MEAN], description="three numbers from 0 to 1")
    std: Deviations = Field(default=[*IMAGENET_STD], description="three numbers above 0, at most 1")
    sequences: list[str] = Field(default=[], description="a list of texts with which the names of filmed images begin")
    rest: str | None = Field(default=None, description="the name of a class")
    splits: dict[str, Split] = Field(
        min_length=1, description="for each split two folders, images and labels, relative to root"
    )

    @field_validator("classes")
    @classmethod
    def _can_be_told_apart(cls, classes: dict[str, list[int]]) -> dict[str, list[int]]:
        """Refuse names that cannot be columns of a table, and two classes of one colour, for no figure shows which."""
        named: dict[tuple[int, ...], str] = {}
        for name, colour in classes.items():
            if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= 60:
                raise ValueError(
                    f"the name {name!r} is not allowed: 1 to 60 printable characters, no space at its ends"
                )
            other = named.setdefault(tuple(colour), name)
            if other != name:
                raise ValueError(f"{other} and {name} have one colour; allowed: another for each class")
        return classes

    @field_validator("splits")
    @classmethod
    def _are_words(cls, splits: dict[str, Split]) -> dict[str, Split]:
        for name in splits:
            if not re.fullmatch(WORD, name):
                raise ValueError(f"the name {name!r} is not allowed: one word of letters, digits, _ and -")
        return splits

    @field_validator("sequences")
    @classmethod
    def _tell_names_apart(cls, sequences: list[str]) -> list[str]:
        for position, one in enumerate(sequences):
            if not one or any(one.startswith(other) for other in [*sequences[:position], *sequences[position + 1 :]]):
                raise ValueError(f"{one!r} is empty or begins like another one; allowed: texts that do not")
        return sequences

    @model_validator(mode="after")
    def _rest_is_a_class(self) -> Self:
        if self.rest is not None and self.rest not in self.classes:
            hint = did_you_mean(self.rest, self.classes)
            raise ValueError(f"rest is {self.rest!r}; {hint}allowed: a class: {', '.join(self.classes)}")
        return self

    @model_validator(mode="after")
    def _no_class_is_void(self) -> Self:
        for value in self.ignore:
            if value < len(self.classes):
                raise ValueError(f"ignore holds {value}, the value of {[*self.classes][value]}; allowed: other values")
        for name, colour in self.classes.items():
            if self.ignore_colours != "unknown" and colour in self.ignore_colours:
                raise ValueError(f"ignore_colours holds {colour}, the colour of {name}; allowed: other colours")
        return self
