"""A live study from a run to its export: raters play patients before a doctor in a room."""

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from polymodal.cli import drafts
from polymodal.judge.people.app import app
from polymodal.judge.people.store import Store
from polymodal.judge.people.study import check, load
from polymodal.media import Image
from polymodal.metrics import mean
from polymodal.runs.result import Result
from polymodal.systems.clinical_dialogue import recipe
from polymodal.systems.consulting import rated
from polymodal.training.study import Book
from tests.judge.people.pocket import ADMIN, Browser
from tests.test_cli_study import call

STATE = "zeta=clinical_dialogue:scripted:clinic"
PLAIN = "omega=clinical_dialogue:plain:scripted:clinic"
PATIENT = "patient=clinical_dialogue:patient"
CONFIG = recipe.Config(cases=5, turns=(6,), seed=7)
NEW = ("--form", "live", "--partner", "zeta", "--partner", "omega")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of 5 cases leaves for people, with a live study of 3 of them before two doctors."""
    folder = tmp_path_factory.mktemp("run")
    config = asdict(CONFIG)
    Result("clinical_dialogue", "Talks", config, {"x": mean([1.0])}).write(folder)
    (folder / "study").mkdir()
    (folder / "study" / "osce.json").write_text(json.dumps(recipe.OSCE))
    told = call("new", folder, *NEW, "--sample", "7").output
    assert "6 units" in told
    return folder


@pytest.fixture
def opened(run: Path, tmp_path: Path) -> Iterator[Any]:
    """The study without delays, its store and site."""
    raw = json.loads((run / "study" / "live.json").read_text())
    raw["pages"][2]["options"]["delay"] = [0.0, 0.0]
    (run / "study" / "quick.json").write_text(json.dumps(raw))
    made = load(run / "study" / "quick.json")
    store = Store(f"sqlite:///{tmp_path / 'study.db'}", made)
    site = app(made, store, drafts.partners([STATE, PLAIN], run, made), admin_token=ADMIN)
    yield made, store, site, f"sqlite:///{tmp_path / 'study.db'}"
    site.state.desk.rooms.close()
    store.close()


def test_every_case_comes_before_both_doctors_with_a_card_and_its_pictures(run: Path) -> None:
    file = run / "study" / "live.json"
    assert check(file) == []
    made = load(file)
    units = list(made.units.values())
    assert {(one.item, one.subject) for one in units} == {
        (item, name) for item in {one.item for one in units} for name in ("zeta", "omega")
    }
    cases = {case.id: case for case in recipe.place(CONFIG)[1]}
    for one in units:
        card, *shown = one.cases[0].messages
        case, words = cases[one.item], "\n".join(part.read() for part in card.parts)
        assert f"Begin with these words: {case.initial}" in words
        assert case.diagnosis == one.cases[0].reference not in words
        assert [(m.role, m.parts[0].read()) for m in shown] == [
            ("shown", f"{kind}, take {n}") for kind in ("lesion", "trace", "page") for n in (1, 2, 3)
        ]
        pixels = shown[4].parts[1].pixels()
        assert (pixels == case.artefacts["trace"][1].image.pixels()).all()
    assert "yes" in call("plan", file).output
    assert "not for care" in made.raw["consent"]


def replied(rater: Browser, slot: int, after: int) -> str:
    """The doctor's next words."""
    pause = threading.Event()
    for _ in range(3000):
        seen = rater.client.get(f"/room/{slot}?after={after}").json()
        if seen["messages"]:
            assert seen["open"]
            return str(seen["messages"][0]["html"])
        assert seen["state"] == ""
        pause.wait(0.01)
    raise AssertionError("no reply")


def sent(rater: Browser, slot: int, picture: Image) -> str:
    files = {"file": ("me.png", picture.encoded(), "image/png")}
    found = rater.client.post("/upload", data={"slot": slot}, files=files, headers={"x-csrf": rater.csrf})
    return str(found.json()["blob"])


def played(rater: Browser, slot: int, unit: Any, restart: Any) -> list[str]:
    """The whole talk as the card has it; pages are not at hand; the server is started anew in between."""
    card = "\n".join(part.read() for part in unit.cases[0].messages[0].parts)
    answers = {name: value for line in card.splitlines() if line.startswith("Asked for any")
               for value, _, names in [line.partition("say: ")[2].partition(". ")]
               for name in names.split("; ")}  # fmt: skip
    takes = {m.parts[0].read(): m.parts[1] for m in unit.cases[0].messages[1:]}
    said, blobs, heard, n = card.partition("these words: ")[2].splitlines()[0], list[str](), list[str](), 0
    while True:
        done = rater.post("/say", slot=slot, text=said, blobs=blobs, key=str(n))
        assert done.status_code == 200, done.text
        heard.append(replied(rater, slot, 2 * n + 1))
        n, said, blobs = n + 1, "I see.", []
        if n == 3:
            restart()
        if "Goodbye" in heard[-1]:
            return heard
        asked = next((name for name in answers if f"noticed {name}?" in heard[-1]), "")
        kind = next((kind for kind in ("lesion", "trace", "page") if f": {kind}." in heard[-1]), "")
        if asked:
            said = answers[asked]
        elif kind == "page":
            said = "I have none at hand."
        elif kind:
            blobs, said = [sent(rater, slot, takes[f"{kind}, take 1"])], "Here."


def restarted(site: Any, run: Path, made: Any) -> None:
    """Doctors that know nothing of any talk."""
    site.state.desk.rooms.partners = drafts.partners([STATE, PLAIN], run, made)


def test_a_whole_talk_with_pictures_a_restart_and_a_form(opened: Any, run: Path, tmp_path: Path) -> None:
    made, store, site, db = opened
    token = store.enrol()
    rater = Browser(site, token)
    assert "not for care" in rater.client.get("/now").text
    rater.form("/consent", agreed="yes")
    rater.form("/next", page=2)
    here, subjects = rater.now(), set[str]()
    while here.get("slot"):
        slot, html = here["slot"], rater.client.get("/now").text
        unit = made.units[store.slot(store.rater(token), slot).unit]
        assert html.count("<img") >= 9
        assert "For research, not for care." in html
        assert not any(word in html for word in ("zeta", "omega", unit.cases[0].reference, unit.id))
        heard = played(rater, slot, unit, partial(restarted, site, run, made))
        subjects.add(unit.subject)
        assert "For research, not for care." in heard[0]
        assert not any("For research" in one for one in heard[1:-2])
        assert "It may be:" in heard[-3]
        assert any("Please let me see this" in one for one in heard)
        for field in here["questions"]:
            if field["required"]:
                assert rater.save(field["id"], 3, version=field["version"], slot=slot).status_code == 200
        assert rater.post("/submit", slot=slot).status_code == 200
        here = rater.now()
    assert here["kind"] == "debrief"
    assert subjects == {"zeta", "omega"}
    call("export", run / "study" / "quick.json", "--db", db, "--to", tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "messages.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["role"] == "assistant"]
    assert {line["role"] for line in lines} == {"user", "assistant"}
    assert {told[0]["usage"]["calls"], told[-1]["usage"]["calls"]} <= {0, 1, 5}
    assert sum(line["usage"]["calls"] for line in told) > 40
    assert any("blob" in part for line in lines for part in line["parts"])


def examined(rater: Browser, slot: int, unit: Any) -> None:
    """A talk with a patient: the complaint, an ECG, and its next take."""
    case = next(one for one in recipe.place(CONFIG)[1] if one.id == unit.item)
    takes = [take.image.pixels() for take in case.artefacts["trace"]]
    for n, said in enumerate(("What brings you here?", "Please show me the ECG", "Again, please")):
        assert rater.post("/say", slot=slot, text=said, blobs=[], key=str(n)).status_code == 200
        html = replied(rater, slot, 2 * n + 1)
        assert ("<img" in html, case.initial in html) == (n > 0, n == 0)
        if n:
            shown = rater.client.get(html.split('src="')[1].split('"')[0])
            assert (Image(shown.content).pixels() == takes[n - 1]).all()


def test_a_person_in_the_doctors_chair_is_shown_pictures_and_concludes(run: Path, tmp_path: Path) -> None:
    assert "3 units" in call("new", run, "--form", "live-doctor", "--sample", "3").output
    raw = json.loads((run / "study" / "live-doctor.json").read_text())
    raw["pages"][2]["options"]["delay"] = [0.0, 0.0]
    (run / "study" / "quick-doctor.json").write_text(json.dumps(raw))
    made, db = load(run / "study" / "quick-doctor.json"), f"sqlite:///{tmp_path / 'study.db'}"
    assert "not for care" in made.raw["consent"]
    store = Store(db, made)
    site = app(made, store, drafts.partners([PATIENT], run, made), admin_token=ADMIN)
    token = store.enrol()
    rater = Browser(site, token)
    rater.form("/consent", agreed="yes")
    rater.form("/next", page=2)
    while "slot" in (here := rater.now()) and here["slot"]:
        slot, html = here["slot"], rater.client.get("/now").text
        unit = made.units[store.slot(store.rater(token), slot).unit]
        reference = unit.cases[0].reference
        assert "For research, not for care." in html
        assert unit.cases[0].messages[-1].parts[0].read() in html
        assert not any(word in html for word in ("case:", unit.id, unit.item))
        examined(rater, slot, unit)
        answers = {"first_diagnosis": reference.upper(), "confidence": 0.5, "plan": "Rest.", "played": 4}
        for field, answer in answers.items():
            assert rater.save(field, answer, slot=slot).status_code == 200
        assert rater.post("/submit", slot=slot).status_code == 200
    site.state.desk.rooms.close()
    store.close()
    call("export", run / "study" / "quick-doctor.json", "--db", db, "--to", tmp_path / "out")
    book = Book(seed=0)
    book.sections["notes"] = []
    clinic, found, _ = recipe.place(CONFIG)
    rated.people(book, tmp_path / "out", found, clinic)
    assert (book.estimates["people: top1"].mean, book.estimates["people: top1"].n) == (1.0, 3)


def test_partners_that_are_missing_or_unknown_are_named(run: Path) -> None:
    made = load(run / "study" / "live.json")
    for given, why in (
        ([STATE], "who is omega"),
        (["zeta"], "a name, = and a model"),
        (["zeta=harm_evaluation:scripted:echo"], "nobody to talk to"),
        (["zeta=clinical_dialogue:scripted:parrot"], "no script 'parrot'"),
        (["zeta=clinical_dialogue:rigid:scripted:clinic"], "one of state, plain"),
        (["zeta=clinic:scripted:clinic"], "no kind of model"),
        (["zeta=clinical_dialogue:patient:nobody:x"], "no kind of model"),
    ):
        with pytest.raises((ValueError, LookupError), match=why):
            drafts.partners(given, run, made)
    with pytest.raises(FileExistsError):
        call("new", run, *NEW)
