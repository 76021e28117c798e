"""Parts of consultations that a whole run does not reach: real readers, wrong data, single figures."""

import json
from dataclasses import replace

import numpy as np
import pytest

from polymodal.envs.clinic import Case, Shown
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.clinic.state import Line, Noted, Ranked, State
from polymodal.media import Image
from polymodal.systems.clinical_dialogue import data
from polymodal.systems.consulting import climbing, figures, pictured, places, talked, written
from polymodal.training.study import Book

CLINIC = data.pocket()


def book():
    made = Book(seed=0)
    for name in ("tables", "notes", "curves", "conversations"):
        made.sections[name] = []
    return made


def test_trained_readers_are_kept_loaded_and_read_what_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(pictured, "HELD", 20)
    for kind in pictured.TRAINED:
        told = pictured.taught(kind, str(tmp_path), 1, seed=0, n=16)
        assert len(told["right"]) == len(told["poor"]) == len(told["found"]) == 20
        assert ((told["q"].argmax(1) == told["target"]) == told["right"]).all()
    known = places.known(CLINIC, CLINIC, str(tmp_path))
    assert set(known[0]) == set(known[1]) == {"lesion", "trace", "page"}
    _, cases, _ = places.place(None, CLINIC, 2, seed=3)
    pair = [cases[0], cases[1]]
    rows = pictured.consulted(CLINIC, pair, known, pictured.Setting(turns=4), arms=("multimodal",), seed=0)
    assert [row["case"] for row in rows] == ["pocket-3-0", "pocket-3-1"]
    assert all(sum(row["p"].values()) == pytest.approx(1) for row in rows)
    looked = pictured.looked(pair, known[0])
    assert looked
    assert all(one["truth"] in {c for kind in CLINIC.artefacts for c in kind.classes} for one in looked)
    pages = [one for one in looked if (one["kind"], one["poor"]) == ("page", False)]
    assert all(one["said"] == one["truth"] for one in pages)
    reader = known[0]["page"]
    before = len(reader.kept)
    first = next(one for case in pair for one in case.artefacts["page"] if one.image.digest() in reader.kept)
    assert reader(first.image.pixels()) is reader.kept[first.image.digest()]
    assert len(reader.kept) == before
    broken = replace(
        pair[0], artefacts={"page": (Shown(Image(tmp_path / "none.png"), "x"), Shown(None, "x"))}
    )
    assert pictured.looked([broken], known[0]) == []


def test_readers_are_of_the_kinds_that_were_drawn_here(tmp_path):
    with pytest.raises(FileNotFoundError, match="a finished `polymodal run clinical_dialogue` has them"):
        places.known(CLINIC, CLINIC, str(tmp_path))
    assert set(places.known(CLINIC, CLINIC, None)[0]) == {"page"}
    other = data.pocket(kinds=[replace(one, classes=tuple("abcde")) for one in CLINIC.artefacts])
    assert places.known(other, CLINIC, str(tmp_path)) == places.known(None, CLINIC, None) == ({}, {})


def test_data_without_a_case_that_can_be_used_is_refused(tmp_path):
    (tmp_path / "agentclinic_x.jsonl").write_text('{"OSCE_Examination": {}}\n{"a": 1}\n')
    with pytest.raises(ValueError, match=r"no case can be used; 2 are invalid: `polymodal data check"):
        places.place(str(tmp_path), CLINIC, 5, seed=0)


def test_the_test_split_comes_where_there_is_one(tmp_path):
    lines = [
        {"id": f"c{i}", "split": ("train", "test")[i % 2], "diagnosis": "Orvane fever", "initial": "thirst"}
        for i in range(6)
    ]
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [one.id for one in places.place(str(tmp_path), CLINIC, 2, seed=0)[1]] == ["c1", "c3"]


CASE = Case(
    "w",
    "Orvane fever",
    "I ache.",
    told={"history": ("It began in May.", "It is worse at night.")},
    results={"Scan": "a shadow"},
)


def test_lists_before_a_written_case_by_hand():
    room = places.room([CASE], None, "auto")
    rows = written.asked(
        room, [CASE], {"checklist": ["Is it worse at night?"], "random": ["Any hiccups?"]}, seed=0
    )
    checklist, random, tests = rows
    assert (checklist["recall"], checklist["yield"], checklist["leak"]) == (0.5, 1.0, 0)
    assert (random["recall"], random["yield"]) == (0.0, 0.0)
    assert tests["found"] == [1]
    assert written.requested(room, CASE, ["Scan", "scan", "MRI"], seed=0) == [1, 1, 0]
    compat = places.room([CASE], None, "lexical", compat=True)
    assert written.requested(compat, CASE, ["MRI"], seed=0) == [1]  # the script invents a normal reading
    told = book()
    figures.told(told, None, rows, [])
    assert told.estimates["checklist - random: fact recall"].mean == 0.5
    assert told.estimates["tests found by their own name"].mean == 1


def test_late_patients_tell_of_it_after_the_differential_only():
    from polymodal.envs.clinic import Ask, Plan, Present

    room = talked.Late([CASE])
    room.reset(seed=0)
    assert talked.ALLERGY not in room.step(Ask("Any allergies?"))[0]["said"]
    assert room.step(Present((("Orvane fever", 1.0),)))[:2][0]["said"] == talked.ALLERGY
    assert talked.ALLERGY not in room.step(Plan("Rest."))[0]["said"]


def test_planted_claims_and_what_exact_inference_makes_of_a_talk():
    talk = (Line("I came because of thirst.", "thirst", "yes"), Line("No.", "pale gums", "no"), Line("Well."))
    state = State(talk=talk)
    planted = {
        Noted("thirst", "present", 0): False,
        Noted("pale gums", "absent", 1): False,
        Noted("thirst", "present", 1): True,
        Noted("thirst", "present", 2): True,
        Noted("lesion", "present", "digest"): False,
        Noted("thirst", "present", 9): False,
    }
    assert [talked._planted(one, state) for one in planted] == [*planted.values()]
    p = talked.acquired(CLINIC, state, ({}, {}))
    assert sum(p.values()) == pytest.approx(1)
    blood = [one.name for one in CLINIC.diseases[12:]]
    assert sum(p[name] for name in blood) > 0.6  # thirst is of that department, by .80 to .10 in two others
    nothing = talked.acquired(CLINIC, State(), ({}, {}))
    assert [*nothing.values()] == pytest.approx([1 / 18] * 18)


def test_a_consultation_without_a_named_diagnosis_is_unfinished():
    class Silent:
        turns, retakes = 3, 0
        state = State()

    def unfinished(differential, presented):
        turn = type("Turn", (), {"reward": 0.0, "reason": "", "seconds": 0.0})
        names = ("asked", "requested", "retakes", "invalid", "leak", "not_done")
        turn.info = {"case": "w", "presented": presented, **dict.fromkeys(names, 0)}
        return talked.row(talked.Held([turn], [State(differential=differential)]))["unfinished"]

    assert not unfinished((Ranked("Orvane fever", 0.6), Ranked("other", 0.4)), 1)
    assert unfinished((Ranked("other", 1.0),), 1)
    assert unfinished((), 1)
    assert unfinished((Ranked("Orvane fever", 0.6),), 0)


def talk_rows(arm, top, **more):
    base = {
        "doctor": "m",
        "arm": arm,
        "tags": {"leak": "no"},
        "claims": [1, 0],
        "planted": [0, 0],
        "flags": [],
    }
    cost = dict.fromkeys(figures.COST, 2) | {"unfinished": 0, "reason": ""}
    return [
        {**base, **cost, "case": f"c{i}", **{f"top{k}": x for k in (1, 3, 5, 10)}, **more}
        for i, x in enumerate(top)
    ]


def test_figures_of_a_models_arms_by_hand():
    rows = talk_rows("state", [1, 1, 1, 0], relation="same") + talk_rows("plain", [1, 0, 0, 0], relation=None)
    rows[0] |= {"tags": {"leak": "yes"}, "relation": "broader"}
    rows[-1] |= {"unfinished": 1, "reason": "limit"}
    told = book()
    figures.told(told, None, rows, [])
    found = told.estimates
    assert found["m state: top1"].mean == 0.75
    assert found["m state: top1, leak no"].n == 3
    assert found["m state: same by the rater"].mean == 0.75
    assert (found["m plain: same by the rater"].n, found["m plain: same by the rater"].n_valid) == (4, 0)
    assert found["m: state - plain"].mean == found["state - plain, top-1"].mean == 0.5
    assert found["m state: unsupported claims"].mean == 0.5
    assert found["m state: talks with one"].mean == 1
    assert sum(note.startswith("m plain: 1 of 4 consultations") for note in told.sections["notes"]) == 2
    table = told.sections["tables"][0]
    assert table["rows"][0] == ["m", "state", *[2.0] * len(figures.COST), 0]
    assert {one["calls"] for one in told.sections["cost"]} == {8}


def test_a_doctor_is_counted_on_the_cases_it_met():
    rows = talk_rows("state", [1, 0, 1, 1]) + talk_rows("plain", [0, 0, 1, 1])
    few = talk_rows("state", [1, 0], doctor="few") + talk_rows("plain", [0, 0], doctor="few")
    told = book()
    figures.told(told, None, rows + few, [])
    assert (told.estimates["m: state - plain"].n, told.estimates["few: state - plain"].n) == (4, 2)
    assert told.estimates["few: state - plain"].n_valid == 2


def test_one_seed_has_no_spread_between_seeds_and_two_have():
    some = {f"ladder/{s}": climbing.rungs(CLINIC, (4,), 0.9, seed=s, n=40) for s in range(2)}
    one, two = book(), book()
    climbing.climbed({"ladder/0": some["ladder/0"]}, (4,), one)
    climbing.climbed(some, (4,), two)
    assert one.estimates["T=4: multimodal"].between is None
    means = [some[key]["T=4: multimodal"]["right"].mean() for key in some]
    assert two.estimates["T=4: multimodal"].mean == pytest.approx(np.mean(means))
    assert two.estimates["T=4: multimodal"].between == pytest.approx(np.std(means, ddof=1))
    assert "expected" not in two.legend["T=4: multimodal"]  # the page's figures are of other budgets
    assert {curve["x"] for curve in two.sections["curves"]} == {"turns", "share of poor takes"}


SAYS = "scripted:say?text=%7B%22known%22%3Atrue%2C%22answer%22%3A%22I hum.%22%7D"


def test_rooms_have_the_patient_that_is_named():
    _, cases, _ = places.place(None, CLINIC, 1, seed=0)
    room = places.room(cases, CLINIC, SAYS, manner="anxious")
    assert isinstance(room, Consultation)
    room.reset(seed=0)
    from polymodal.envs.clinic import Ask

    assert room.step(Ask("Do you hum?"))[0]["said"].startswith("I hum. ")
    with pytest.raises(LookupError, match="no kind of model in 'nobody'"):
        places.room(cases, CLINIC, "nobody")
