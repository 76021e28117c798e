"""Fifteen kinds of answer: one form for people and models, everything else refused by name."""

import json
from contextlib import suppress
from typing import Any

import jsonschema
import pytest

from polymodal.judge.question import KINDS, Level, Question, number

STEPS = tuple(Level(float(i), str(i)) for i in range(1, 6))
OPTIONS = tuple(Level(name, name.title()) for name in ("cat", "dog", "owl"))
YES = (Level(0.0, "no"), Level(1.0, "yes"))


def asked(kind: str, **fields: Any) -> Question:
    levels: Any = ()
    if kind in ("likert", "ordinal"):
        levels = STEPS
    elif kind in ("choice", "multi", "rank", "best_worst"):
        levels = OPTIONS
    elif kind == "binary":
        levels = YES
    ends = {"low": 0.0, "high": 10.0} if kind == "slider" else {}
    return Question(**{"id": "q", "text": "?", "kind": kind, "levels": levels, **ends, **fields})


RIGHT: list[tuple[str, Any, Any]] = [
    ("likert", "3", 3),
    ("ordinal", 5.0, 5),
    ("binary", True, 1),
    ("binary", " 0 ", 0),
    ("choice", "dog", "dog"),
    ("multi", ["owl", "cat", "owl"], ["cat", "owl"]),
    ("multi", [], []),
    ("slider", "2.50", 2.5),
    ("number", "-1.5e3", -1500),
    ("probability", 0.25, 0.25),
    ("text", "<b>π</b>\0", "<b>π</b>"),
    ("pair", "Both bad", "both_bad"),
    ("rank", ("owl", "cat", "dog"), ["owl", "cat", "dog"]),
    ("best_worst", {"best": "cat", "worst": "owl"}, {"best": "cat", "worst": "owl"}),
    ("span", [{"turn": 1, "start": 0, "end": "4"}], [{"turn": 1, "start": 0, "end": 4}]),
    ("interval", [{"start": 0, "end": 1.5}], [{"start": 0.0, "end": 1.5}]),
    ("region", [{"shape": "point", "x": 0.5, "y": 1}], [{"shape": "point", "x": 0.5, "y": 1.0}]),
    (
        "region",
        [{"shape": "box", "x": 0, "y": 0, "width": 0.5, "height": 1}],
        [{"shape": "box", "x": 0.0, "y": 0.0, "width": 0.5, "height": 1.0}],
    ),
]


@pytest.mark.parametrize(("kind", "given", "kept"), RIGHT)
def test_a_right_answer_has_one_form_that_its_schema_accepts(kind: str, given: Any, kept: Any) -> None:
    question = asked(kind)
    found = question.validate(given)
    assert json.dumps(found) == json.dumps(kept)
    assert question.validate(found) == found
    assert question.validate(json.loads(json.dumps(found))) == found
    jsonschema.Draft202012Validator.check_schema(question.schema)
    jsonschema.validate(found, question.schema)


def test_every_kind_is_tried() -> None:
    assert {kind for kind, _, _ in RIGHT} == set(KINDS)


WRONG: list[tuple[str, Any, str]] = [
    ("likert", 6, "one of 1, 2, 3, 4, 5"),
    ("likert", "maybe", "a number"),
    ("likert", True, "a number"),
    ("likert", [3, 4], "a number"),
    ("ordinal", 2.5, "one of"),
    ("binary", 2, "one of 0, 1"),
    ("binary", "1_0", "a number"),
    ("choice", "cow", "one of cat, dog, owl"),
    ("choice", ["cat"], "one of"),
    ("multi", "cat", "a list"),
    ("multi", ["cow"], "one of"),
    ("multi", ["cat"] * 201, "at most 200"),
    ("slider", 11, "from 0 to 10"),
    ("number", "nan", "a number"),
    ("number", float("inf"), "a number"),
    ("probability", 1.2, "from 0 to 1"),
    ("probability", "80%", "a number"),
    ("text", 3, "text is needed"),
    ("text", "x" * 20_001, "at most 20000"),
    ("pair", "c", "one of a, b, tie"),
    ("pair", {}, "one of a, b, tie"),
    ("rank", ["cat", "dog"], "each of cat, dog, owl"),
    ("rank", ["cat", "dog", "dog"], "each of"),
    ("best_worst", {"best": "cat", "worst": "cat"}, "not the worst"),
    ("best_worst", {"best": "cat"}, "fields best, worst"),
    ("span", [{"turn": 0, "start": 4, "end": 4}], "later one"),
    ("span", [{"turn": -1, "start": 0, "end": 4}], "later one"),
    ("span", [{"turn": 0, "start": 0, "end": 4, "label": "x"}], "no labels"),
    ("span", [{"turn": 0, "start": 0, "end": 4, "on": "x"}], "fields"),
    ("interval", [{"start": 2, "end": 1}], "later one"),
    ("region", [{"shape": "circle", "x": 0, "y": 0}], "a shape of"),
    ("region", ["point"], "a shape of"),
    ("region", [{"shape": "point", "x": 1.5, "y": 0}], "shares"),
    ("region", [{"shape": "box", "x": 0.8, "y": 0, "width": 0.5, "height": 1}], "shares"),
    ("region", [{"shape": "box", "x": 0, "y": 0, "width": 0, "height": 1}], "shares"),
]


@pytest.mark.parametrize(("kind", "given", "said"), WRONG)
def test_a_wrong_answer_is_refused_by_name(kind: str, given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^q: .*{said}"):
        asked(kind).validate(given)


def test_a_rank_or_a_best_without_options_is_over_the_cases_shown() -> None:
    assert asked("rank", levels=()).validate(["b", "a", "c"]) == ["b", "a", "c"]
    assert asked("best_worst", levels=()).numbers({"best": "c", "worst": "a"}) == {"q.a": -1, "q.c": 1}
    for wrong in (["a", "c"], ["a"], [1, 2], ["a", "A"]):
        with pytest.raises(ValueError):
            asked("rank", levels=()).validate(wrong)


def test_labels_of_marks_and_shapes_of_regions() -> None:
    found = asked("span", levels=OPTIONS).validate([{"turn": 0, "start": 1, "end": 2, "label": "owl"}])
    jsonschema.validate(found, asked("span", levels=OPTIONS).schema)
    assert found[0]["label"] == "owl"
    point = asked("region", levels=(Level("point", ""),))
    with pytest.raises(ValueError, match="a shape of point is"):
        point.validate([{"shape": "box", "x": 0, "y": 0, "width": 1, "height": 1}])
    assert point.schema["items"]["properties"]["shape"] == {"type": "string", "enum": ["point"]}


def test_a_slider_snaps_to_its_steps() -> None:
    assert asked("slider", step=3.0).validate(4.4) == 3
    assert asked("slider", step=3.0).validate(10) == 9
    assert asked("slider", step=0.1).validate(0.3) == 0.3
    whole = Question(id="q", kind="slider", text="?", low=0, high=100, step=1)
    assert whole.validate(42) == 42


@pytest.mark.parametrize(
    ("kind", "answer", "scores"),
    [
        ("likert", 2, {"q": 4.0}),
        ("slider", 2.5, {"q": 7.5}),
        ("probability", 0.25, {"q": 0.75}),
        ("binary", 1, {"q": 0.0}),
        ("choice", "dog", {"q.cat": 0.0, "q.dog": 1.0, "q.owl": 0.0}),
        ("multi", ["cat", "owl"], {"q.cat": 1.0, "q.dog": 0.0, "q.owl": 1.0}),
        ("pair", "a", {"q": 1.0}),
        ("pair", "both_bad", {"q": 0.5}),
        ("rank", ["owl", "cat", "dog"], {"q.owl": 1.0, "q.cat": 2.0, "q.dog": 3.0}),
        ("best_worst", {"best": "cat", "worst": "owl"}, {"q.cat": 1.0, "q.dog": 0.0, "q.owl": -1.0}),
        ("region", [], {"q": 0.0}),
        ("text", "good", {}),
    ],
)
def test_answers_as_scores_reversed_where_there_is_a_scale(
    kind: str, answer: Any, scores: dict[str, float]
) -> None:
    assert asked(kind, reverse=True).numbers(answer) == scores


def test_number_reads_plain_writing_only() -> None:
    assert number(" .5 ") == 0.5
    assert number("٣") == 3  # a keyboard of another script
    for wrong in ("0x10", "1,5", "", None):
        with pytest.raises(ValueError):
            number(wrong)


def deep(n: int) -> Any:
    found: Any = []
    for _ in range(n):
        found = [found]
    return found


ODD = [
    None, True, 10**400, -0.0, 1e308, "1e999", "\ud800", b"1", [], {}, [[]], [None], object(), deep(500),
    {"best": [], "worst": {}}, {"shape": []}, [{"shape": ["point"]}], {1: 2}, range(10**9),
    [{"turn": 10**400, "start": 0, "end": 1}], [{"turn": 0, "start": [], "end": {}}],
    [{"shape": "box", "x": 0, "y": 0, "width": 1e-300, "height": 1}], [{"start": 0, "end": 1, "label": []}],
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_sent_is_an_answer_or_a_value_error(kind: str) -> None:
    question = asked(kind)
    for value in ODD:
        found = None
        with suppress(ValueError):
            found = question.validate(value)
        json.dumps(found, allow_nan=False)
