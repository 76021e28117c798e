"""rooms: a model's turns, limits and cost; two persons; uploads; a reply that a killed server owes."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.judge.people.pocket import media, only, raw, rubric
from tests.judge.people.pocket import q as question

from polymodal.chat import ChatError, ChatModel, Reply, Usage, assistant
from polymodal.chat.scripted import Scripted
from polymodal.judge.people.pages import Pages, gallery
from polymodal.judge.people.rooms import Rooms, taken
from polymodal.judge.people.store import Store
from polymodal.judge.people.tables import Rater, RefusedError, Slot
from polymodal.judge.people.verdicts import message_rows
from polymodal.media import Image, MediaError, Message, Text

Setting = tuple[Store, Rooms, Callable[[], tuple[Rater, Slot]]]


class Pauses:
    """Notes for how long replies are held back, and holds none."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def set(self) -> None:
        pass


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Callable[..., Setting]]:
    """Makes a study of one room page; gives store, rooms and a way to enter."""
    made: list[Any] = []

    def make(partners: dict[str, ChatModel], units: Any = None, **options: Any) -> Setting:
        media(tmp_path)
        units = units or [
            {"id": "u", "page": "r", "subject": "one",
             "messages": [{"role": "system", "parts": ["You are a doctor."]},
                          {"role": "card", "parts": ["You cough."]}]},
            {"id": "w", "page": "r", "subject": "two", "messages": [{"role": "user", "parts": ["Context."]}]},
        ]  # fmt: skip
        page = {"kind": "room", "id": "r", "rubric": "q", "options": {"delay": [2.0, 4.0], **options}}
        found = only(tmp_path, pages=[{"kind": "consent", "id": "c"}, page], units=units,
                     rubrics=[rubric("q", question("helpful", "likert", levels=5))])  # fmt: skip
        store = Store(f"sqlite:///{tmp_path / 'study.db'}", found)
        rooms = Rooms(store, Pages(found, gallery(found)), partners)
        rooms._ending = Pauses()  # type: ignore[assignment]
        made.extend((rooms, store))

        def enter() -> tuple[Rater, Slot]:
            token = store.enrol()
            store.consent(store.rater(token), True)
            rater = store.advance(store.rater(token), 1)
            slot = store.lease(rater)
            while slot.unit != options.get("unit", "u"):
                store.save(rater, slot.id, "helpful", 1, seq=1, version=0)
                store.submit(rater, slot.id)
                slot = store.lease(rater)
            return rater, slot

        return store, rooms, enter

    yield make
    for each in made:
        each.close()


def model(answer: Callable[[tuple[Message, ...]], Any]) -> ChatModel:
    return Scripted("scripted:test", lambda messages, seed: answer(messages))


def until(done: Callable[[], bool]) -> None:
    """Wait for a thread of the room, half a minute at most."""
    pause = threading.Event()
    for _ in range(3000):
        if done():
            return
        pause.wait(0.01)
    raise AssertionError("nothing came")


def spoken(store: Store, slot: Slot) -> list[str]:
    return [f"{m['role']}: {m['parts'][0].get('text', m['parts'][0])}" for m in store.messages(slot.id)]


def test_a_model_hears_all_answers_once_and_the_turns_end(room: Any) -> None:
    heard: list[tuple[Message, ...]] = []

    def answer(messages: tuple[Message, ...]) -> Reply:
        heard.append(messages)
        return Reply(assistant(f"reply {len(messages)}"), Usage(calls=1, tokens_in=10, tokens_out=5))

    store, rooms, enter = room({"one": model(answer)}, turns=2, card="Be polite.", uploads=True)
    rater, slot = enter()
    assert rooms.shown(rater, slot)["card"] == ["Be polite.", "You cough."]
    assert rooms.look(rater, slot, 0) == {"messages": [], "open": True, "thinking": False, "state": ""}
    mime, clean = taken(Image(np.full((4, 4, 3), 9, np.uint8)).encoded())
    blob = store.keep(rater, mime, clean)
    for n in (1, 2):
        rooms.say(rater, slot, f"word {n}", [blob] if n == 1 else [], f"key {n}")
        rooms.say(rater, slot, f"word {n}", [blob] if n == 1 else [], f"key {n}")  # a retry of the network
        until(lambda n=n: len(spoken(store, slot)) == 2 * n)
    assert spoken(store, slot) == ["user: word 1", "assistant: reply 2", "user: word 2", "assistant: reply 4"]
    assert [m.role for m in heard[1]] == ["system", "user", "assistant", "user"]
    assert [type(p) for p in heard[1][1].parts] == [Text, Image]
    seen = rooms.look(rater, slot, 1)
    assert (seen["open"], seen["state"], [m["n"] for m in seen["messages"]]) == (False, "ended", [1, 2, 3])
    with pytest.raises(RefusedError, match="ended"):
        rooms.say(rater, slot, "more", [], "key 3")
    assert all(2.0 - 1 < pause <= 4.0 for pause in rooms._ending.seconds)
    assert rooms.ledger.rows()[0]["calls"] == 2
    usage = store.messages(slot.id)[1]["usage"]
    assert usage["tokens_in"] == 10


def test_delays_do_not_tell_which_model_it_is(room: Any, monkeypatch: Any) -> None:
    partners = {"one": model(lambda _: "Quick."), "two": model(lambda _: "x" * 3000)}
    store, rooms, enter = room(partners)
    monkeypatch.setattr(
        "polymodal.judge.people.rooms.time", SimpleNamespace(monotonic=lambda: 5.0, time=time.time)
    )
    rater, slot = enter()
    store.say(rater, slot.id, "user", [{"text": "Hello"}])
    for name in partners:
        rooms.partners = {"one": partners[name]}
        rooms._answer(rater, slot)  # the same place and turn, before either arm
    first, second = rooms._ending.seconds
    assert first == second
    assert 2.0 <= first <= 4.0


def test_nobody_speaks_twice_before_the_reply_and_messages_have_their_length(room: Any) -> None:
    free = threading.Event()

    def slow(_: Any) -> str:
        free.wait(20)
        return "At last."

    store, rooms, enter = room({"one": model(slow)}, longest=10)
    rater, slot = enter()
    rooms.say(rater, slot, "Hello", [], "a")
    assert rooms.look(rater, slot, 0)["thinking"]
    rooms.look(rater, slot, 0)
    with pytest.raises(RefusedError, match="early"):
        rooms.say(rater, slot, "Again", [], "b")
    free.set()
    until(lambda: len(store.messages(slot.id)) == 2)
    for text, blobs, why in (
        ("x" * 11, [], "long"),
        (" ", [], "refused"),
        ("x", ["0"] * 5, "refused"),
        ("x", ["0"], "refused"),
    ):
        with pytest.raises(RefusedError, match=why):
            rooms.say(rater, slot, text, blobs, "c")


def test_an_outage_is_told_and_a_budget_ends_the_room(room: Any) -> None:
    fails = [True]

    def answer(_: Any) -> Reply:
        if fails.pop() if fails else False:
            raise ChatError("timeout", "no reply")
        return Reply(assistant("Yes."), Usage(calls=1, tokens_in=90, tokens_out=20))

    store, rooms, enter = room({"one": model(answer)}, budget={"tokens": 100})
    rater, slot = enter()
    rooms.say(rater, slot, "Hello?", [], "a")
    until(lambda: len(store.messages(slot.id)) == 2)
    assert rooms.look(rater, slot, 0)["state"] == "trouble"
    rooms.say(rater, slot, "Hello again?", [], "b")
    until(lambda: len(store.messages(slot.id)) == 4)
    assert rooms.look(rater, slot, 0)["open"]
    rooms.say(rater, slot, "And now?", [], "c")
    until(lambda: len(store.messages(slot.id)) == 6)
    assert spoken(store, slot)[-1] == "end: {'reason': 'over_budget'}"
    assert rooms.look(rater, slot, 0)["state"] == "ended"


def test_time_runs_out(room: Any) -> None:
    store, rooms, enter = room({"one": model(lambda _: "Yes.")}, seconds=0.0)
    rater, slot = enter()
    rooms.say(rater, slot, "Hello?", [], "a")
    until(lambda: len(store.messages(slot.id)) == 2)
    assert rooms.look(rater, slot, 0)["state"] == "ended"


def test_a_reply_that_a_killed_server_owes_is_given_after_its_restart(room: Any) -> None:
    store, rooms, enter = room({"one": model(lambda _: "Late.")})
    rater, slot = enter()
    store.say(rater, slot.id, "user", [{"text": "Hello?", "key": "a"}])
    assert rooms.look(rater, slot, 0)["thinking"]  # written after this process began: another may be at it
    assert len(store.messages(slot.id)) == 1
    rooms._born += 1000
    rooms.look(rater, slot, 0)
    until(lambda: len(store.messages(slot.id)) == 2)
    assert spoken(store, slot) == ["user: Hello?", "assistant: Late."]


def test_who_leaves_while_the_model_thinks_is_no_trouble(room: Any) -> None:
    free = threading.Event()
    store, rooms, enter = room({"one": model(lambda _: "Late." if free.wait(20) else "")})
    rater, slot = enter()
    rooms.say(rater, slot, "Hello?", [], "a")
    store.save(rater, slot.id, "helpful", 3, seq=1, version=0)
    store.submit(rater, slot.id)
    free.set()
    until(lambda: not rooms._thinking)
    assert spoken(store, slot) == ["user: Hello?"]


def test_two_persons_meet_at_a_unit_and_talk_under_roles(room: Any) -> None:
    store, rooms, enter = room({}, partner="person", card={"a": "You are A.", "b": "You are B."}, turns=3)
    (ann, here), (bob, there) = enter(), enter()
    assert rooms.look(ann, here, 0)["state"] == "waiting"
    with pytest.raises(RefusedError, match="waiting"):
        rooms.say(ann, here, "Anybody?", [], "a")
    assert rooms.look(bob, there, 0)["state"] == ""
    assert [rooms.shown(r, s)["card"][0] for r, s in ((ann, here), (bob, there))] == [
        "You are A.",
        "You are B.",
    ]
    blob = store.keep(ann, "image/png", Image(np.zeros((2, 2, 3), np.uint8)).encoded())
    rooms.say(ann, here, "Hello", [blob], "a")
    rooms.say(bob, there, "Hi", [], "b")
    html = [m["html"] for m in rooms.look(bob, there, 0)["messages"]]
    assert len(html) == 2
    assert "Hello" in html[0]
    address = html[0].split('src="')[1].split('"')[0]
    assert rooms.upload(bob, address)[1].startswith(b"\x89PNG")
    assert rooms.upload(ann, address) is None
    assert spoken(store, here)[1:] == ["user: Hello", "assistant: Hi"]
    store.save(ann, here.id, "helpful", 3, seq=1, version=0)
    store.submit(ann, here.id)
    rooms.say(bob, there, "Still there?", [], "c")
    assert rooms.look(bob, there, 0)["state"] == "ended"


def test_pictures_of_a_reply_are_kept_made_anew_and_shown_to_their_rater_alone(
    room: Any, tmp_path: Path
) -> None:
    heard: list[tuple[Message, ...]] = []

    def answer(messages: tuple[Message, ...]) -> Reply:
        heard.append(messages)
        broken = [Image(b"no picture")] if len(heard) == 3 else []
        return Reply(assistant("Look.", Image(tmp_path / "modelzeta_holdout_secret.jpg"), *broken))

    store, rooms, enter = room({"one": model(answer)})
    people = [enter(), enter()]
    for rater, slot in people:
        rooms.say(rater, slot, "Show me.", [], "a")
        until(lambda slot=slot: len(store.messages(slot.id)) == 2)
    (ann, here), (bob, _) = people
    html = [rooms.look(rater, slot, 1)["messages"][0]["html"] for rater, slot in people]
    first, other = (text.split('src="')[1].split('"')[0] for text in html)
    assert first != other
    assert (rooms.upload(bob, first), rooms.upload(ann, other)) == (None, None)
    mime, data = rooms.upload(ann, first)
    assert mime == "image/png"
    assert b"secretauthor" not in data
    shown = Image(tmp_path / "modelzeta_holdout_secret.jpg").pixels()
    assert (Image(data).pixels() == shown).all()
    opened = rooms.shown(ann, here)["messages"]
    assert opened[1]["parts"][1]["url"] == first
    rooms.say(ann, here, "And now?", [], "b")
    until(lambda: len(store.messages(here.id)) == 4)
    assert [type(part) for part in heard[2][2].parts] == [Text, Image]  # a model hears what it has shown
    parts = [
        row["parts"] for row in message_rows(store) if row["slot"] == here.id and row["role"] == "assistant"
    ]
    assert [sorted(part) for part in parts[0]] == [["text"], ["blob", "kind", "mime"]]
    assert parts[1][2] == {"broken": "unsupported"}
    assert "cannot be shown" in rooms.look(ann, here, 3)["messages"][0]["html"]
    assert rooms.look(ann, here, 0)["open"]


def test_what_the_partner_alone_is_told_reaches_no_page(room: Any) -> None:
    heard: list[Message] = []
    told = [{"role": "partner", "parts": ["case: secret"]}, {"role": "assistant", "parts": ["I have come."]}]
    unit = {"id": "u", "page": "r", "subject": "one", "messages": told}
    store, rooms, enter = room({"one": model(lambda m: heard.extend(m) or "Yes.")}, units=[unit])
    rater, slot = enter()
    rooms.say(rater, slot, "Hello", [], "a")
    until(lambda: len(store.messages(slot.id)) == 2)
    assert [m.role for m in heard] == ["system", "assistant", "user"]
    seen = (rooms.pages.cases(rater, slot), rooms.shown(rater, slot), [*rooms.pages._texts(slot)])
    assert "secret" not in repr(seen)
    assert [(m["who"], m["parts"][0]["text"]) for m in seen[0][0]["messages"]] == [
        ("Assistant", "I have come.")
    ]


def test_only_pictures_sounds_and_videos_are_taken(tmp_path: Path) -> None:
    media(tmp_path)
    kinds = {
        name: taken((tmp_path / name).read_bytes())[0]
        for name in ("modelzeta_holdout_secret.jpg", "modelomega.wav", "modelzeta.mp4")
    }
    assert list(kinds.values()) == ["image/png", "audio/wav", "video/webm"]
    with pytest.raises(MediaError, match="neither"):
        taken(b"plain words")
    with pytest.raises(MediaError, match="0 bytes"):
        taken(b"")
    assert raw()["id"] == "pocket"
