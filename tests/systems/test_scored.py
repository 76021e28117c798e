"""Scores of a consultation's course, each by a case worked by hand; and what figures make of them."""

import math
from collections import ChainMap
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from polymodal.chat import Usage
from polymodal.envs.clinic import (
    UNSURE,
    Artefact,
    Ask,
    Case,
    Clinic,
    Close,
    Disease,
    Finding,
    Present,
    Request,
    Retake,
    Shown,
)
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.clinic.scripted import scripted
from polymodal.envs.play import play
from polymodal.media import Image
from polymodal.systems.clinical_dialogue import method
from polymodal.systems.consulting import figures, pictured, places, scored, talked
from polymodal.training.study import Book

GREY = Image(np.full((4, 4, 3), 127, np.uint8))
YES = np.array([[0.8, 0.5, 0.1], [0.1, 0.5, 0.1], [0.1, 0.5, 0.8], [0.1, 0.5, 0.1]])  # by disease, finding
CLINIC = Clinic(
    diseases=(
        Disease("Ister", 0.25, aliases=("Ister's",)),
        Disease("Brusk", 0.25),
        Disease("Wane", 0.25),
        Disease("Sile", 0.25),
    ),
    findings=(
        Finding("itch", "Does it itch?"),
        Finding("ache", "Does it ache?"),
        Finding("chill", "Any chill?", guards=("Wane",)),
    ),
    artefacts=(Artefact("lesion", ("clear", "spot")), Artefact("page", ("plain", "odd"))),
    answers=np.stack([YES * 0.9, (1 - YES) * 0.9, np.full_like(YES, 0.1)]),
    shows={
        "lesion": np.array([[0.1, 0.9], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]]),
        "page": np.full((4, 2), 0.5) + np.array([[0.1, -0.1]]),
    },
)
TAKES = (Shown(GREY, "spot", poor=True), Shown(GREY, "spot", poor=True), Shown(GREY, "spot", poor=False))
CASE = Case(
    "c", "Ister", "I ache.", "ache",
    {"itch": "yes", "ache": "yes", "chill": "no"},
    {"lesion": TAKES, "page": (Shown(GREY, "plain", poor=True),)},
)  # fmt: skip


class Listed:
    """Does one thing after the other."""

    def __init__(self, *actions):
        self.left = [*actions, Close()]

    def __call__(self, heard):
        return self.left.pop(0)


def course(case, *actions, clinic=CLINIC):
    room = Consultation([case], clinic=clinic)
    return [*play(room, Listed(*actions), seed=0, limit=30)]


def test_a_consultation_by_hand():
    told = Present((("Ister's", 0.6), ("Brusk", 0.4)))
    turns = course(CASE, Ask("?", "itch"), Ask("?", "ache"), Request("Lesion"), Retake("lesion"), told)
    half = {"Brusk": 0.5, "Wane": 0.25, "Ister": 0.25}
    last = {"Ister's": 0.6, "Brusk": 0.4}
    beliefs = [{}, half, half, half, last, {"Brusk": 1.0}]  # what is told after Present does not count
    found = scored.scored(CASE, turns, beliefs, CLINIC)
    assert found["ranks"] == [11, 3, 3, 3, 1]
    assert (found["rank"], found["progress"]) == (1, 2.5)
    assert (found["gtpa1"], found["gtpa3"]) == (1, 1)
    # asked: itch (the complaint, told unasked, counts on no side) and the lesion; both are there
    assert (found["per"], found["pep"], found["pef1"]) == (1, 1, 1)
    # facts: itch and ache; the complaint's was heard at once, so that asking for it again brings nothing
    assert (found["recall"], found["yield"]) == (1, 0.5)
    assert found["telling"] == 1  # the lesion: .9 against .3; pages are alike in all
    assert found["retaken"] == 0.5  # the first poor take was, the second was not; a third could be had
    assert found["missed"] == 1  # Wane had .25, and nobody asked for a chill
    assert "yield" not in scored.scored(CASE, turns, beliefs, CLINIC, verbatim=False)


def test_the_reference_is_the_cases_own_or_exact_inference_over_all_that_could_be_known():
    found = scored.reference(CASE, CLINIC)
    odds = {"Ister": 0.8 * 0.5 * 0.9 * 0.9, "Brusk": 0.1 * 0.5 * 0.9 * 0.1}
    odds |= {"Wane": 0.1 * 0.5 * 0.2 * 0.1, "Sile": odds["Brusk"]}
    assert found == pytest.approx({name: x / sum(odds.values()) for name, x in odds.items()})
    unsure = replace(CASE, findings=dict.fromkeys(CASE.findings, UNSURE), artefacts={})
    assert [*scored.reference(unsure, CLINIC).values()] == pytest.approx([0.25] * 4)
    own = replace(CASE, differential={"ISTER": 3.0, "Brusk": 1.0, "Wane": 0.0})
    assert scored.reference(own, CLINIC) == {"Ister": 0.75, "Brusk": 0.25}
    assert scored.reference(CASE, None) == {}
    final = {"Ister": 0.5, "Sile": 0.495, "other": 0.005}
    ddr = scored.differential(own, CLINIC, [final])
    assert (ddr["ddr"], ddr["ddp"], ddr["ddf1"]) == (0.5, 0.5, 0.5)


def test_the_course_counts_turns_with_a_differential_and_has_the_pages_hand_case():
    certain = replace(CASE, differential={"Ister": 1.0})
    told = [{}, {"Ister": 0.5, "Brusk": 0.5}, {"Ister": 0.9, "Brusk": 0.1}]
    for clinic in (CLINIC, None):
        found = scored.differential(certain, clinic, told)
        assert (found["trajectory"], found["confirm"], found["explore"]) == pytest.approx((0.45, 0.9, 0.4))
    once = scored.differential(replace(certain, differential={}), None, [{}, {"Ister": 0.9}])
    assert (once["trajectory"], once["confirm"]) == pytest.approx((0.45, 0.9))
    assert "explore" not in once
    assert "ddr" not in once
    silent = scored.differential(CASE, CLINIC, [])
    assert silent["ranks"] == [11]
    assert (silent["gtpa1"], silent["ddr"]) == (0, 0)
    assert "trajectory" not in silent
    assert scored.differential(CASE, None, [{"other": 1.0}])["ranks"] == [11]


def test_evidence_red_flags_artefacts_and_retakes_one_by_one():
    assert scored.evidence(CASE, CLINIC, {"chill", "itch", "ache"}, {"page"}) == pytest.approx(
        {"per": 1 / 2, "pep": 1 / 3, "pef1": 2 / 5}
    )
    assert scored.evidence(replace(CASE, findings={}, artefacts={}), CLINIC, {"itch"}, ()) == {}
    listed = replace(CASE, findings=ChainMap({"itch": "yes"}, {"ache": "yes"}))
    assert scored.positive(listed) == {"itch": "yes"}  # DDXPlus: what is not listed has its default
    assert math.isnan(scored.missed(CASE, CLINIC, [{"Wane": 0.05}], ()))
    assert scored.missed(CASE, CLINIC, [{"Wane": 0.06}, {}], ()) == 1
    assert scored.missed(CASE, CLINIC, [{"Wane": 0.06}], {"chill"}) == 0
    wane = replace(CASE, diagnosis="Wane")
    assert scored.missed(wane, CLINIC, [], ()) == 1
    assert scored.missed(replace(wane, complaint="chill"), CLINIC, [], ()) == 0
    assert scored.telling(CASE, CLINIC) == "lesion"
    assert scored.telling(replace(CASE, artefacts={"page": TAKES}), CLINIC) is None
    assert scored.unusual(CASE, CLINIC) == {"lesion"}
    twice = course(CASE, Retake("lesion"), Retake("lesion"), Retake("lesion"), Retake("lesion"))
    assert scored.retaken(twice, CASE.artefacts) == 1
    assert math.isnan(scored.retaken(course(CASE, Request("page")), CASE.artefacts))  # no further take
    assert math.isnan(scored.retaken([], CASE.artefacts))


def test_a_written_case_is_scored_by_its_sentences():
    case = Case("w", "Orvane fever", "I ache.", told={"history": ("It began in May.", "Worse at night.")})
    turns = [*play(places.room([case], None, "auto"), Listed(Ask("Worse at night?"), Ask("Hiccups?")),
                   seed=0, limit=9)]  # fmt: skip
    found = scored.scored(case, turns, [{}, {"Orvane fever": 0.8}, {"Orvane fever": 0.8}])
    assert (found["recall"], found["yield"], found["ranks"]) == (0.5, 0.5, [11, 1, 1])
    assert found.keys() & {"per", "ddr", "telling", "missed", "retaken"} == set()


def rows(arm, top, **more):
    base = {"doctor": "m", "arm": arm, "tags": {}, "claims": [], "planted": [], "flags": [], "reason": ""}
    base |= dict.fromkeys(figures.COST, 2) | {"unfinished": 0}
    keys = ("top1", "top3", "top5", "top10")
    return [{**base, "case": f"c{i}", **dict.fromkeys(keys, x), **more} for i, x in enumerate(top)]


def book():
    made = Book(seed=0)
    for name in ("tables", "notes", "curves"):
        made.sections[name] = []
    return made


def test_scores_become_estimates_a_curve_and_a_paired_difference():
    some = rows("state", [1, 0], recall=0.75, gtpa1=1.0) + rows("plain_matched", [1, 0], recall=0.25)
    some[0]["ranks"], some[1]["ranks"] = [11, 1, 1], [2, 2]
    some[0]["retaken"], some[1]["retaken"] = 1.0, 1.0
    told = book()
    figures.told(told, None, some, [])
    assert told.estimates["m state: poor takes taken again"].low == pytest.approx(
        0.342, abs=1e-3
    )  # Wilson, 2 of 2
    assert told.estimates["m state: fact recall"].mean == 0.75
    assert told.legend["m state: fact recall"]["minor"]
    assert told.legend["m plain_matched: fact recall"]["role"] == "baseline"
    assert told.estimates["m state: GTPA@1"].method == "wilson"
    assert "m plain_matched: GTPA@1" not in told.estimates
    assert told.estimates["state - plain_matched, fact recall"].mean == 0.5
    (curve,) = told.sections["curves"]
    points = [(row["arm"], row["x"], row["estimate"]["mean"]) for row in curve["rows"]]
    assert points == [("state", 1, 0), ("state", 2, 0.5), ("state", 3, 0.5)]
    assert "fact recall" in told.sections["about"]["names"]
    assert told.sections["tables"][0]["columns"].count("patient calls") == 0


def test_top_k_by_a_mixed_logit_with_its_separation_told():
    both, one, other = [1] * 20 + [0] * 10, [1] * 12 + [0] * 4, [0] * 12 + [1] * 4
    some = rows("state", both + one) + rows("plain_matched", both + other)
    for row in some[:46]:
        row["top10"] = 1
    told = book()
    figures.told(told, None, some, [])
    table = next(one for one in told.sections["tables"] if one["title"] == "Top-k, mixed logit")
    by = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    assert [row["top-k"] for row in by] == ["top1", "top3", "top5"]
    # twelve cases in which state alone is right to four: the closed form of two answers a case
    assert by[0]["odds ratio"] == pytest.approx(3, rel=1e-3)
    assert (by[0]["cases"], by[0]["state"], by[0]["plain_matched"]) == (46, 32 / 46, 24 / 46)
    assert 0.9 < by[0]["low"] < 3 < by[0]["high"]
    # Wald of the pairs' log odds ratio: sqrt(1/12 + 1/4) on the logit scale; three equal p stay as they are
    assert by[0]["p"] == pytest.approx(2 * stats.norm.sf(math.log(3) / math.sqrt(1 / 12 + 1 / 4)), abs=0.01)
    why = "all cases in which the arms differ are for one of them"
    assert told.sections["notes"][-1] == f"m: no odds ratio of top10: {why}."
    few, same = book(), book()
    figures.told(few, None, rows("state", one) + rows("plain_matched", other), [])
    figures.told(same, None, rows("state", both) + rows("plain_matched", both), [])
    assert [one["title"] for one in few.sections["tables"]] == ["Cost of the arms"]
    assert same.sections["notes"][-1].endswith("both arms are right in the same cases.")


def test_readers_have_intervals():
    taught = {"right": [1] * 45 + [0] * 5 + [1] * 20 + [0] * 30, "poor": [0] * 50 + [1] * 50}
    q = np.tile([0.8, 0.2], (100, 1))
    taught |= {"found": [1] * 100, "tones": [""] * 100, "q": q, "target": [1 - x for x in taught["right"]]}
    told = book()
    figures.read(told, {"reader/lesion": taught})
    gap, ece = (told.estimates[f"reader of lesions: {name}"] for name in ("good - poor", "ECE"))
    assert gap.mean == pytest.approx(0.5)
    assert 0.3 < gap.low < 0.5 < gap.high < 0.7
    assert ece.mean == pytest.approx(0.15)  # .8 said, .65 right, in one bin of ties
    assert ece.low < ece.mean < ece.high


SAYS = "scripted:say?text=%7B%22known%22%3Atrue%2C%22answer%22%3A%22I hum.%22%7D"


def test_a_consultation_end_to_end_with_what_patient_and_rater_cost(tmp_path):
    cases = [replace(CASE, id=f"c{i}", artefacts={}) for i in range(2)]
    found = []
    for patient in ("table", SAYS):
        room = places.room(cases, CLINIC, patient)
        side = room.patient
        chair = method.Doctor(model=scripted(CLINIC), turns=3, terms=[one.name for one in CLINIC.findings])
        talk = talked.held(room, chair, "c1", seed=0)
        assert room.patient is side
        found.append(talked.row(talk) | talked.course(talk, cases[1], CLINIC))
    table, played = found
    assert "patient calls" not in table
    assert 0 < table["recall"] <= 1
    assert 0 < table["trajectory"] < 1
    assert played["patient calls"] == played["asked"] > 0
    assert "recall" not in played
    rater = talked.spent("rater", Usage(calls=1, cached=2, tokens_in=5, tokens_out=6))
    assert rater == {"rater calls": 3, "rater tokens": 11}
    told, more = book(), {"doctor": "m", "arm": "state", "tags": {}, "top1": 1}
    figures.told(told, CLINIC, [{**played, **rater, **more}], [])
    cost = {row.pop("name"): row for row in told.sections["cost"]}
    assert cost["m state: rater"] == {"calls": 3, "tokens": 11}
    assert cost["m state: patient"]["calls"] == played["patient calls"]
    assert cost["m state"]["calls"] == played["calls"]
    assert told.sections["tables"][-1]["columns"][-5:-1] == [
        "patient calls", "patient tokens", "rater calls", "rater tokens"]  # fmt: skip


def test_the_exact_doctors_rows_are_scored_turn_by_turn():
    cases = [CASE, replace(CASE, id="d", diagnosis="Wane", findings={**CASE.findings, "chill": "yes"})]
    found = pictured.consulted(CLINIC, cases, ({}, {}), pictured.Setting(turns=3), arms=("text",), seed=0)
    assert [row["ranks"][-1] == 1 for row in found] == [bool(row["right"]) for row in found]
    assert all(len(row["ranks"]) == row["asked"] + 1 for row in found)
    assert [row["telling"] for row in found] == [0, 0]  # it may look at nothing in this arm
    assert found[1]["missed"] == 0  # the exact doctor asks a red flag that is due before anything else
    told = book()
    figures.told(told, CLINIC, [{"doctor": "bayes", **row} for row in found], [])
    assert told.estimates["read: text, PEF1"].n == 2
    assert told.sections["curves"][0]["rows"][0]["arm"] == "text"
