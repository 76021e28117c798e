"""Rules: places by hand, words inside the record that are no orders, names that tell the code."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from polymodal.chat import assistant, user
from polymodal.judge import Case, Rule, Span, Verdict, choice, contains, equals, regex, unjudged
from polymodal.judge.case import invalid
from polymodal.media import Image, Message


def case(*messages: Message, reference: str = "", **fields: Any) -> Case:
    return Case("a|1|", "1", "1", "a", "", messages, reference=reference, **fields)


def reply(text: str, reference: str = "") -> Case:
    return case(user("?"), assistant(text), reference=reference)


def test_contains_finds_every_place_in_what_the_model_said() -> None:
    talk = case(user("say Zorb"), assistant("no"), user("Zorb!"), assistant("Fine: ZORB, zorb."))
    found = contains("zorb", score="defect")(talk, seed=0)
    assert found.scores == {"defect": 1.0}
    assert found.evidence == (Span(3, 6, 10), Span(3, 12, 16))
    assert contains("zorb", role="user")(talk, seed=0).evidence[0] == Span(0, 4, 8)
    assert contains("blue", "green")(talk, seed=0).scores == {"contains": 0.0}


def test_contains_looks_for_the_reference_where_no_word_is_given() -> None:
    assert contains()(reply("it is x.(y)", "X.(Y)"), seed=0).scores == {"contains": 1.0}
    assert contains()(reply("it is"), seed=0).reason == "missing_tag"


def test_regex_finds_every_place() -> None:
    found = regex(r"\b\d{4}\b", score="code")(reply("1234 and 12345 and 9876"), seed=0)
    assert found.scores == {"code": 1.0}
    assert found.evidence == (Span(1, 0, 4), Span(1, 19, 23))
    with pytest.raises(re.error):
        regex("(")


@pytest.mark.parametrize(
    ("text", "reference", "value"),
    [("Paris.", "paris", 1.0), (" PARIS ", "Paris", 1.0), ("Paris, France", "Paris", 0.0)],
)
def test_equals(text: str, reference: str, value: float) -> None:
    assert equals()(reply(text, reference), seed=0).scores == {"correct": value}


def test_equals_without_a_reference_or_a_reply_is_invalid() -> None:
    assert equals()(reply("Paris"), seed=0).reason == "missing_tag"
    assert equals()(reply(" . ", "Paris"), seed=0).reason == "no_output"
    assert equals()(case(user("?"), reference="Paris"), seed=0).reason == "no_output"


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("Yes, it is.", 1.0, ""),
        ("NO", 0.0, ""),
        ("yes yes", 1.0, ""),
        ("yes and no", None, "two_labels"),
        ("maybe", None, "missing_tag"),
        ("nothing yesterday", None, "missing_tag"),
        ("not sure at all", 0.0, ""),
        ("  ", None, "no_output"),
    ],
)
def test_choice(text: str, value: float | None, reason: str) -> None:
    found = choice(["yes", "no", "not sure"])(reply(text, "Yes"), seed=0)
    assert found.scores == ({} if value is None else {"correct": value})
    assert found.reason == reason


def test_choice_wants_two_options() -> None:
    with pytest.raises(ValueError, match="two options"):
        choice(["yes", "Yes."])


def test_a_rule_is_any_function_of_a_case() -> None:
    rule = Rule("turns", lambda case: {"turns": len(case.messages)})
    assert rule(reply("x"), seed=0) == Verdict({"turns": 2.0}, judge=rule.name)
    looks = Rule("looks", lambda case: {"width": case.messages[0].parts[0].size()[0]})  # type: ignore[union-attr]
    assert looks(case(user(Image(Path("not/there.png")))), seed=0).reason == "no_output"
    assert looks(case(error="over_budget"), seed=0).reason == "over_budget"


def counting(word: str) -> Any:
    return lambda case: {"n": sum(word in str(m) for m in case.messages)}


def holding(thing: object) -> Any:
    return lambda case: {"n": float(thing is None)}


def test_the_name_tells_the_code_and_what_it_closes_over() -> None:
    assert Rule("n", counting("a")).name == Rule("n", counting("a")).name
    names = {Rule("n", counting("a")).name, Rule("n", counting("b")).name, Rule("m", counting("a")).name}
    names |= {Rule("n", counting("a"), "1").name, Rule("n", counting("a"), "2").name}
    assert len(names) == 5
    assert (
        len({contains("a").name, contains("b").name, contains("a", role="user").name, regex("a").name}) == 4
    )
    for untold in (holding(object()), partial(counting, "a"), len):
        with pytest.raises(ValueError, match="give a version"):
            Rule("n", untold)


def test_a_verdict_is_valid_with_scores_or_invalid_with_a_reason() -> None:
    with pytest.raises(ValueError, match="invalid one has a reason"):
        Verdict({"x": 1}, valid=False, reason="timeout")
    with pytest.raises(ValueError, match="no reason"):
        Verdict({"x": 1}, reason="timeout")
    assert unjudged(reply("x"), "j") is None
    assert unjudged(case(error="timeout"), "j") == invalid("timeout", "j", "timeout")
