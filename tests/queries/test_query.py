"""Queries as text and in Python."""

import subprocess
import sys
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alutils.errors import ParameterError
from alutils.paths import ROOT
from alutils.queries.committee import STATISTICS, committee_statistics
from alutils.queries.parts import (
    MODIFIERS,
    Diverse,
    Ensemble,
    Interior,
    Mixture,
    Power,
    Sum,
    Superpixels,
    Top,
    Windows,
    form_of,
)
from alutils.queries.query import QUERIES, Query, modifiers_table, parse_query, queries_table
from alutils.queries.scores import consensus_entropy, vote_entropy


def test_spaces_around_a_plus_change_nothing():
    assert parse_query("margin + balanced +top0.1") == parse_query("margin+balanced+top0.1")


def test_two_members_who_disagree_by_hand():
    members = [torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.1, 0.9]]).log()]
    stats = committee_statistics(members, STATISTICS)
    assert consensus_entropy(stats["mean_probability"]).item() == pytest.approx(1)
    assert vote_entropy(stats["vote_share"]).item() == pytest.approx(1)


def test_vote_entropy_of_three_to_one_by_hand():
    yes, no = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    stats = committee_statistics([yes, yes, no, yes], STATISTICS)
    assert vote_entropy(stats["vote_share"]).item() == pytest.approx(0.8112781, abs=1e-6)


def test_members_who_agree_on_a_class_have_no_vote_entropy_but_some_consensus_entropy():
    stats = committee_statistics([torch.tensor([[0.6, 0.4]]).log()] * 3, STATISTICS)
    assert vote_entropy(stats["vote_share"]).item() == 0
    assert consensus_entropy(stats["mean_probability"]).item() == pytest.approx(0.9709506, abs=1e-6)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """Return any query that is possible."""
    entry = QUERIES[name := draw(st.sampled_from([*QUERIES]))]
    if entry.selection != "top_k":
        return Query(name)
    parts: dict[str, Any] = {"select": draw(st.none() | SELECTIONS), "regions": draw(st.none() | REGIONS)}
    if entry.score:
        parts |= {"balanced": draw(st.booleans()), "reduce": draw(st.none() | REDUCTIONS)}
        parts |= {"committee": draw(st.none() | st.builds(Ensemble, st.integers(2, 1000)))}
    if parts["regions"]:
        parts["select"] = parts["select"] if isinstance(parts["select"], Power) else None
        parts["reduce"] = None if isinstance(parts.get("reduce"), Interior) else parts.get("reduce")
    return Query(name, **parts)


@st.composite
def mixtures(draw: st.DrawFn) -> Mixture:
    by_cluster = draw(st.floats(0, 1))
    highest = draw(st.floats(0, 1 - by_cluster))
    return Mixture(by_cluster, highest, max(0.0, 1 - by_cluster - highest))


REDUCTIONS = st.just(Sum()) | st.builds(Top, st.floats(1e-6, 1)) | st.builds(Interior, st.integers(1, 1000))
SELECTIONS = mixtures() | st.builds(Power, st.floats(1e-6, 1000)) | st.builds(Diverse, st.floats(1, 1e6))
REGIONS = st.builds(Windows, *[st.integers(1, 256)] * 2) | st.builds(Superpixels, st.integers(2, 2**16))


@given(queries(), st.randoms())
def test_a_text_stands_for_its_query_in_any_order(query: Query, random: Random):
    assert parse_query(str(query)) == query
    name, *modifiers = str(query).split("+")
    random.shuffle(modifiers)
    assert str(parse_query("+".join([name, *modifiers]))) == str(query)


TEXTS = [
    (Query("margin", balanced=True, reduce=Top(0.1), select=Power(1)), "margin+balanced+top0.1+power1"),
    (Query("vote_entropy", select=Mixture(0.6, 0.2, 0.2)), "vote_entropy+mixture0.6-0.2-0.2"),
    (Query("entropy", regions=Superpixels(50)), "entropy+superpixels50"),
    (Query("random", regions=Windows(8, 16)), "random+windows8x16"),
    (Query("consensus_entropy", committee=Ensemble(5)), "consensus_entropy+ensemble5"),
    (Query("bald", reduce=Sum(), select=Diverse(3)), "bald+sum+diverse3"),
    (Query("bald", reduce=Interior(3)), "bald+interior3"),
    (Query("core_set"), "core_set"),
]


@pytest.mark.parametrize(("query", "text"), TEXTS)
def test_a_query_and_its_text(query: Query, text: str):
    assert str(query) == query.word == text
    assert parse_query(text) == query


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("bald+power1.0+top0.10", "bald+top0.1+power1"),
        ("margin+ensemble5.0+sum+balanced", "margin+balanced+sum+ensemble5"),
        ("bald+power.5+windows02x3", "bald+power0.5+windows2x3"),
        ("bald+top0.000001", "bald+top0.000001"),
    ],
)
def test_numbers_and_order_are_canonical(text: str, canonical: str):
    assert str(parse_query(text)) == canonical


BAD = [
    ("entropie", "^query is 'entropie'; did you mean entropy\\? allowed: random, strided_random, .* or FILE.py:NAME$"),
    ("entropie+top0.1", "did you mean entropy\\+top0.1\\?"),
    ("bald_top_0.1", "did you mean bald\\+top0.1\\?"),
    ("vote_entropy_balanced_mixture_0.6_0.2_0.2", "did you mean vote_entropy\\+balanced\\+mixture0.6-0.2-0.2\\?"),
    ("entropy_windows_8x8", "did you mean entropy\\+windows8x8\\?"),
    ("mean_kl", "^query is 'mean_kl'; allowed: random"),
    ("", "is ''; allowed: random"),
    ("bald+", "'' is no modifier; allowed: balanced, sum, top"),
    (
        "bald+tpo0.1",
        "^query is 'bald\\+tpo0.1'; 'tpo0.1' is no modifier; did you mean top0.1\\? allowed: balanced, sum, top",
    ),
    ("bald+top", "'top' is no modifier; allowed: top<share>, such as top0.1$"),
    ("bald+top1e-3", "'top1e-3' is no modifier; allowed: top<share>, such as top0.1$"),
    ("bald+mixture0.5-0.5", "allowed: mixture<by_cluster>-<highest>-<random>, such as mixture0.6-0.2-0.2$"),
    ("bald+sum2", "'sum2' is no modifier; allowed: sum$"),
    ("bald+sum+top0.1", "sum and top0.1 are both given; allowed: one of sum, top, interior$"),
    ("bald+top0.1+top0.10", "top0.1 and top0.1 are both given; allowed: one of sum, top, interior$"),
    ("bald+balanced+balanced", "balanced and balanced are both given; allowed: one of balanced$"),
    ("core_set+power1", "core_set has a selection of its own; allowed: core_set without power1$"),
    (
        "random+balanced",
        "random has no score for balanced to change; allowed: mixture, power, diverse, perimage, windows",
    ),
    ("random+sum", "random has no score for sum to change"),
    ("random+ensemble2", "random has no score for ensemble2 to change"),
    ("bald+diverse3+windows2x2", "diverse3 chooses whole images only; allowed with windows2x2: power<beta>, perimage<"),
    ("random+mixture0-0-1+windows2x2", "mixture0-0-1 chooses whole images only"),
    ("bald+interior1+windows2x2", "interior1 reduces whole images only; allowed with windows2x2: sum, top<share>, or"),
    ("bald+power0", "beta of power is 0; allowed: 1e-06 to 1000$"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_text_that_cannot_be_is_one_line(text: str, message: str):
    with pytest.raises(ParameterError, match=message) as caught:
        parse_query(text)
    assert "\n" not in str(caught.value)


def test_other_words_are_named_where_a_caller_allows_them():
    with pytest.raises(ParameterError, match=r"^query is 'best'; allowed: all, random"):
        parse_query("best", others=["all"])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"reduce": Power(1)}, r"^reduce is Power\(beta=1\); allowed: Sum, Top, Interior$"),
        ({"balanced": 1.5}, r"^balanced is 1.5; allowed: bool$"),
        ({"select": "power1"}, r"^select is 'power1'; allowed: Mixture, Power, Diverse, PerImage$"),
        ({"reduce": Interior(1), "regions": Windows(2, 2)}, "^interior1 reduces whole images only"),
    ],
)
def test_impossible_queries_are_refused_in_python_too(parts: dict[str, Any], message: str):
    with pytest.raises(ParameterError, match=message):
        Query("bald", **parts)


def test_who_is_asked():
    asked = {text: parse_query(text) for text in ("random", "bald", "margin", "margin+ensemble3", "bald+ensemble2")}
    assert [text for text, query in asked.items() if not query.asks_committee] == ["random"]
    assert {text: query.networks for text, query in asked.items()} == dict.fromkeys(asked, 1) | {
        "margin+ensemble3": 3, "bald+ensemble2": 2
    }  # fmt: skip
    assert [text for text, query in asked.items() if query.has_dropout] == ["random", "bald"]


def test_a_name_is_checked_without_torch():
    code = "import sys, alutils.queries.query as q; q.parse_query('bald+top0.1'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "alutils.queries.query" in loaded
    assert not {"torch", "pandas", "sklearn", "scipy"} & {*loaded}


def test_the_page_holds_both_tables():
    page = (ROOT / "docs" / "queries.md").read_text()
    assert queries_table() in page, "run `make figures`"
    assert modifiers_table() in page, "run `make figures`"
    assert [name for name in QUERIES if f"| `{name}` |" not in queries_table()] == []
    assert [word for word in MODIFIERS if f"| `+{form_of(word)}` |" not in modifiers_table()] == []
