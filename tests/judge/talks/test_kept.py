"""What is kept of judged talks: nothing that was said, unless asked for."""

import json

import numpy as np

from polymodal.chat import Usage, assistant, user
from polymodal.envs.cards import Scene, Thing
from polymodal.judge import Answer, Case, Rule, Span, Verdict
from polymodal.judge.talks import (
    columns,
    digest,
    exhibit,
    judged,
    packed,
    replies,
    steady,
    summed,
    troubles,
    unpacked,
)
from polymodal.media import Invalid

TILE = Scene((Thing("star", "red"),)).image()
TALK = (user("look", TILE), assistant("a secret"), user("more"), assistant("no"))
CASE = Case("s|i|mt", "i", "g", "s", "mt", TALK)
HIT = Verdict({"defect": 1.0}, evidence=(Span(1, 2, 8), Span(1, 0, 1)), rationale="it says it", judge="j")


def test_replies_by_digest_or_in_full():
    rows = list(replies(CASE, HIT, full=False))
    assert rows == [
        ["s|i|mt", 1, digest("a secret"), 8, 2, 8, ""],
        ["s|i|mt", 3, digest("no"), 2, -1, -1, ""],
    ]
    assert [row[-1] for row in replies(CASE, HIT, full=True)] == ["a secret", "no"]


def test_exhibits_withhold_words_pictures_and_rationales():
    told = exhibit(CASE, [HIT], ["defect"], shown=("user",))
    assert [turn.get("text") for turn in told["turns"]] == ["look", None, None, "more", None]
    assert told["turns"][1]["withheld"] == f"picture {TILE.digest()[:16]}"
    assert "secret" not in json.dumps(told)
    assert "says it" not in json.dumps(told)
    assert told["tags"] == {"rationale 1": digest("it says it")}
    assert told["verdicts"] == [{"judge": "j", "score": "defect", "value": 1.0, "reason": ""}]


def test_cost_is_the_same_for_asked_and_kept_replies():
    asked = Verdict({}, usage=Usage(calls=1, tokens_in=5, seconds=2.0, retries=1))
    kept = Verdict({}, usage=Usage(cached=1, tokens_in=5))
    assert steady(asked) == steady(kept)


def test_judged_talks_travel_as_bytes():
    rule = Rule("rule", lambda case: {"defect": 1.0, "refusal": 0.0}, "1")
    told = [
        Answer(
            subject="s",
            item=f"i{k}",
            group="g",
            variant="mt",
            messages=TALK,
            error="timeout" if k == 2 else "",
        )
        for k in range(3)
    ]
    found = judged(
        told,
        {f"i{k}": "" for k in range(3)},
        [rule],
        ["defect", "refusal"],
        seed=0,
        threads=2,
        full=False,
        shown=(),
    )
    labels = unpacked([found["labels"], found["labels"]])
    assert len(labels) == 6
    assert labels.where(score="defect").column("valid").tolist() == [True, True, False]
    assert found["errors"] == [["s|i2|mt", "timeout"]]
    assert len(found["shown"]) == 2  # one of each kind: judged, and cut short
    assert len(found["replies"]) == 6
    assert packed(labels).dtype == np.uint8
    assert str(columns(labels)) == str(labels.table.to_pydict())  # as text: NaN is not NaN


def test_sums_and_troubles():
    assert summed([{"name": "b", "calls": 1}, {"name": "a", "calls": 2}, {"name": "b", "calls": 3}]) == [
        {"name": "a", "calls": 2},
        {"name": "b", "calls": 4},
    ]
    lost = [Invalid("x", "f:1", "schema", "no turns"), Invalid("y", "f:2", "schema", "no turns")]
    rows = troubles(lost, [{"errors": [["c", "timeout"]]}, {}])
    assert rows == [
        {"reason": "schema", "n": 2, "first": "f:1: no turns"},
        {"reason": "subject: timeout", "n": 1, "first": "c"},
    ]
