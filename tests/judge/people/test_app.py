"""app: the flow over HTTP, without a browser: saves, conflicts, reveals, withdrawal, the operator's page."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.judge.people.pocket import ADMIN, PARTNERS, Browser, only, rubric, study, unit
from tests.judge.people.pocket import q as question

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from polymodal.judge.people.app import app, number_of
from polymodal.judge.people.store import Store
from polymodal.judge.people.tables import UnavailableError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture
def opening(folder: Path, tmp_path: Path) -> Iterator[Any]:
    """Makes a study of some pages; gives its store and a way to open browsers on it."""
    stores = []

    def make(*pages: str, **changes: Any) -> tuple[Store, Any]:
        found = only(folder, *pages, **changes) if pages else study(folder, **changes)
        store = Store(f"sqlite:///{tmp_path / 'study.db'}", found)
        stores.append(store)
        site = app(found, store, PARTNERS, admin_token=ADMIN)
        return store, lambda **who: Browser(site, store.enrol(**who))

    yield make
    for store in stores:
        store.close()


def test_every_page_comes_in_order_and_the_end_is_the_end(opening: Any) -> None:
    store, visit = opening()
    rater = visit()
    assert rater.now()["kind"] == "consent"
    assert rater.form("/next", page=1).status_code == 409  # consent comes first
    rater.form("/consent", agreed="yes")
    assert (rater.now()["kind"], rater.now()["onward"]) == ("instructions", 2)
    rater.form("/next", page=2)
    kinds, values = [], {"text": "x", "slider": 5, "number": 3, "probability": 0.5}
    while "slot" in (page := rater.now()):
        kinds.append(page["kind"])
        for field in page["questions"]:
            if field["required"] and not field["locked"] and not field["show_if"]:
                value = values.get(field["kind"]) or json.loads(field["levels"][-1]["json"])
                assert (
                    rater.save(field["id"], value, version=field["version"], slot=page["slot"]).status_code
                    == 200
                )
        done = rater.post(page["action"], slot=page["slot"])
        assert done.status_code == 200
        assert rater.client.get(done.json()["to"]).status_code == 200
        if page["kind"] == "training":
            assert done.json()["to"] == f"/feedback/{page['slot']}"
        assert rater.client.get("/").url.path == "/now"
    assert kinds == ["training", "block", "block", "block", "block", "advice", "advice", "room", "instrument"]
    assert (page["kind"], page["onward"], page["state"]) == ("debrief", None, "done")
    assert store.progress()["raters"] == {"done": 1}


def test_saves_are_idempotent_stale_ones_get_the_newer_and_wrong_ones_a_reason(opening: Any) -> None:
    store, visit = opening("consent", "rate")
    rater = visit()
    rater.form("/consent", agreed="yes")
    assert rater.save("fluent", 4).json() == {"results": [{"field": "fluent", "version": 1, "seq": 1}]}
    assert rater.save("fluent", 4).json() == {"results": [{"field": "fluent", "version": 1, "seq": 1}]}
    stale = rater.save("fluent", 2, seq=2, version=0)
    assert stale.status_code == 409
    newer = {"value": 4, "na": False, "note": "", "version": 1}
    assert stale.json() == {"results": [{"field": "fluent", "newer": newer}]}
    assert rater.save("fluent", 2, seq=3, version=1, note="hm").status_code == 200
    assert rater.save("fluent", None, seq=4, version=2, na=True).status_code == 200
    for field, value in (
        ("fluent", 9),
        ("fit", "x"),
        ("nothing", 1),
        ("place", [{"shape": "point", "x": 2, "y": 0}]),
    ):
        wrong = rater.save(field, value, seq=5, version=3)
        assert wrong.status_code == 422
        assert field in wrong.json()["results"][0]["wrong"]
    slot = rater.now()["slot"]
    missing = rater.post("/submit", slot=slot)
    assert (missing.status_code, missing.json()["missing"]) == (422, ["fit", "safe"])
    rater.save("fit", 1)
    rater.save("safe", 1)
    assert [rater.post("/submit", slot=slot).status_code for _ in range(2)] == [200, 200]
    done = rater.post("/save", slot=slot, changes=[{"field": "fit", "value": 2, "seq": 9, "version": 1}])
    assert done.status_code == 410
    versions = [row["value"] for row in store.rows("answer") if row["field"] == "fluent"]
    assert versions == [4, 2, None]


def test_advice_is_in_no_byte_before_the_first_answer_is_stored(opening: Any) -> None:
    _, visit = opening("consent", "advice")
    rater = visit()
    rater.form("/consent", agreed="yes")
    slot = rater.now()["slot"]
    early = rater.post("/reveal", slot=slot)
    assert (early.status_code, early.json()["missing"]) == (422, ["initial", "confidence_initial"])
    assert rater.save("final", 1).json()["results"][0]["reason"] == "early"
    rater.save("initial", 1)
    rater.save("confidence_initial", 50)
    assert rater.post("/submit", slot=slot).status_code == 422
    assert "Advice" not in rater.client.get("/now").text + json.dumps(rater.now())
    assert rater.post("/reveal", slot=slot).status_code == 200
    assert "Advice: it is no fish." in rater.client.get("/now").text
    assert rater.save("initial", 0, seq=2, version=1).json()["results"][0]["reason"] == "locked"


@pytest.mark.parametrize(("choice", "told"), [(1, True), (0, False)])
def test_who_does_not_delegate_works_alone(opening: Any, choice: int, told: bool) -> None:
    delegate = rubric(
        "d",
        question("delegate", "binary"),
        question("own", "number", show_if={"item": "delegate", "in": [0]}),
    )
    messages = [{"role": "user", "parts": ["2 + 2?"]}, {"role": "assistant", "parts": ["It says four."]}]
    _, visit = opening(
        rubrics=[delegate, rubric("o", question("veto", "binary"))],
        units=[unit("d", "d", messages=messages), unit("o", "o", messages=messages)],
        pages=[{"kind": "delegate", "id": "d", "rubric": "d"}, {"kind": "oversee", "id": "o", "rubric": "o"}],
    )
    rater = visit()
    rater.form("/consent", agreed="yes")
    rater.save("delegate", choice)
    assert "It says four." not in rater.client.get("/now").text
    slot = rater.now()["slot"]
    rater.post("/reveal", slot=slot)
    assert ("It says four." in rater.client.get("/now").text) is told
    rater.save("own", 4)
    rater.post("/submit", slot=slot)
    assert "It says four." in rater.client.get("/now").text  # one oversees what one sees
    rater.save("veto", 1)
    rater.post("/submit", slot=rater.now()["slot"])
    assert rater.now()["kind"] == "done"


def test_declining_leaving_and_language(opening: Any) -> None:
    store, visit = opening("consent", "rate")
    rater = visit()
    assert "chosen not to take part" in rater.form("/consent", agreed="no").text
    assert rater.now()["kind"] == "consent"
    rater.form("/language", language="lv")
    assert "Piekrītu" in rater.client.get("/now").text
    assert rater.form("/language", language="xx").status_code == 422
    rater.form("/consent", agreed="yes")
    rater.save("fluent", 3)
    leaving = rater.client.get("/leave").text
    assert 'value="no"' in leaving
    assert 'value="yes"' in leaving
    assert "pametis" in rater.form("/withdraw", keep="no").text
    assert rater.client.get("/now").status_code == 403
    assert list(store.rows("answer")) == []
    stays = visit()
    stays.form("/consent", agreed="yes")
    stays.save("fluent", 5)
    stays.form("/withdraw", keep="yes")
    assert [row["value"] for row in store.rows("answer")] == [5]


def test_full_house_and_failed_qualification(opening: Any) -> None:
    gate = rubric("g", question("kind", "choice", levels=["cat", "dog"]))
    _, visit = opening(
        rubrics=[gate, rubric("r", question("clear", "likert", levels=3))],
        units=[unit("g", "gate", "Miaow", gold={"kind": "cat"}), unit("r", "r", "Hm")],
        pages=[
            {"kind": "qualification", "id": "gate", "rubric": "g", "options": {"pass": 1.0}},
            {"kind": "block", "id": "r", "rubric": "r"},
        ],
        design={"ratings_per_case": 1, "cases_per_rater": 1},
    )

    def come(kind: str) -> Browser:
        rater = visit()
        rater.form("/consent", agreed="yes")
        rater.save("kind", kind)
        rater.post("/submit", slot=rater.now()["slot"])
        return rater

    assert come("dog").now()["kind"] == "failed"
    first = come("cat")
    assert first.now()["kind"] == "block"
    late = come("cat")
    assert late.now()["kind"] == "wait"
    assert "All places are taken" in late.client.get("/now").text


def test_training_is_not_shown_to_others_nor_before_it_is_done(opening: Any) -> None:
    _, visit = opening("consent", "training", "trust")
    rater, other = visit(), visit()
    for each in (rater, other):
        each.form("/consent", agreed="yes")
    slot = rater.now()["slot"]
    assert rater.client.get(f"/feedback/{slot}").status_code == 404
    rater.save("kind", "dog")
    rater.post("/submit", slot=slot)
    assert rater.client.get(f"/feedback/{slot}").status_code == 200
    assert other.client.get(f"/feedback/{slot}").status_code == 404


def test_a_database_that_is_gone_is_told_and_nothing_acknowledged(opening: Any, monkeypatch: Any) -> None:
    store, visit = opening("consent", "rate")
    rater = visit()
    rater.form("/consent", agreed="yes")
    page = rater.now()

    def gone(*_: Any, **__: Any) -> Any:
        raise UnavailableError("locked")

    monkeypatch.setattr(store, "save", gone)
    change = {"slot": page["slot"], "changes": [{"field": "fluent", "value": 1, "seq": 1, "version": 0}]}
    assert rater.client.post("/save", json=change, headers={"x-csrf": rater.csrf}).status_code == 503
    monkeypatch.setattr(store, "rater", gone)
    assert "Nothing is lost" in rater.client.get("/now").text
    monkeypatch.undo()
    monkeypatch.setattr(store, "event", gone)
    assert TestClient(rater.client.app).get("/now").status_code == 503


def test_events_are_kept_small_and_odd_requests_are_refused(opening: Any) -> None:
    store, visit = opening("consent", "rate")
    rater = visit()
    rater.form("/consent", agreed="yes")
    slot = rater.now()["slot"]
    assert rater.post("/event", slot=slot, kind="played", data={"at": 2}, ms=7).status_code == 200
    assert rater.post("/event", kind="long\0\u0644", data={"x": "y" * 3000}, ms="soon").status_code == 200
    head = {"x-csrf": rater.csrf, "content-type": "application/json"}
    change = b'{"field": "reason", "value": "%s", "note": "%s", "seq": %d, "version": %d}'
    for n, (half, shown) in enumerate(((b"\\ud800", "?"), (b"\\ud83d\\ude3a", "\U0001f63a"))):
        body = b'{"slot": %d, "changes": [%s]}' % (slot, change % (half, half, n, n))
        assert rater.client.post("/save", content=body, headers=head).status_code == 200
        assert rater.client.get("/now").status_code == 200
        assert [row["note"] for row in store.rows("answer")][-1] == shown
    assert rater.save("\0", 1, -9, 2**40).status_code == 422
    kept = {row["kind"]: (row["slot"], row["data"], row["client_ms"]) for row in store.rows("event")}
    assert kept["played"] == (slot, {"at": 2}, 7.0)
    assert kept["long"] == (None, {}, 0.0)
    head = {"x-csrf": rater.csrf, "content-type": "application/json"}
    for body in (b"{", b"[]", b"1", b"[" * 100_000, b"\xff"):
        assert rater.client.post("/save", content=body, headers=head).status_code == 422
    for said in ({"slot": slot}, {"slot": slot, "changes": [1]}, {"slot": slot, "changes": [{}] * 101}):
        assert rater.client.post("/save", json=said, headers=head).status_code == 422
    assert rater.post("/submit", slot="1; DROP TABLE slot").status_code == 404
    assert rater.form("/next", page="x").status_code == 422
    assert [number_of(x) for x in (3, True, "3", None, 1e300)] == [3.0, 0.0, 0.0, 0.0, 0.0]


def test_the_operator_sees_the_study_and_nobody_else(opening: Any) -> None:
    store, visit = opening("consent", "rate")
    for value in (1, 5):
        rater = visit()
        rater.form("/consent", agreed="yes")
        for field, said in (("fluent", value), ("fit", 1), ("safe", 1)):
            rater.save(field, said)
        rater.post("/submit", slot=rater.now()["slot"])
    site, here = rater.client.app, {"base_url": "http://127.0.0.1:80", "client": ("127.0.0.1", 4)}
    operator = TestClient(site, **here)
    assert operator.get("/admin").status_code == 403
    assert operator.get("/admin/enter/wrong").status_code == 403
    entered = operator.get(f"/admin/enter/{ADMIN}")
    assert "HttpOnly" in entered.headers["set-cookie"]
    page = operator.get("/admin").text
    for word in (
        "Agreement",
        "fluent",
        "Drift",
        "Flags",
        "raters active",
        "places done",
        "To adjudicate",
        "unitsecret k",
    ):
        assert word in page
    away = {"x-forwarded-for": "10.0.0.9"}
    assert operator.get("/admin", headers=away).status_code == 403
    assert operator.get("/admin", headers={"host": "rebound.example"}).status_code == 403
    remote = TestClient(
        site, base_url="http://127.0.0.1", client=("10.0.0.9", 4), cookies=dict(operator.cookies)
    )
    assert remote.get("/admin").status_code == 403
    closed = app(store.study, store)
    assert TestClient(closed, **here).get("/admin/enter/").status_code == 404
