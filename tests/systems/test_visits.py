"""Patients who come again: what is kept, what it is worth, and that it can be played again to the byte."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tests.systems.consultation import clinic, patients, reader

from polymodal.chat import Budget, Ledger, Scripted, metered
from polymodal.envs.clinic import Ask, Present, Request, Retake
from polymodal.envs.clinic.chair import RETURNING
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.clinic.scripted import scripted
from polymodal.envs.clinic.state import State, supported
from polymodal.envs.trace import replay
from polymodal.systems.clinical_dialogue.method import Doctor, Plain
from polymodal.systems.consulting import talked, visits

TABLES, CASES = clinic(), patients(40)
MODEL, ENV = scripted(TABLES, span=4), Consultation(CASES, clinic=TABLES)
DOCTOR, CLAIMS = "scripted:clinic?span=4", "scripted:claims"


def chair(model=MODEL, kind=Doctor, **options):
    return kind(model=model, readers={"lesion": reader}, kinds=["lesion"], **{"turns": 6, **options})


@pytest.fixture(scope="module")
def seen():
    """Twenty cases, seen once with all turns, and twice with half of them: with a memory and without."""
    found = {"once": [talked.held(ENV, chair(), one.id, seed=0) for one in CASES[:20]]}
    for arm in ("again", "forgotten"):
        some = [visits.twice(chair(), ENV, one.id, seed=0, memory=arm == "again") for one in CASES[:20]]
        found[arm] = some
    return found


def test_what_is_kept_makes_the_next_visit_righter_and_nothing_is_lost_by_the_break(seen):
    rows = {arm: [visits.row(one) for one in some] for arm, some in seen.items()}
    right = {arm: np.mean([row["right"] for row in some]) for arm, some in rows.items()}
    assert right["again"] >= right["forgotten"] + 0.1
    assert right["again"] >= right["once"] - 0.05
    assert {arm: {row["visits"] for row in some} for arm, some in rows.items()} == {
        "once": {1}, "again": {2}, "forgotten": {1},
    }  # fmt: skip
    for arm in ("again", "forgotten"):
        for row in rows[arm]:
            assert row["right"] in (0, 1)
            assert row["asked"] + row["requested"] + row["retakes"] <= 6
            assert all(row["claims"])
    assert rows["once"] == [talked.row(one) | {"visits": 1} for one in seen["once"]]


def test_costs_are_of_both_visits_and_the_rest_of_the_last(seen):
    for found in (seen["again"][0], seen["forgotten"][0]):
        first, last = visits.apart(found)
        row, parts = visits.row(found), [talked.row(one) for one in (first, last)]
        assert first.turns[-1].terminated
        assert first.states + last.states == found.states
        for name in ("calls", "asked", "seconds"):
            assert row[name] == sum(one[name] for one in parts) > 0
        assert row["calls"] == sum(turn.usage.calls for turn in found.turns)
        assert row["p"] == parts[1]["p"]


def test_the_second_visit_goes_on_from_the_first_and_asks_nothing_twice(seen):
    for found in seen["again"]:
        first, last = (one.states[-1] for one in visits.apart(found))
        assert last.talk[: len(first.talk)] == first.talk
        assert last.visits == (0, len(first.talk))
        assert last.trail[: len(first.trail) + 1] == (*first.trail, "history")
        assert {one.name for one in last.findings} >= {one.name for one in first.findings}
        asked = [turn.action.finding for turn in found.turns if isinstance(turn.action, Ask)]
        assert len(asked) == len(set(asked))
        assert sum(isinstance(turn.action, Request) for turn in found.turns) <= 1
        assert sum(isinstance(turn.action, Present) for turn in found.turns) == 2
    twice = [turn.action for found in seen["forgotten"] for turn in found.turns]
    assert twice.count(Request("lesion")) > 20


def test_a_take_of_the_next_visit_is_a_new_one_and_no_more_are_asked_for_than_there_are():
    poor = [one for one in CASES if all(take.poor for take in one.artefacts["lesion"][:2])]
    for case in poor:
        memory = talked.held(ENV, chair(retakes=0), case.id, seed=0).states[-1]
        assert [one.quality for one in memory.artefacts] == ["poor"]
        for _ in range(2):
            found = talked.held(ENV, chair(memory=memory), case.id, seed=0)
            memory = found.states[-1]
            shown = [take.image.digest() for take in case.artefacts["lesion"]]
            assert [one.digest for one in memory.artefacts] == shown
        assert not [turn for turn in found.turns if isinstance(turn.action, Request | Retake)]
    assert poor


def test_both_visits_are_played_again_to_the_byte_and_a_killed_one_resumes_at_each_turn(seen):
    found = seen["again"][1]
    lines = [turn.line() for turn in found.turns]
    assert [turn.line() for turn in visits.twice(chair(), ENV, "c1", seed=0, memory=True).turns] == lines
    assert replay(lines, Consultation(CASES, clinic=TABLES)) == len(lines)
    first, last = visits.apart(found)
    for n in range(len(last.turns)):
        doctor = chair(turns=3, memory=first.states[-1])
        doctor.start(seed=0)
        if n:
            doctor.resume(State.from_json(last.turns[n - 1].steps[0]), seed=0)
        acted = [doctor(turn.observation) for turn in last.turns[n:]]
        assert acted == [turn.action for turn in last.turns[n:]]
        assert doctor.state.to_json() == last.turns[-1].steps[0]


def test_the_model_is_told_what_is_from_an_earlier_visit_and_only_then():
    told: list[str] = []

    def listening(messages, seed):
        told.append(messages[1].parts[0].read())
        return MODEL(*messages, seed=seed)

    for kind in (Doctor, Plain):
        told.clear()
        found = visits.twice(
            chair(Scripted("scripted:listening", listening), kind), ENV, "c2", seed=0, memory=True
        )
        began = found.states[-1].visits[1]
        blocks = [json.loads(text.rpartition("\n")[2]) for text in told]
        later = [one.get("visit") for one in blocks]
        at = later.index({"number": 2, "began": began})
        assert at > 0
        assert later == [None] * at + [later[at]] * (len(later) - at)
        assert [RETURNING in text for text in told] == [one is not None for one in later]
        assert blocks[at]["turn"] == began
        assert blocks[at]["left"] == {"questions": 3, "retakes": 3}
        assert not any("visits" in one for one in blocks)


def test_a_visit_that_failed_or_was_cut_leaves_what_it_knew():
    def failing(messages, seed):
        raise OSError("gone")

    found = visits.twice(chair(Scripted("scripted:gone", failing)), ENV, "c3", seed=0, memory=True)
    row = visits.row(found)
    assert (row["reason"], row["visits"], len([*visits.apart(found)])) == ("policy error", 1, 2)
    model = metered(MODEL, Ledger(), "doctor", budget=Budget(calls=7))
    found = visits.twice(chair(model), ENV, "c3", seed=0, memory=True)
    first, last = visits.apart(found)
    assert "cut" in first.states[-1].flags
    assert "cut" in last.states[-1].flags  # nothing was left for the second
    assert last.states[-1].counts.get("calls", 0) == 0
    assert last.states[-1].differential == first.states[-1].differential
    assert visits.row(found)["calls"] == 7


def test_states_are_written_by_turn_and_remembered(tmp_path, seen):
    found = {"state": seen["once"][:3], "state?gap=eig": seen["once"][3:4], "again": seen["again"][:1]}
    kept = [talked.kept(one) for some in found.values() for one in some]
    records = [
        {"case": one.turns[-1].info["case"], "doctor": DOCTOR, "arm": arm, "plan": "x"}
        for arm, some in found.items() for one in some
    ]  # fmt: skip
    rows = visits.snapshots(kept, records)
    assert [*rows[0]] == ["case", "doctor", "arm", "turn", "state"]
    assert len(rows) == sum(len(one.states) for some in found.values() for one in some)
    assert all(b["turn"] == (a["turn"] + 1 if a["case"] == b["case"] and a["arm"] == b["arm"] else 0)
               for a, b in pairwise(rows))  # fmt: skip
    (tmp_path / "states.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for at in (tmp_path, str(tmp_path / "states.jsonl")):
        memory = visits.remembered(at, DOCTOR)
        assert [*memory] == ["c0", "c1", "c2", "c3"]
    assert memory["c0"] == seen["once"][0].states[-1]  # and not what the arm `again` left
    now = talked.held(ENV, chair(memory=memory["c0"]), "c0", seed=0)
    assert len(now.states[-1].visits) == 2
    assert now.turns[0].episode.options["taken"] == memory["c0"].takes()
    assert all(supported(now.states[-1].findings, now.states[-1].talk, now.states[-1].artefacts))


def test_what_cannot_be_remembered_is_said(tmp_path, seen):
    with pytest.raises(FileNotFoundError, match=r"memory=.*none: no such file; a finished `polymodal run"):
        visits.remembered(tmp_path / "none", DOCTOR)
    rows = visits.snapshots(
        [talked.kept(seen["once"][0])], [{"case": "c0", "doctor": DOCTOR, "arm": "state"}]
    )
    good, at = json.dumps(rows[-1]).encode(), tmp_path / "states.jsonl"
    short = json.dumps({**rows[-1], "state": {"phase": "closed"}}).encode()
    for bad in (b"{", b"[1]", b"\xff", b'{"case": "c0"}', short):
        at.write_bytes(good + b"\n" + bad + b"\n")
        with pytest.raises(ValueError, match=r"states.jsonl: line 2: .*a JSON object with case, doctor, arm"):
            visits.remembered(tmp_path, DOCTOR)
    at.write_bytes(good + b"\n")
    with pytest.raises(
        ValueError, match=rf"no state of doctor={CLAIMS} in the arm state; known: {DOCTOR[:9]}"
    ):
        visits.remembered(tmp_path, CLAIMS)


def test_findings_of_an_earlier_visit_are_shown_where_they_stand(seen):
    again, forgotten = seen["again"][0], seen["forgotten"][0]
    last = [*visits.apart(again)][1]
    for found, shown in ((again, again), (forgotten, forgotten), (again, last)):
        state = found.states[-1]
        rows = talked.noted(state, len(shown.states))[0]["rows"]
        spoken = talked.spoken(shown)
        at = [row[2] for row in rows]
        for one, where in zip(state.findings, at, strict=True):
            if isinstance(where, dict) and isinstance(one.source, int):
                assert one.quote in spoken[where["line"] - 1]["text"]
        assert ("an earlier visit" in at) == (shown is last)
    before = replace(again.states[-1], findings=again.states[-1].findings[:2])
    assert talked.noted(before) == talked.noted(before, len(before.talk))
