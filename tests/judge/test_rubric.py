"""Rubrics from JSON: faults by path and key, what is shown, and scores by hand."""

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from polymodal.judge import json_schema, load_rubric, read_rubric, score
from polymodal.judge.question import KINDS, Level
from polymodal.judge.rubric import problems

TRUST: dict[str, Any] = {
    "id": "trust",
    "version": "1",
    "source": "made up",
    "licence": "CC0-1.0",
    "rater": "person",
    "items": [
        {
            "id": "wary",
            "text": "I am wary.",
            "kind": "likert",
            "levels": 7,
            "family": "trust",
            "reverse": True,
        },
        {"id": "sure", "text": "I am sure.", "kind": "likert", "levels": 7, "family": "trust"},
        {"id": "calm", "text": "I am calm.", "kind": "likert", "levels": 7, "family": "trust", "na": True},
        {"id": "used", "text": "Have you used it?", "kind": "binary"},
        {
            "id": "how",
            "text": "What for?",
            "kind": "multi",
            "levels": ["work", "play"],
            "show_if": {"item": "used", "in": [1]},
        },
        {
            "id": "won",
            "text": "Who won?",
            "kind": "text",
            "required": False,
            "show_if": {"item": "how", "in": ["play"]},
        },
    ],
}


def changed(i: int = 0, **fields: Any) -> dict[str, Any]:
    """The rubric with fields of one item set; None takes one away."""
    items = [dict(item) for item in TRUST["items"]]
    items[i] = {k: v for k, v in {**items[i], **fields}.items() if v is not None}
    return {**TRUST, "items": items}


def test_a_rubric_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    path.write_text(json.dumps({**TRUST, "title": "Trust"}), encoding="utf-8")
    found = load_rubric(path)
    assert found.title == "Trust"
    assert found["wary"].levels[6] == Level(7.0, "7")
    assert found["how"].levels == (Level("work", "work"), Level("play", "play"))
    assert found["used"].levels == (Level(0.0, "no"), Level(1.0, "yes"))
    assert {question.rater for question in found.items} == {"person"}
    assert problems(TRUST) == []
    with pytest.raises(KeyError):
        found["nothing"]
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^trust\.json: not JSON"):
        load_rubric(path)
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^trust\.json: an object"):
        load_rubric(path)


def test_levels_in_their_four_writings() -> None:
    plain = read_rubric(changed(levels=["never", "often"]))["wary"].levels
    assert plain == (Level(1.0, "never"), Level(2.0, "often"))
    assert read_rubric(changed(levels=[0, 2.5]))["wary"].levels == (Level(0.0, "0"), Level(2.5, "2.5"))
    long = [{"value": 0, "text": "none"}, {"value": 3, "text": "much"}]
    assert read_rubric(changed(levels=long))["wary"].levels == (Level(0.0, "none"), Level(3.0, "much"))
    named = [{"value": "w", "text": "Work"}, "play"]
    assert read_rubric(changed(4, levels=named)).items[4].levels == (
        Level("w", "Work"),
        Level("play", "play"),
    )


FAULTS: list[tuple[dict[str, Any], str]] = [
    (changed(id="sure"), r"items\[1\]\.id: 'sure' occurs twice"),
    (changed(id="a b"), r"items\[0\]\.id: letters"),
    (changed(id="points"), r"items\[0\]\.id: 'points' is the name"),
    (changed(id="trust"), r"rubric\.items: 'trust' is both"),
    (changed(text=""), r"items\[0\]\.text: text"),
    (changed(kind="stars"), r"items\[0\]\.kind: one of likert"),
    (changed(kind=None), r"items\[0\]\.kind"),
    (changed(levels=[]), r"items\[0\]\.levels: two or more"),
    (changed(levels=None), r"items\[0\]\.levels: two or more"),
    (changed(levels="abc"), r"items\[0\]\.levels: a list"),
    (changed(levels=[1, 1]), r"items\[0\]\.levels: a value occurs twice"),
    (changed(levels=[1, None]), r"items\[0\]\.levels: a number"),
    (changed(4, levels=[1, 2]), r"items\[4\]\.levels: an option is text"),
    (changed(3, levels=["a", "b", "c"]), r"items\[3\]\.levels: a binary"),
    (changed(kind="region", levels=["circle", "box"]), r"levels: shapes are"),
    (changed(kind="slider", levels=None), r"items\[0\]\.low: a slider"),
    (changed(kind="slider", levels=None, low=1, high=1), r"items\[0\]\.high: it must be above low"),
    (changed(kind="slider", levels=None, low=0, high=1, step=0.0), r"items\[0\]\.step: it must"),
    (changed(kind="slider", levels=None, low="x", high=1), r"items\[0\]\.low: a number"),
    (changed(reverse="yes"), r"items\[0\]\.reverse: true or false"),
    (changed(family=3), r"items\[0\]\.family: text"),
    (changed(rater=""), r"items\[0\]\.rater: who answers"),
    (changed(points=2), r"items\[0\]\.points: only a binary"),
    (changed(stars=2), r"items\[0\]\.stars: unknown key"),
    (changed(show_if={"item": "sure"}), r"items\[0\]\.show_if: \{"),
    (changed(show_if={"item": "sure", "in": [1]}), r"items\[0\]\.show_if: no question 'sure' comes before"),
    (changed(4, show_if={"item": "used", "in": ["perhaps"]}), r"items\[4\]\.show_if: used: a number"),
    ({**TRUST, "items": []}, r"rubric\.items: a list"),
    ({**TRUST, "items": ["x"]}, r"items\[0\]: an object"),
    ({**TRUST, "version": ""}, r"rubric\.version: text"),
    ({**TRUST, "colour": ""}, r"rubric\.colour: unknown key"),
    ({k: v for k, v in TRUST.items() if k != "licence"}, r"rubric\.licence: text"),
    ({k: v for k, v in TRUST.items() if k != "rater"}, r"items\[0\]\.rater: who answers"),
]


@pytest.mark.parametrize(("data", "said"), FAULTS, ids=[said for _, said in FAULTS])
def test_a_fault_is_named_by_path_and_key(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_rubric(data)


def test_all_faults_are_named_at_once() -> None:
    items = [{"id": "a"}, {"id": "a", "kind": "text", "text": "?"}]
    found = problems({"id": "r", "items": items}, where="study.rubrics[0]")
    assert [line.split(":")[0] for line in found] == [
        "study.rubrics[0].version",
        "study.rubrics[0].source",
        "study.rubrics[0].licence",
        "study.rubrics[0].items[0].text",
        "study.rubrics[0].items[0].rater",
        "study.rubrics[0].items[0].kind",
        "study.rubrics[0].items[1].id",
        "study.rubrics[0].items[1].rater",
    ]


def test_what_is_shown_hangs_on_answers() -> None:
    trust = read_rubric(TRUST)
    ids = lambda values: [question.id for question in trust.shown(values)][4:]  # noqa: E731
    assert ids({}) == []
    assert ids({"used": 1}) == ["how"]
    assert ids({"used": 1, "how": ["play", "work"]}) == ["how", "won"]
    assert ids({"used": 0, "how": ["play"]}) == []  # what hangs on a hidden one is hidden too


def test_complete_answers_have_one_form() -> None:
    trust = read_rubric(TRUST)
    given = {"wary": "2", "sure": 6, "calm": None, "used": True, "how": ["play"]}
    assert trust.complete(given) == {"wary": 2, "sure": 6, "used": 1, "how": ["play"]}
    assert trust.missing({"wary": 2}) == ["sure", "calm", "used"]
    assert trust.missing({"wary": 2}, na={"wary", "calm"}) == ["sure", "used"]
    with pytest.raises(ValueError, match=r"^no answer: how$"):
        trust.complete({**given, "how": None})
    note = read_rubric({**TRUST, "items": [{"id": "note", "text": "?", "kind": "text"}]})
    with pytest.raises(ValueError, match="no answer: note"):
        note.complete({"note": " \n"})
    assert trust.complete({**given, "used": 0}) == {"wary": 2, "sure": 6, "used": 0}
    with pytest.raises(ValueError, match="no such question: how_much"):
        trust.complete({**given, "how_much": 1})
    with pytest.raises(ValueError, match=r"^sure: one of"):
        trust.complete({**given, "sure": 8})


def test_scores_by_hand() -> None:
    trust = read_rubric(TRUST)
    found = score(trust, {"wary": 2, "sure": 7, "used": 1, "how": ["play"], "won": "me"})
    assert found == {"wary": 6, "sure": 7, "used": 1, "how.work": 0, "how.play": 1, "trust": 6.5}
    assert "trust" not in score(trust, {"wary": 2})  # one of three is less than half
    assert score(trust, {}) == {}


def test_points_met_over_all_positive_points() -> None:
    def criteria(*points: float) -> Any:
        items = [
            {"id": f"c{i}", "text": "?", "kind": "binary", "points": p, "family": "axis"}
            for i, p in enumerate(points)
        ]
        return read_rubric({**TRUST, "items": items})

    met = {"c0": 1, "c1": 0, "c2": 1, "c3": 1}
    assert score(criteria(7, 5, 10, -6), met)["points"] == 0.5
    assert score(criteria(7, 5, 10, -6), {"c0": 0, "c1": 0, "c2": 0, "c3": 1})["points"] == -6 / 22
    assert math.isnan(score(criteria(-1, -1, -1, -1), met)["points"])
    assert "axis" not in score(criteria(7, 5, 10, -6), met)


def test_the_schema_takes_what_the_rubric_takes() -> None:
    levels = {"likert": 5, "ordinal": 3, "choice": ["a", "b"], "multi": ["a", "b"]}
    answers = {
        "likert": 3, "ordinal": 1, "binary": 0, "choice": "a", "multi": ["b"], "slider": 0.5, "number": -3,
        "probability": 1, "text": "x", "pair": "tie", "rank": ["b", "a"],
        "best_worst": {"best": "a", "worst": "b"}, "span": [{"turn": 0, "start": 0, "end": 2}],
        "interval": [{"start": 0.5, "end": 2}], "region": [{"shape": "point", "x": 0, "y": 1}],
    }  # fmt: skip
    items = []
    for kind in KINDS:
        item: dict[str, Any] = {"id": kind, "text": "?", "kind": kind}
        if kind in levels:
            item["levels"] = levels[kind]
        if kind == "slider":
            item |= {"low": 0, "high": 1}
        items.append(item)
    whole = read_rubric({**TRUST, "items": items})
    schema = json_schema(whole)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(answers, schema)
    assert json.loads(json.dumps(whole.complete(answers))) == answers
    for kind in KINDS:
        wrong = {"text": 3, "number": "x", "rank": "ab"}.get(kind, "maybe")
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**answers, kind: wrong}, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in answers.items() if k != kind}, schema)


def test_a_question_that_may_be_left_out_may_be_null() -> None:
    schema = json_schema(read_rubric(TRUST))
    assert schema["required"] == ["wary", "sure", "calm", "used"]
    jsonschema.validate({"wary": 1, "sure": 1, "calm": None, "used": 0, "how": None, "won": None}, schema)


def test_a_rater_gets_its_own_questions() -> None:
    items = [
        {"id": name, "text": "?", "kind": "binary", "rater": rater}
        for name, rater in (("a", "any"), ("b", "specialist"), ("c", "patient"))
    ]
    whole = read_rubric({**TRUST, "items": items})
    assert [question.id for question in whole.asked_of("specialist").items] == ["a", "b"]


def test_the_digest_is_of_what_is_asked() -> None:
    trust = read_rubric(TRUST)
    assert read_rubric(json.loads(json.dumps(TRUST))).digest == trust.digest
    assert read_rubric({**TRUST, "source": "elsewhere"}).digest == trust.digest
    assert read_rubric(changed(text="I am very wary.")).digest != trust.digest
    assert read_rubric({**TRUST, "version": "2"}).digest != trust.digest
