"""The state-aware dialogue: phases, gates, faults, resume, controls; all on a small invented clinic."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.systems.consultation import CLASSES, NAMES, clinic, patients, reader, talk

from polymodal.chat import Budget, Ledger, Reply, Scripted, assistant, cached, connect, metered
from polymodal.envs.clinic import Ask, Close, Plan, Present, Request, Retake
from polymodal.envs.clinic.chair import Traced, told
from polymodal.envs.clinic.patient import Consultation, heard
from polymodal.envs.clinic.scripted import scripted
from polymodal.envs.clinic.state import TRANSITIONS, Seen, State, supported
from polymodal.envs.play import play
from polymodal.judge.people.design import plan as dealt
from polymodal.judge.people.study import parse
from polymodal.judge.rubric import read_rubric
from polymodal.systems.clinical_dialogue import method
from polymodal.systems.clinical_dialogue.method import Doctor, Plain, moderated, record, scrambled

TABLES, CASES = clinic(), patients(40)
MODEL = scripted(TABLES)
ENV = Consultation(CASES, clinic=TABLES)
STAGES = ("update", "rank", "gaps", "go_on", "reply", "valid", "separate", "plan", "followup")


def doctor(model=MODEL, **options) -> Doctor:
    return Doctor(model=model, readers={"lesion": reader}, kinds=["lesion"], **{"turns": 10, **options})


def broken(*stages: str, text: str = "{", model=MODEL) -> Scripted:
    """The model, but that some calls give nothing valid, at the re-ask as well."""

    def answer(messages, seed):
        asked = next(json.loads(m.parts[0].read().rpartition("\n")[2]) for m in messages if m.role == "user")
        return text if set(stages) & set(asked["call"]) else model(*messages, seed=seed)

    return Scripted(f"scripted:broken-{'-'.join(stages)}", answer)


class Late(Consultation):
    """Its patients tell of an allergy when they are told the differential, one in five."""

    def step(self, action):
        seen, *rest = super().step(action)
        if isinstance(action, Present) and int(rest[-1]["case"][1:]) % 5 == 0:
            seen = heard("I should have said: I am allergic to penicillin.")
        return (seen, *rest)


def test_a_consultation_takes_its_course_and_leaves_a_record() -> None:
    passages = [type("Passage", (), {"text": "Rest and water.", "source": "leaflet.txt:3"})()]
    chair = doctor(search=lambda query, n: passages)
    spoken, actions, states, _ = talk(ENV, chair, "c0")
    assert states[-1].trail == ("history", "validate", "present", "plan", "followup", "closed")
    assert [type(one) for one in actions[-3:]] == [Present, Plan, Close]
    assert Request("lesion") in actions
    assert actions[-2].sources == ("leaflet.txt:3",)
    assert sum(p for _, p in actions[-3].differential) == pytest.approx(1)
    kept = record(states[-1])
    assert kept["note"] == "For research, not for care."
    assert all(row["supported"] for row in kept["findings"])
    assert {row["source"] for row in kept["findings"]} > {states[-1].artefacts[0].digest}
    assert len(method.messages(states[-1])) == 2 * len(spoken) + 1
    with pytest.raises(RuntimeError, match="closed"):
        chair(spoken[0])


def test_states_go_through_json_to_the_byte_and_bad_lines_are_refused() -> None:
    for state in talk(ENV, doctor(), "c3")[2]:
        again = State.from_json(state.to_json())
        assert again == state
        assert again.to_json() == state.to_json()
    for line in ("{}", "[1]", "nonsense", '{"findings": 3}'):
        with pytest.raises(ValueError):
            State.from_json(line)


def test_every_transition_is_reached_and_no_other() -> None:
    reached: set[tuple[str, str]] = set()
    for calls in (None, *range(20)):
        model = MODEL if calls is None else metered(MODEL, Ledger(), "doctor", budget=Budget(calls=calls))
        states = talk(ENV, doctor(model), "c0")[2]
        assert states[-1].phase == "closed"
        reached |= set(zip(states[-1].trail, states[-1].trail[1:], strict=False))
    late = talk(Late(CASES, clinic=TABLES), doctor(), "c0")[2][-1]
    reached |= set(zip(late.trail, late.trail[1:], strict=False))
    validating = heard("In the validation: I take tablets for my heart.")
    chair = doctor(broken("valid", model=scripted(TABLES, stop=0.3)))
    chair.start(seed=0)
    chair(heard("I have sign 3.", finding="sign 3", value="yes"))
    assert chair.state.phase == "validate"
    chair(validating)
    reached.add(chair.state.trail[-2:])
    for last in (heard("But what of my tablets?"), heard("I am allergic to nuts.")):
        chair = doctor()
        for phase in ("plan", "followup"):
            chair.resume(replace(talk(ENV, doctor(), "c0")[2][-2], phase=phase, trail=(phase,)))
            chair(last)
            reached |= set(zip(chair.state.trail, chair.state.trail[1:], strict=False))
    back = late.returned()
    reached.add(back.trail[-2:])
    assert reached == {(one, to) for one, tos in TRANSITIONS.items() for to in tos}
    with pytest.raises(ValueError, match="no step from 'history' to 'plan'; known: present, validate"):
        State().moved("plan")


@pytest.mark.parametrize("calls", ["five", "merged"])
def test_a_call_that_gives_nothing_valid_is_counted_and_ends_nothing(calls: str) -> None:
    negative = '{"differential": [{"name": "a", "p": -1}]}'
    zero = '{"differential": [{"name": "a", "p": 0}, {"name": "b", "p": 0}]}'
    for stage in STAGES:
        for text in (negative, zero, "") if stage == "rank" else ('{"act": 1}',):
            model = broken(stage, text=text, model=scripted(TABLES, stop=0.5))
            _, actions, states, _ = talk(ENV, doctor(model, turns=6, calls=calls), "c0")
            kinds = [type(one) for one in actions]
            assert (kinds[-1], kinds.count(Present), Plan in kinds) == (Close, 1, True), stage
            assert len(kinds) >= 4, (stage, kinds)
            if calls == "five" and stage != "separate":  # which is not always called
                assert states[-1].counts[f"invalid:{stage}"] >= 1
            if stage == "rank" and calls == "five":
                assert not states[-1].differential
    everything = talk(ENV, doctor(broken(*STAGES), turns=4, calls=calls), "c1")
    assert [told(one) for one in everything[1]] == [method.ANYTHING] * 4 + [
        "[present] ",
        f"[plan] {method.NO_PLAN}",
        "[close]",
    ]
    assert {"no plan", "question unread"} <= set(everything[2][-1].flags)


def test_a_reply_that_is_broken_once_is_asked_for_again() -> None:
    _, actions, states, _ = talk(ENV, doctor(scripted(TABLES, malformed=0.2)), "c2")
    clean = talk(ENV, doctor(), "c2")
    assert states[-1].counts["calls"] > clean[2][-1].counts["calls"]
    assert isinstance(actions[-1], Close)


def test_the_same_seed_gives_the_same_bytes_and_a_killed_consultation_resumes_at_each_turn() -> None:
    class Shelf(dict):
        def put(self, key: str, value: bytes) -> None:
            self.setdefault(key, value)

    model, shelf = scripted(TABLES, malformed=0.1, unsupported=0.2), Shelf()
    spoken, actions, states, _ = talk(ENV, doctor(cached(model, shelf)), "c4", seed=7)
    for turn in range(len(spoken) + 1):  # killed after so many turns
        replayed, resumed = doctor(cached(model, shelf)), doctor(model)
        replayed.start(seed=7)
        assert [replayed(one) for one in spoken[:turn]] == actions[:turn]
        resumed.resume(State.from_json(states[turn - 1].to_json()) if turn else State(), seed=7)
        assert [resumed(one) for one in spoken[turn:]] == actions[turn:]
        assert replayed.state == (states[turn - 1] if turn else State())
        if turn < len(spoken):
            assert resumed.state.to_json() == states[-1].to_json()


def test_the_trace_of_play_holds_each_state() -> None:
    lines = [
        [turn.line() for turn in play(ENV, Traced(doctor()), seed=3, limit=40, options={"case": "c5"})]
        for _ in range(2)
    ]
    assert lines[0] == lines[1]
    last = list(play(ENV, Traced(doctor()), seed=3, limit=40, options={"case": "c5"}))[-1]
    assert last.terminated
    assert State.from_json(last.steps[0]).phase == "closed"
    assert last.usage.calls >= 1


def test_a_spent_budget_presents_the_last_differential_and_says_so() -> None:
    whole = talk(ENV, doctor(), "c6")
    for calls in (0, 1, 3, 6, 7):
        model = metered(MODEL, Ledger(), "doctor", budget=Budget(calls=calls))
        _, actions, states, _ = talk(ENV, doctor(model), "c6")
        assert [type(one) for one in actions[-2:]] == [Present, Close]
        assert "cut" in states[-1].flags
        assert states[-1].counts["calls"] == calls
        assert bool(actions[-2].differential) == (calls > 1)
    assert "cut" not in whole[2][-1].flags


def test_late_allergies_reopen_every_history_and_none_of_a_rigid_doctor() -> None:
    env = Late(CASES, clinic=TABLES)
    for number in (0, 1, 5, 6, 10, 15):
        late = number % 5 == 0
        for reopen in (True, False):
            _, actions, states, _ = talk(env, doctor(reopen=reopen, turns=20), f"c{number}")
            shown = [n for n, one in enumerate(actions) if isinstance(one, Present)]
            again = late and reopen
            assert ("reopened" in states[-1].flags) == again
            assert len(shown) == 1 + again
            assert any(isinstance(one, Ask) for one in actions[shown[0] + 1 :]) == again  # it asks
            assert ("penicillin" in states[-1].plan) == late  # and minds it in either case: the plan is later
            assert bool(states[-1].profile.get("allergies")) == late


def test_an_improbable_late_finding_reopens_and_a_usual_one_does_not() -> None:
    def noting(often: str) -> Scripted:
        note = {"name": "sign 99", "status": "present", "from": "said", "quote": "x", "often": often}
        return broken("update", text=json.dumps({"findings": [note]}))

    before = talk(ENV, doctor(), "c0")[2][-3]
    assert before.phase == "present"
    for often, phase in (("never", "history"), ("rare", "plan"), ("always", "plan")):
        chair = doctor(noting(often))
        chair.resume(before)
        chair(heard("There is something else."))
        assert chair.state.phase == phase, often


def test_no_diagnosis_of_the_differential_is_named_before_present() -> None:
    loud = '{"act": "ask", "text": "I think of %s; do you cough?"}'
    model = broken("reply", "separate", text=loud % ", ".join(NAMES))
    for chair in (doctor(), doctor(gap="eig"), doctor(model)):
        actions = talk(ENV, chair, "c7")[1]
        before = actions[: [type(one) for one in actions].index(Present)]
        assert before
        assert not [one for one in before for name in NAMES if name.lower() in told(one).lower()]
    assert chair.state.counts["held_back"] == len(before)


def test_limits_hold_of_turns_and_retakes() -> None:
    eager = broken("reply", text='{"act": "retake", "text": "", "kind": "lesion"}')
    on = broken("go_on", text='{"go_on": true}', model=eager)
    _, actions, states, _ = talk(ENV, doctor(on, turns=20), "c8", limit=80)
    asked = [one for one in actions if isinstance(one, Ask | Request | Retake)]
    assert len(asked) == states[-1].counts["questions"] == 20
    assert sum(isinstance(one, Retake) for one in actions) == 3
    asks = broken("followup", text='{"question": true, "answer": "It will pass."}')
    actions = talk(ENV, doctor(asks, turns=10), "c8", limit=80)[1]
    assert isinstance(actions[-1], Close)
    assert Plan("It will pass.") in actions


def test_invented_ids_negative_mass_and_the_rest() -> None:
    rows = [
        {"name": "A", "p": 0.3, "for": ["sign 3", "made up"]},
        {"name": "B", "p": 0.2},
        {"name": "a", "p": 0.1},
    ]
    chair = doctor(broken("rank", text=json.dumps({"differential": rows})))
    chair.start(seed=0)
    chair(heard("I have sign 3.", finding="sign 3", value="yes"))
    told_ = [(one.name, round(one.p, 6)) for one in chair.state.differential]
    assert told_ == [("A", 0.4), ("B", 0.2), ("other", 0.4)]
    assert chair.state.differential[0].support == ()  # the later entry of the same name cites nothing
    assert chair.state.counts["invented"] == 1
    percent = [{"name": "A", "p": 60}, {"name": "B", "p": 60}]
    chair = doctor(broken("rank", text=json.dumps({"differential": percent})))
    chair(heard("I have sign 3."))
    assert [one.p for one in chair.state.differential] == [0.5, 0.5]


def test_provenance_finds_all_planted_claims_and_raises_no_false_alarm() -> None:
    planted = claims = 0
    for case in CASES[:14]:
        for share in (0.0, 0.1):
            state = talk(ENV, doctor(scripted(TABLES, unsupported=share)), case.id, seed=1)[2][-1]
            holds = supported(state.findings, state.talk, state.artefacts)
            asked = {(line.finding, n) for n, line in enumerate(state.talk)}
            truth = [isinstance(one.source, str) or (one.name, one.source) in asked for one in state.findings]
            assert list(holds) == truth
            planted += truth.count(False)
            claims += len(truth) if share else 0
    assert 0.04 < planted / claims < 0.2


def test_state_beats_plain_prompting_that_forgets_and_a_scrambled_state_gains_nothing() -> None:
    model, top = scripted(TABLES, span=3), dict[str, list[float]]()
    states, spent, cases = {}, {}, CASES[:12]
    for case in cases:
        *_, states[case.id], right = talk(ENV, doctor(model), case.id)
        spent[case.id] = states[case.id][-1].counts["calls"]
        top.setdefault("state", []).append(right)
    plain = {"readers": {"lesion": reader}, "kinds": ["lesion"], "turns": 10}
    for n, case in enumerate(cases):
        matched = Plain(model=model, budget=Budget(calls=spent[case.id]), **plain)
        *_, last, right = talk(ENV, matched, case.id)
        assert spent[case.id] - 4 <= last[-1].counts["calls"] <= spent[case.id]
        top.setdefault("matched", []).append(right)
        top.setdefault("plain", []).append(talk(ENV, Plain(model=model, **plain), case.id)[3])
        swap = scrambled(states[cases[n - 1].id])
        top.setdefault("scrambled", []).append(talk(ENV, doctor(model, swap=swap), case.id)[3])
    means = {name: np.mean(values) for name, values in top.items()}
    assert means["state"] > means["matched"] + 0.1
    assert means["scrambled"] < means["plain"]
    with pytest.raises(ValueError, match="one a turn"):
        scrambled([])


def test_a_matched_budget_is_spent_on_votes_that_mend_slips() -> None:
    plain = {"readers": {"lesion": reader}, "kinds": ["lesion"], "turns": 5}
    slips = {"one": 0, "votes": 0}
    for case in CASES[:10]:
        sure = talk(ENV, Plain(model=MODEL, **plain), case.id)[2][-1].differential[0].name
        for name, budget in (("one", None), ("votes", Budget(calls=40))):
            chair = Plain(model=scripted(TABLES, slip=0.5), budget=budget, **plain)
            last = talk(ENV, chair, case.id)[2][-1]
            slips[name] += last.differential[0].name != sure
            assert budget is None or 36 <= last.counts["calls"] <= 40
    assert slips["votes"] == 0 < 2 <= slips["one"]


def test_plain_prompting_survives_broken_replies_and_spent_budgets() -> None:
    for stage in ("plain", "final"):
        _, actions, states, _ = talk(ENV, Plain(model=broken(stage), turns=3), "c9")
        assert isinstance(actions[-1], Close)
        assert states[-1].counts[f"invalid:{stage}"] >= 1
    chair = Plain(model=scripted(TABLES, malformed=0.9), turns=6, budget=Budget(calls=12, tokens=1000))
    _, actions, states, _ = talk(ENV, chair, "c9")
    assert isinstance(actions[-1], Close)
    assert states[-1].counts["calls"] <= 12


def test_the_script_by_name_and_its_options() -> None:
    scripts = {"clinic": partial(scripted, TABLES)}
    model = connect("scripted:clinic?malformed=0.5&span=3", scripts=scripts)
    assert model.name.startswith("scripted:clinic?malformed=0.5&unsupported=0&slip=0&stop=0.9&span=3@")
    assert model.name != connect("scripted:clinic", scripts=scripts).name
    for wrong in ("malformed=2", "span=-1"):
        with pytest.raises(ValueError, match="scripted:clinic"):
            connect(f"scripted:clinic?{wrong}", scripts=scripts)
    assert MODEL(assistant("hello"), seed=0).text == "There is nothing to say."


def test_pictures_go_to_the_model_and_what_cannot_be_read_is_said() -> None:
    shown = []

    def looking(messages, seed):
        shown.append([part.kind for part in messages[1].parts])
        return MODEL(*messages, seed=seed)

    chair = Doctor(model=Scripted("scripted:looking", looking), kinds=["lesion"], turns=4)
    talk(ENV, chair, "c1")
    assert ["text", "image"] in shown
    chair = doctor()
    chair(heard("The lesion could not be read.", kind="lesion"))
    assert chair.state.artefacts == (Seen("", "lesion", "unread"),)
    assert CLASSES[0] not in chair.state.to_json()


def test_moderators_compat_and_strict() -> None:
    def saying(text: str) -> Scripted:
        return Scripted(f"scripted:{text}", lambda messages, seed: Reply(assistant(text)))

    words = {"yes": "same", "yes.": "different", "Yes": "different", "no": "different"}
    assert {w: moderated(saying(w), "a", "b", compat=True, seed=0) for w in words} == words
    assert moderated(saying('{"relation": "broader"}'), "a", "b", compat=False, seed=0) == "broader"
    assert moderated(saying("yes"), "a", "b", compat=False, seed=0) is None


def test_prompts_say_what_they_are_for_and_the_forms_can_be_used() -> None:
    assert all(words.startswith("For research, not for care.") for words in method.PROMPTS.values())
    assert set(STAGES) | {"eig", "plain", "final", "moderate"} == set(method.SCHEMAS)
    forms = json.loads(Path(method.__file__).with_name("osce.json").read_text(encoding="utf-8"))
    line = [{"role": "user", "parts": ["hello"]}]
    units = [
        {"id": f"u{i}", "item": f"i{i // 2}", "subject": "ab"[i % 2], "messages": line} for i in range(210)
    ]
    for rater in ("actor", "specialist"):
        study = parse({**forms[rater], "units": units}, Path())
        assert dealt(study).connected
        assert "not for care" in forms[rater]["consent"]
    families = [one.family for one in study.asked(2).items]
    assert families.count("multimodal") == 9
    assert len(read_rubric(forms["rater"]).asked_of("model").items) == 4
