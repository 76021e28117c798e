import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.judge.people.studies import made, unit

from polymodal.judge.people.bots import walk
from polymodal.judge.people.store import Store
from polymodal.judge.people.tables import Rater, RefusedError, Slot, StaleError, Stored, UnavailableError
from polymodal.judge.people.verdicts import rating_rows

NASTY = "'; DROP TABLE answer; -- \" \\ %s :x {{7*7}} <script>alert(1)</script> \ud800 ☃ ا"


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def start(store: Store, page: int = 1) -> Rater:
    """A rater who has consented and gone on."""
    rater = store.rater(store.enrol())
    assert rater is not None
    rater = store.consent(rater, True)
    while rater.page < page:
        rater = store.advance(rater, rater.page + 1)
    return rater


def place(store: Store, rater: Rater) -> Slot:
    slot = store.lease(rater)
    assert slot is not None
    return slot


def refused(reason: str) -> Any:
    return pytest.raises(RefusedError, check=lambda error: error.reason == reason)


def test_a_rater_goes_from_consent_to_the_end(url: str) -> None:
    store = Store(url, made())
    rater = store.rater(store.enrol(language="lv"))
    assert rater is not None
    assert (rater.state, rater.page, rater.language) == ("new", 0, "lv")
    with refused("state"):
        store.advance(rater, 1)
    assert store.lease(rater) is None
    rater = store.advance(store.consent(rater, True), 1)
    seen = []
    while (slot := store.lease(rater)) is not None:
        assert store.lease(rater) == slot
        with refused("missing"):
            store.submit(rater, slot.id)
        with refused("state"):
            store.advance(rater, 2)
        first = store.save(rater, slot.id, "good", "5", seq=1, version=0)
        assert first == Stored(5, False, "", 1, 1)
        assert store.save(rater, slot.id, "good", 5, seq=1, version=0) == first
        with pytest.raises(StaleError) as stale:
            store.save(rater, slot.id, "good", 2, seq=1, version=0)
        assert stale.value.newer == first
        assert store.save(rater, slot.id, "good", 6, seq=2, version=1).version == 2
        assert store.save(rater, slot.id, "good", 5, seq=1, version=0) == first
        assert store.answers(rater, slot.id)["good"].value == 6
        store.submit(rater, slot.id)
        store.submit(rater, slot.id)
        with refused("done"):
            store.save(rater, slot.id, "good", 1, seq=3, version=2)
        assert store.slot(rater, slot.id).state == "done"
        seen.append(slot.unit)
        assert store.of(rater) == (len(seen), 4)
    assert len(set(seen)) == 4
    assert [slot.unit for slot in store.slots(rater)] == seen
    assert store.advance(rater, 2).state == "done"
    assert store.advance(rater, 2).page == 2
    assert store.progress() == {
        "slots": {"done": 4, "open": 8}, "raters": {"done": 1}, "ratings_per_case": [0, 1], "answers": 8,
    }  # fmt: skip
    store.close()


def test_answers_are_checked_and_kept_as_text(url: str) -> None:
    store = Store(url, made())
    rater = start(store)
    slot = place(store, rater)
    for field, value in (("good", 8), ("good", NASTY), ("other", 1), (NASTY, 1), ("why", 5)):
        with refused("invalid"):
            store.save(rater, slot.id, field, value, seq=1, version=0)
    with refused("invalid"):
        store.save(rater, slot.id, "good", 1, seq=1, version=0, na=True)
    with refused("invalid"):
        store.save(rater, slot.id, "good", 1, seq=1, version=0, note="x" * 20_001)
    kept = store.save(
        rater, slot.id, "why", NASTY, seq=1, version=0, note=NASTY + "\0", client_ms=float("nan")
    )
    assert (kept.value, kept.note) == (NASTY, NASTY + "\0")
    store.event(rater, slot.id, NASTY, {NASTY: NASTY + "\0"})
    store.say(rater, slot.id, NASTY, [{"text": NASTY}], latency_ms=3, usage={"calls": 1})
    with refused("state"):
        store.enrol(stratum=NASTY)
    with refused("invalid"):
        store.choose(rater, NASTY)
    store.choose(rater, "ar")
    assert store.messages(slot.id)[0]["parts"] == [{"text": NASTY}]
    assert [row["data"] for row in store.rows("event") if row["slot"]] == [{NASTY: NASTY + "\0"}]
    assert store.answers(rater, slot.id)["why"].value == NASTY
    assert store.rater(NASTY) is None
    with pytest.raises(KeyError):
        list(store.rows(NASTY))
    store.close()


def test_tokens_are_kept_as_hashes_and_say_nothing(url: str) -> None:
    clock = Clock()
    store = Store(url, made(retention={"token_days": 2}), clock=clock)
    token = store.enrol()
    assert len(token) >= 43
    for table in ("rater", "event", "study", "slot"):
        assert token not in repr(list(store.rows(table)))
        assert "token_hash" not in repr(list(store.rows(table)))
    assert store.rater(token) is not None
    assert store.rater(token[:-1] + ("A" if token[-1] != "A" else "B")) is None
    clock.now += 3 * 86400
    assert store.rater(token) is None
    store.close()


def test_raters_see_only_their_own(url: str) -> None:
    store = Store(url, made())
    one, two = start(store), start(store)
    slot = place(store, one)
    for wrong in (slot.id, 99_999):
        with refused("not_yours"):
            store.slot(two, wrong)
        with refused("not_yours"):
            store.answers(two, wrong)
        with refused("not_yours"):
            store.save(two, wrong, "good", 1, seq=1, version=0)
        with refused("not_yours"):
            store.submit(two, wrong)
        with refused("not_yours"):
            store.event(two, wrong, "x", {})
    digest = store.keep(one, "image/png", b"abc")
    assert store.keep(one, "image/png", b"abc") == digest
    assert store.kept(one, digest) == ("image/png", b"abc")
    assert store.kept(two, digest) is None
    store.close()


def test_fifty_raters_race_for_the_last_place(url: str) -> None:
    store = Store(
        url,
        made(items=1, design={"ratings_per_case": 1, "cases_per_rater": 1}),
    )
    raters = [start(store) for _ in range(50)]
    gate, won = threading.Barrier(50), []

    def race(rater: Rater) -> None:
        gate.wait()
        slot = store.lease(rater)
        if slot is not None:
            won.append((rater.id, slot.id))

    threads = [threading.Thread(target=race, args=(rater,)) for rater in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    store.close()


def test_a_lapsed_place_goes_to_another_and_comes_back_while_it_is_free(url: str) -> None:
    clock = Clock()
    design = {"ratings_per_case": 1, "cases_per_rater": 2, "lease_minutes": 30}
    store = Store(url, made(items=2, design=design), clock=clock)
    one, two = start(store), start(store)
    slot = place(store, one)
    store.save(one, slot.id, "good", 3, seq=1, version=0)
    assert store.lease(two) is None
    clock.now += 20 * 60
    store.save(one, slot.id, "good", 4, seq=2, version=1)
    clock.now += 20 * 60
    assert store.lease(two) is None
    clock.now += 31 * 60
    other = place(store, two)
    assert other.unit == slot.unit
    assert store.answers(two, other.id) == {}
    with refused("gone"):
        store.save(one, slot.id, "good", 5, seq=3, version=2)
    with refused("gone"):
        store.submit(one, slot.id)
    assert store.lease(one) is None
    clock.now += 31 * 60
    again = place(store, one)
    assert again.id == slot.id
    assert store.answers(one, again.id)["good"].value == 4
    store.submit(one, slot.id)
    with refused("gone"):
        store.save(two, other.id, "good", 1, seq=1, version=0)
    assert place(store, one).unit != slot.unit
    store.close()


def test_a_paused_rater_may_just_go_on(url: str) -> None:
    clock = Clock()
    store = Store(url, made(items=2, design={"ratings_per_case": 2, "cases_per_rater": 2}), clock=clock)
    one, two = start(store), start(store)
    slot = place(store, one)
    clock.now += 3600
    place(store, two)  # returns the first place to its seat, and takes the other seat
    assert store.slot(one, slot.id).state in ("returned", "leased")
    store.save(one, slot.id, "good", 2, seq=1, version=0)
    store.submit(one, slot.id)
    assert store.progress()["slots"] == {"done": 1, "leased": 1, "open": 2}
    store.close()


def test_withdrawal_keeps_or_deletes_and_frees(url: str) -> None:
    store = Store(url, made(items=3, design={"ratings_per_case": 1, "cases_per_rater": 3}))
    token = store.enrol()
    rater = store.rater(token)
    assert rater is not None
    rater = store.advance(store.consent(rater, True), 1)
    slots = []
    for _ in range(2):
        slots.append(place(store, rater))
        store.save(rater, slots[-1].id, "good", 1, seq=1, version=0)
        store.say(rater, slots[-1].id, "user", [{"text": "hi"}])
        store.submit(rater, slots[-1].id)
    place(store, rater)
    store.withdraw(rater, keep=True)
    assert store.rater(token) is None
    with refused("state"):
        store.lease(rater)
    assert store.progress()["slots"] == {"done": 2, "open": 1, "returned": 1}
    rater = start(store)
    slot = place(store, rater)
    store.save(rater, slot.id, "good", 7, seq=1, version=0)
    store.submit(rater, slot.id)
    digest = store.keep(rater, "image/png", b"abc")
    store.withdraw(rater, keep=False)
    assert store.kept(rater, digest) is None
    assert [row["value"] for row in store.rows("answer")] == [1, 1]
    assert store.progress()["slots"] == {"done": 2, "open": 1, "returned": 1, "withdrawn": 1}
    assert [one["item"] for one in rating_rows(store)] == [store.study.units[s.unit].item for s in slots]
    store.close()


def test_a_study_may_insist_on_deletion_and_a_rater_may_decline(url: str) -> None:
    store = Store(url, made(retention={"on_withdrawal": "delete"}))
    rater = start(store)
    store.save(rater, place(store, rater).id, "good", 1, seq=1, version=0)
    store.withdraw(rater, keep=True)
    assert not list(store.rows("answer"))
    other = store.rater(store.enrol())
    assert other is not None
    other = store.consent(other, False)
    assert other.state == "declined"
    assert store.lease(other) is None
    assert store.consent(other, True).state == "active"
    store.close()


def test_advice_comes_after_the_first_answer(url: str) -> None:
    rubric = {
        "id": "trial", "version": "1", "source": "ours", "licence": "CC0", "rater": "person",
        "items": [
            {"id": "initial", "text": "?", "kind": "choice", "levels": ["a", "b"]},
            {"id": "confidence_initial", "text": "?", "kind": "probability", "required": False},
            {"id": "final", "text": "?", "kind": "choice", "levels": ["a", "b"]},
        ],
    }  # fmt: skip
    pages = [{"kind": "consent"}, {"kind": "advice", "rubric": "trial"}]
    store = Store(url, made(items=2, rubrics=[rubric], pages=pages))
    rater = start(store)
    slot = place(store, rater)
    with refused("early"):
        store.save(rater, slot.id, "final", "a", seq=1, version=0)
    with refused("early"):
        store.reveal(rater, slot.id)
    store.save(rater, slot.id, "initial", "a", seq=1, version=0)
    with refused("missing"):
        store.submit(rater, slot.id)
    assert slot.revealed is None
    shown = store.reveal(rater, slot.id)
    assert shown.revealed is not None
    assert store.reveal(rater, slot.id) == shown
    with refused("locked"):
        store.save(rater, slot.id, "initial", "b", seq=2, version=1)
    store.save(rater, slot.id, "final", "b", seq=3, version=0)
    store.submit(rater, slot.id)
    assert store.slot(rater, slot.id).state == "done"
    store.close()


def test_qualification_fails_those_below_the_mark(url: str) -> None:
    pages = [
        {"kind": "consent"},
        {"kind": "qualification", "rubric": "plain", "units": ["q"], "options": {"pass": 0.9}},
        {"kind": "instrument", "rubric": "plain"},
        {"kind": "block", "rubric": "plain"},
    ]
    units = [unit("q", gold={"good": 7}), *(unit(f"u{i}") for i in range(3))]
    store = Store(url, made(units=units, pages=pages, design={"ratings_per_case": 1, "cases_per_rater": 3}))
    for value, state in ((1, "failed"), (7, "active")):
        rater = start(store)
        assert store.of(rater) == (0, 1)
        slot = place(store, rater)
        with refused("state"):
            store.advance(rater, 2)
        store.save(rater, slot.id, "good", value, seq=1, version=0)
        store.submit(rater, slot.id)
        assert store.of(rater) == (1, 1)
        rater = store.advance(rater, 2)
        assert rater.state == state
    instrument = place(store, rater)
    assert instrument.unit == ""
    store.save(rater, instrument.id, "good", 1, seq=1, version=0)
    store.submit(rater, instrument.id)
    rater = store.advance(rater, 3)
    assert store.lease(rater) is not None
    with refused("state"):
        store.advance(rater, 5)
    store.close()


def test_hidden_repeats_come_only_after_the_first_time(url: str) -> None:
    design = {"ratings_per_case": 1, "cases_per_rater": 6, "repeats": 0.5}
    store = Store(url, made(items=6, design=design))
    rater = start(store)
    units = [slot.unit for slot in walk(store, rater, seed=0)]
    assert sorted(Counter(units).values()) == [1, 1, 1, 2, 2, 2]
    assert [row["repeat"] for row in rating_rows(store) if row["field"] == "good"].count(True) == 3
    store.close()


def test_a_database_holds_one_study(url: str) -> None:
    with pytest.raises(ValueError, match="holds no study"):
        Store(url)
    first = Store(url, made(), seed=3)
    first.close()
    again = Store(url)
    assert (again.seed, again.study.id, again.digest) == (3, "toy", first.digest)
    assert again.study.units["u0-m"].digest == first.study.units["u0-m"].digest
    again.close()
    with pytest.raises(ValueError, match="another study"):
        Store(url, made(items=7))


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("mysql://localhost/x", "sqlite:///FILE"),
        ("sqlite://", "needs a file"),
        ("sqlite:///x?synchronous=OFF", "NORMAL or FULL"),
    ],
)
def test_other_databases_are_refused(address: str, what: str) -> None:
    with pytest.raises((ValueError, ImportError), match=what):
        Store(address, made())


def test_a_database_that_is_gone_acknowledges_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        Store(f"sqlite:///{tmp_path / 'none' / 'x.db'}", made())
    store = Store(f"sqlite:///{tmp_path / 'x.db'}?synchronous=full", made())
    rater = start(store)
    slot = place(store, rater)
    with store.database.write() as c:
        c.execute(text("ALTER TABLE answer RENAME TO gone"))
    with pytest.raises(UnavailableError):
        store.save(rater, slot.id, "good", 1, seq=1, version=0)
    with pytest.raises(UnavailableError):
        store.answers(rater, slot.id)
    store.close()


def test_a_transaction_that_fails_leaves_nothing(url: str) -> None:
    store = Store(url, made())
    rater = start(store)
    slot = place(store, rater)

    def fail() -> None:
        with store.database.write() as c:
            c.execute(text("UPDATE slot SET state = 'open'"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.slot(rater, slot.id) == slot
    store.close()
