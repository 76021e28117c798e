"""What a newcomer gives clinical_dialogue: values, data sets, models and patients that are not as wanted."""

import json

import numpy as np
import pytest

from polymodal.chat import Scripted, assistant
from polymodal.chat.model import Reply
from polymodal.envs.artefacts import KINDS
from polymodal.envs.cases import cases, clinic
from polymodal.envs.clinic.scripted import scripted
from polymodal.envs.clinic.state import Line, Ranked, State
from polymodal.media import Invalid
from polymodal.systems.clinical_dialogue import data, method, recipe
from polymodal.systems.clinical_dialogue.method import Doctor, Plain
from polymodal.systems.consulting import figures, places, rated, seats, talked
from polymodal.training.study import Book

NAMES = ("Malar", "Malbec")
TABLES = {
    "diseases": [{"name": name, "prior": 0.5} for name in NAMES],
    "findings": [{"name": "cough"}, {"name": "pain", "values": ["none", "mild", "strong"]}],
    "frequency": {
        "Malar": {"cough": 0.9, "pain": [0.8, 0.1, 0.1]},
        "Malbec": {"cough": 0.1, "pain": [0.1, 0.1, 0.8]},
    },
    "artefacts": [
        {"kind": "nail", "classes": ["clear", "ridged"], "frequency": {"Malar": [0.9, 0.1], "Malbec": [0, 1]}}
    ],
}


def written(root, splits, *, tables=True, extra=()):
    rows = [
        {
            "id": f"c{n}",
            "split": split,
            "diagnosis": NAMES[n % 2],
            "initial": "I cough.",
            "findings": {"cough": n % 2 == 0, "pain": ("none", "strong")[n % 2]},
        }
        for n, split in enumerate(splits)
    ]
    (root / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *extra]))
    if tables:
        (root / "clinic.json").write_text(json.dumps(TABLES))
    return root


@pytest.mark.parametrize(
    "given",
    [
        {"turns": (0,)},
        {"turns": (4, -1)},
        {"turns": ()},
        {"doctor": ()},
        {"arm": ()},
        {"arm": ("foo",)},
        {"stop": 2.0},
        {"stop": float("nan")},
        {"stop": "learned", "cost": 0.5},
        {"cost": float("inf")},
        {"cost": -1.0},
        {"cases": 0},
        {"epochs": 0},
        {"seeds": 0},
        {"seed": -1},
    ],
)
def test_values_that_cannot_be_used_are_refused_by_name_before_anything_runs(given):
    with pytest.raises(ValueError, match=rf"^{next(iter(given))}="):
        recipe.Config(**given)


def test_an_absent_library_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"library=.*nowhere: no such"):
        recipe.Config(library=str(tmp_path / "nowhere"))


def test_cases_that_cannot_be_used_are_counted_beside_a_test_split_too(tmp_path):
    broken = {"id": "bad", "split": "test", "diagnosis": "", "initial": "I cough."}
    path = written(tmp_path, ["train", "test", "test"], extra=[broken])
    _, found, lost = places.place(str(path), data.pocket(), 9, seed=0)
    assert [one.id for one in found] == ["c1", "c2"]
    assert [(one.reason, one.where) for one in lost] == [("diagnosis", "cases.jsonl:4")]


def test_cases_that_tables_were_learned_from_are_not_tested_on(tmp_path):
    path = written(tmp_path, ["train", "train", "val"], tables=False)
    _, found, _ = places.place(str(path), data.pocket(), 9, seed=0)
    assert [one.id for one in found] == ["c2"]
    written(tmp_path, ["train", "train"], tables=False)
    with pytest.raises(ValueError, match="learned from the train split, so a test split is wanted"):
        places.place(str(path), data.pocket(), 9, seed=0)
    written(tmp_path, ["train", "train"])
    assert len(places.place(str(path), data.pocket(), 9, seed=0)[1]) == 2


def test_a_run_says_which_artefacts_no_reader_knows(tmp_path):
    tables = clinic(written(tmp_path, ["test"]))
    told = places.about(recipe.Config(data=str(tmp_path)), tables, data.pocket(), 1)
    assert "2 diseases, 2 findings, 1 artefacts" in told
    assert told.endswith(
        "nail (0 labelled pictures of 0 classes to learn from): the exact doctor asks in words."
    )
    assert "No reader" not in places.about(recipe.Config(), data.pocket(), data.pocket(), 1)


def test_patients_are_drawn_by_tables_that_come_without_cases(tmp_path):
    many = [{"kind": one.kind, "classes": list(one.classes), "frequency": shown(one)} for one in KINDS]
    given = TABLES | {"artefacts": [*TABLES["artefacts"], many[0]]}
    (tmp_path / "clinic.json").write_text(json.dumps(given))
    tables, found, lost = places.place(str(tmp_path), data.pocket(), 10**6, seed=0)
    assert (len(found), lost) == (places.IMAGINED, [])
    assert {one.diagnosis for one in found} == set(NAMES)
    came = {(one.complaint, one.findings["cough"] == "yes") for one in found}
    assert came == {("cough", True), ("", False)}  # nobody comes because of no pain, or a cough they lack
    assert list(found[0].artefacts) == ["lesion"]  # nails are not drawn here
    assert found[0].artefacts["lesion"][0].image.pixels().shape == (64, 64, 3)
    told = places.about(recipe.Config(data=str(tmp_path)), tables, data.pocket(), 9)
    assert "9 generated patients: there are tables and no cases." in told
    assert "No more are read" not in told
    some = places.about(recipe.Config(data=str(tmp_path), cases=9), tables, data.pocket(), 9)
    assert "No more are read (cases=9)." in some
    assert "No nail can be drawn, so nobody asks for one." in told
    env = recipe.env(recipe.Config(data=str(tmp_path), cases=5))
    assert len(env.cases) == 5
    (tmp_path / "clinic.json").write_text(json.dumps(TABLES | {"artefacts": []}))
    assert not places.place(str(tmp_path), data.pocket(), 3, seed=0)[1][2].artefacts


def shown(kind):
    return {name: [1 / len(kind.classes)] * len(kind.classes) for name in NAMES}


def test_no_chunk_is_of_a_single_case():
    assert places.starts(41, 20) == {0: 20, 20: 41}
    assert places.starts(40, 20) == {0: 20, 20: 40}
    assert places.starts(22, 20) == {0: 20, 20: 22}
    assert places.starts(1, 20) == {0: 1}


def test_a_complaint_of_several_values_does_not_say_which(tmp_path):
    rows = [
        {"id": name, "diagnosis": "Malar", "initial": name, "findings": {}, "split": "test"}
        for name in ("pain", "cough")
    ]
    tables = clinic(written(tmp_path, [], extra=rows))
    pain, cough = cases(tmp_path, tables)
    assert not isinstance(pain, Invalid)
    assert (pain.complaint, dict(pain.findings)) == ("pain", {})
    assert dict(cough.findings) == {"cough": "yes"}


class Babble:
    """A chat model that never answers in form."""

    name = "babble"

    def __call__(self, *messages, seed, schema=None):
        return Reply(assistant("I would rather talk about the weather."))


def test_a_talk_without_a_diagnosis_is_unfinished_and_the_report_says_why(tmp_path):
    tables = clinic(written(tmp_path, ["test", "test"]))
    _, found, _ = places.place(str(tmp_path), data.pocket(), 2, seed=0)
    env = places.room(found, tables, "auto")
    rows = [talked.row(talked.held(env, Plain(model=Babble(), turns=3), i, seed=0)) for i in range(2)]
    assert all(row["unfinished"] and not row["right"] and not row["reason"] for row in rows)
    assert rows[0]["why"] == {"unparsable": 4}
    book = Book(seed=0)
    book.sections["notes"] = []
    figures.noted(book, "babble plain", rows)
    assert book.sections["notes"] == [
        "babble plain: 2 of 2 consultations ended without a diagnosis, which counts as wrong.",
        "babble plain: 2 of 2 consultations had a call that gave nothing valid, asked twice.",
        "babble plain: what became of those calls: unparsable 8.",
    ]


def believing(*names: str) -> State:
    return State(differential=tuple(Ranked(name, 1.0) for name in names))


def test_a_rating_model_scores_each_axis_and_arms_are_compared(tmp_path):
    written(tmp_path, ["test"])
    _, (case,), _ = places.place(str(tmp_path), data.pocket(), 1, seed=0)
    told = {"rationale": "r", "gathering": 4, "plan": 3, "hallucination": 0, "harm": 1, "evidence": []}
    good = Scripted("scripted:good", lambda messages, seed: json.dumps(told))
    messages = method.messages(State(talk=(Line("It hurts.", reply="Where?"),)))
    found = rated.rated(good, recipe.OSCE["rater"], messages, case, seed=0)
    assert {k: found[k] for k in ("axis gathering", "axis plan", "axis harm")} == {
        "axis gathering": 4.0, "axis plan": 3.0, "axis harm": 1.0,
    }  # fmt: skip
    assert rated.rated(Babble(), recipe.OSCE["rater"], messages, case, seed=0) == {"unrated": "unparsable"}
    assert rated.rated(good, recipe.OSCE["rater"], (), case, seed=0) == {"unrated": "no talk"}
    book = Book(seed=0)
    book.sections["notes"] = []
    rows = {
        arm: [{"case": f"c{i}", "axis plan": x + i % 2} for i in range(6)]
        + [{"case": "c9", "unrated": "timeout"}]
        for arm, x in (("state", 4.0), ("plain_matched", 2.0))
    }
    rated.axes(book, "m", rows)
    gap = book.estimates["m: state - plain_matched, axis plan"]
    assert (gap.mean, gap.n_valid) == (2.0, 6)
    assert book.estimates["m state: axis plan"].mean == 4.5
    assert book.sections["notes"] == [f"m {arm}: 1 of 7 got no rating." for arm in rows]


def test_a_rater_counts_a_talk_without_a_diagnosis_as_different(tmp_path):
    written(tmp_path, ["test"])
    _, (case,), _ = places.place(str(tmp_path), data.pocket(), 1, seed=0)
    config = recipe.Config(rater="scripted:say?text=yes", compat=True)
    for name, told in (("Malar", "same"), (None, "different"), ("other", "different")):
        state = believing(*filter(None, [name]))
        found = seats.judged(config, method, recipe.OSCE["rater"], state, case, None, None)
        assert found["relation"] == told


def test_replies_of_the_patients_and_the_raters_model_are_kept(tmp_path, monkeypatch):
    written(tmp_path, ["test"])
    _, found, _ = places.place(str(tmp_path), data.pocket(), 1, seed=0)
    asked, store = [], object()

    def connect(spec, *, store=None):
        asked.append((spec, store))
        return Babble()

    monkeypatch.setattr(places, "connect", connect)
    monkeypatch.setattr(seats, "connect", connect)
    config = recipe.Config(patient="openai:p@http://x", rater="openai:r@http://x")
    recipe.room(config, None, found, store=store)
    seats.judged(config, method, recipe.OSCE["rater"], believing("Malar"), found[0], None, store)
    assert asked == [("openai:p@http://x", store), ("openai:r@http://x", store)]


def test_a_share_by_exact_inference_stays_within_its_bounds():
    rows = [
        {"case": f"c{n}", "acquired": float(n < 5), "tags": {}, **dict.fromkeys(figures.WANTED, 1.0)}
        for n in range(6)
    ]
    book = Book(seed=0)
    book.sections["notes"] = []
    figures.compared(book, "m", {"state": rows}, [row["case"] for row in rows], first=True)
    found = book.estimates["m state: top1 by exact inference"]
    assert np.isclose(found.mean, 5 / 6)
    assert 0 <= found.low <= found.high <= 1


def test_the_scripted_mind_keeps_which_of_several_values_was_said(tmp_path):
    rows = [
        {"id": value, "diagnosis": name, "initial": "I feel ill.", "findings": {"pain": value}}
        for name, value in zip(NAMES, ("none", "strong"), strict=True)
    ]
    tables = clinic(written(tmp_path, [], extra=rows))
    env = places.room(list(cases(tmp_path, tables)), tables, "auto")
    chair = Doctor(model=scripted(tables), terms=["cough", "pain"], turns=4)
    for i, name in enumerate(NAMES):
        state = talked.held(env, chair, i, seed=0).states[-1]
        assert "pain" in {one.name for one in state.findings}
        assert state.differential[0].name == name
