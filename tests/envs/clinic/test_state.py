"""What a doctor keeps: whether a claim is held by its source, and what is left for the next visit."""

import json

from polymodal.envs.clinic.state import Line, Noted, Ranked, Seen, State, supported


def test_provenance_by_hand() -> None:
    lines = [
        Line("I am hot, and I cough."),
        Line("No.", "rash", "no"),
        Line("Here.", kind="lesion", digest="d"),
    ]
    seen = [Seen("d", "lesion", "good", ("lesion: ringed",))]
    claims = {
        Noted("hot", "present", 0, "I am HOT"): True,
        Noted("coughing", "present", 0, "I cough"): True,
        Noted("hot", "present", 0, "I am very hot"): False,
        Noted("hot", "present", 0): False,
        Noted("blindness", "present", 0, "I am hot"): False,
        Noted("rash", "absent", 1, "No."): True,
        Noted("rash", "present", 1, "No."): False,
        Noted("fever", "absent", 1, "No."): False,
        Noted("lesion: ringed", "present", "d"): True,
        Noted("lesion: spotted", "present", "d"): False,
        Noted("lesion: ringed", "present", "e"): False,
        Noted("fever", "present", 9, "hot"): False,
        Noted("fever", "present", 4, "Yes"): True,
        Noted("fever", "present", 6, "Yes"): False,
    }
    lines += [
        Line("", reply="Have you a fever?"),
        Line("Yes."),
        Line("", reply="[plan] For the fever."),
        Line("Yes."),
    ]
    assert supported([*claims], lines, seen) == (*claims.values(),)


def test_the_next_visit_keeps_what_is_known_and_begins_its_counts_anew() -> None:
    lines = (Line("I am hot.", reply="Do you cough?"), Line("Yes.", "cough", "yes", reply="[close]"))
    known = {
        "profile": {"allergies": ("nuts",)},
        "findings": (Noted("hot", "present", 0, "hot"), Noted("cough", "present", 1, "Yes.")),
        "artefacts": (Seen("d1", "lesion"), Seen("d2", "lesion"), Seen("d1", "lesion"), Seen("e", "trace")),
        "differential": (Ranked("Orvane fever", 1.0),),
        "plan": "Rest.",
        "sources": ("leaflet",),
    }
    trail = ("history", "present", "closed")
    counts = {"questions": 3, "retakes": 2, "separating": 1, "calls": 9, "invalid": 1}
    over = State(phase="closed", trail=trail, talk=lines, flags=("cut",), counts=counts, **known)
    back = over.returned()
    assert back == State(trail=(*trail, "history"), talk=lines, visits=(0, 2), **known)
    assert all(supported(back.findings, back.talk, back.artefacts))
    assert back.takes() == {"lesion": 1, "trace": 0}
    assert State.from_json(back.to_json()) == back
    third = back.moved("present").moved("closed").returned()
    assert (third.visits, third.trail[-3:]) == ((0, 2, 2), ("present", "closed", "history"))


def test_a_question_that_was_broken_off_is_not_answered_by_the_next_visit() -> None:
    asked = State(talk=(Line("I am hot.", reply="Do you cough?"),))
    claim = Noted("cough", "present", 1, "I came")
    for state, held in ((asked, True), (asked.returned(), False)):
        talk = (*state.talk, Line("I came because of a rash."))
        assert supported([claim], talk, ()) == (held,)
    assert asked.returned().trail == ("history", "history")


def test_states_of_runs_before_visits_are_read() -> None:
    told = json.loads(State(talk=(Line("I cough."),)).to_json())
    del told["visits"]
    assert State.from_json(json.dumps(told)).visits == (0,)
