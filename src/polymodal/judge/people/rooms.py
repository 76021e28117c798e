"""Live talk of a person with a model or a person: limits, a ledger, blind delays."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from polymodal.chat import ChatError, ChatModel, Usage
from polymodal.chat.ledger import Budget, Ledger, metered
from polymodal.chat.scripted import uniform
from polymodal.judge.grid import call_seed
from polymodal.judge.people.pages import Context, Pages
from polymodal.judge.people.store import Store
from polymodal.judge.people.tables import Rater, RefusedError, Slot
from polymodal.judge.web.media import encode
from polymodal.media import Audio, Image, Limits, MediaError, Message, Part, Text, Video

TURNS, LONGEST = 20, 4000  # what a person may say, unless the page has `turns` or `longest`
DELAY = (
    2.0,
    4.0,
)  # seconds from a message to its reply, drawn alike for every partner, unless the page has `delay`
FRESH = 15.0  # seconds without a look, after which somebody in the lobby counts as gone
ATTACHED = 4
UPLOADS = Limits(bytes=32 * 2**20, pixels=40_000_000, seconds=300.0, frames=9000)
SPOKEN = ("user", "assistant")
KINDS: Mapping[str, type[Image] | type[Audio] | type[Video]] = {
    "image": Image,
    "audio": Audio,
    "video": Video,
}


def taken(data: bytes) -> tuple[str, bytes]:
    """An upload, decoded under limits and made anew: what comes back is a picture, a sound or a video.

    Raises:
        MediaError: broken, too large, or none of these.
    """
    for kind in (Image, Video, Audio):
        try:
            return encode(kind(data, limits=UPLOADS))
        except MediaError as error:
            if error.reason in ("too_large", "empty"):
                raise
    raise MediaError(
        "unsupported", "<upload>", "neither a picture, nor a sound, nor a video that can be read"
    )


class Rooms:
    """All rooms of a study. What was said lies in the store; here is only who waits and who thinks.

    The reply of a model is drawn in a thread of this process. A page looks for it, at whichever worker. Two
    persons who are to meet must be at the same worker.

    Of a unit's messages, a `card` is shown in a place of its own and not heard by the model; what has the
    role `partner` is heard as a system message and shown nowhere. Pictures, sounds and videos of a reply are
    kept and shown as uploads are.

    Args:
        store: where messages go.
        pages: renders them.
        partners: by name. A page names its partner; without one it is the subject of the unit, so that arms
            are compared blindly. The name `person` is another rater at the same unit.
    """

    def __init__(self, store: Store, pages: Pages, partners: Mapping[str, ChatModel]) -> None:
        self.store, self.pages, self.partners = store, pages, partners
        self.ledger = Ledger()
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="room")
        self._lock = threading.Lock()
        self._thinking: set[int] = set()
        self._lobby: dict[tuple[int, str], tuple[Rater, int, float]] = {}
        self._born = time.time()
        self._ending = threading.Event()

    def close(self) -> None:
        """Let no reply wait any longer."""
        self._ending.set()
        self._pool.shutdown()

    # what is seen

    def shown(self, rater: Rater, slot: Slot) -> Context:
        """The room as a page begins with it."""
        options = self._options(slot)
        said = self.store.messages(slot.id)
        side = next((m["parts"][0]["side"] for m in said if m["role"] == "pair"), "a")
        card = options.get("card", "")
        text = card.get(side, "") if isinstance(card, dict) else str(card)
        cards = [*text.split("\n\n"), *self._cards(slot)]
        return {
            "messages": [self._drawn(rater, m) for m in said if m["role"] in SPOKEN],
            "card": [line for line in cards if line.strip()],
            "longest": int(options.get("longest", LONGEST)),
            "uploads": bool(options.get("uploads", False)),
        }

    def look(self, rater: Rater, slot: Slot, after: int) -> Context:
        """What is new in a room, and how it stands; takes up what a killed server left unanswered."""
        said = self.store.messages(slot.id)
        human = self._partner(slot) == "person"
        if human and not any(m["role"] == "pair" for m in said):
            said = self._meet(rater, slot) or said
        spoken = [m for m in said if m["role"] in SPOKEN]
        waits = not human and bool(spoken) and said[-1]["role"] == "user"
        if waits and said[-1]["at"] < self._born:
            self._think(rater, slot)
        alone = human and not any(m["role"] == "pair" for m in said)
        ended = self._ended(slot, said)
        state = (
            "ended"
            if ended
            else "waiting"
            if alone
            else "trouble"
            if said and said[-1]["role"] == "error"
            else ""
        )
        language = rater.language
        html = [
            self.pages.render("message.html", language, message=self._drawn(rater, m)) for m in spoken[after:]
        ]
        return {
            "messages": [{"n": after + i, "html": one} for i, one in enumerate(html)],
            "open": not ended,
            "thinking": waits and not ended,
            "state": state,
        }

    def upload(self, rater: Rater, address: str) -> tuple[str, bytes] | None:
        """What was sent in one of this rater's rooms by its address, None for any other."""
        for slot in self.store.slots(rater):
            for message in self.store.messages(slot.id):
                for part in message["parts"]:
                    if "blob" in part and self._address(rater, part["blob"]) == address:
                        return self.store.kept(rater, part["blob"])
        return None

    # what is said

    def say(self, rater: Rater, slot: Slot, text: str, blobs: Sequence[str], key: str) -> None:
        """One message of the person; the same `key` again is the same message.

        Raises:
            RefusedError: ended, early (a reply is awaited), long, or invalid, as `reason` of the room.
        """
        said = self.store.messages(slot.id)
        if any(key and key == part.get("key") for m in said for part in m["parts"]):
            return
        human = self._partner(slot) == "person"
        paired = next((m["parts"][0] for m in said if m["role"] == "pair"), None)
        self._allowed(slot, said, text, blobs, alone=human and paired is None, waits=not human)
        kept = [(digest, self.store.kept(rater, digest)) for digest in blobs]
        if any(found is None for _, found in kept):
            raise RefusedError("invalid", "refused")
        parts: list[Any] = [{"text": text, "key": key}]
        self.store.say(rater, slot.id, "user", parts + [_blob(d, f[0]) for d, f in kept if f])
        if paired is None:
            self._think(rater, slot)
            return
        other = Rater(int(paired["rater"]), "", "", "active", "", slot.page)
        copies = [_blob(self.store.keep(other, *found), found[0]) for _, found in kept if found]
        try:
            self.store.say(other, int(paired["slot"]), "assistant", [{"text": text, "key": key}, *copies])
        except RefusedError:
            self.store.say(rater, slot.id, "end", [{"reason": "left"}])

    def _allowed(
        self, slot: Slot, said: list[Any], text: str, blobs: Sequence[str], *, alone: bool, waits: bool
    ) -> None:
        """Raises RefusedError with the room's word for what speaks against a message."""
        if self._ended(slot, said):
            raise RefusedError("invalid", "ended")
        if alone or (waits and said and said[-1]["role"] == "user"):
            raise RefusedError("invalid", "waiting" if alone else "early")
        if len(text) > int(self._options(slot).get("longest", LONGEST)):
            raise RefusedError("invalid", "long")
        if not (text.strip() or blobs) or len(blobs) > ATTACHED:
            raise RefusedError("invalid", "refused")

    def _ended(self, slot: Slot, said: list[Any]) -> bool:
        """Whether turns, time or budget are used up."""
        options = self._options(slot)
        spoken = [m for m in said if m["role"] in SPOKEN]
        mine = sum(m["role"] == "user" for m in spoken)
        full = mine >= int(options.get("turns", TURNS)) and bool(spoken) and said[-1]["role"] != "user"
        late = bool(spoken) and time.time() - spoken[0]["at"] > float(options.get("seconds", "inf"))
        return full or late or any(m["role"] == "end" for m in said) or slot.state == "done"

    # replies

    def _think(self, rater: Rater, slot: Slot) -> None:
        with self._lock:
            if slot.id in self._thinking:
                return
            self._thinking.add(slot.id)
        self._pool.submit(self._answer, rater, slot)

    def _answer(self, rater: Rater, slot: Slot) -> None:
        """Ask the model and keep its reply once its delay has passed."""
        try:
            said = self.store.messages(slot.id)
            began, turn = time.monotonic(), sum(m["role"] == "user" for m in said)
            role, parts, usage = self._reply(rater, slot, said, turn)
            low, high = self._options(slot).get("delay", DELAY)
            target = low + (high - low) * uniform(self.store.digest, slot.id, turn)
            self._ending.wait(max(0.0, target - (time.monotonic() - began)))
            if self.store.messages(slot.id)[-1]["id"] == said[-1]["id"]:
                passed = (time.monotonic() - began) * 1000
                self.store.say(rater, slot.id, role, parts, passed, usage.to_json())
        except RefusedError:
            pass  # the person has left or submitted meanwhile
        finally:
            with self._lock:
                self._thinking.discard(slot.id)

    def _reply(self, rater: Rater, slot: Slot, said: list[Any], turn: int) -> tuple[str, list[Any], Usage]:
        """Role, parts and cost of what the model answers."""
        name, budget = self._partner(slot), Budget(**self._options(slot).get("budget", {}))
        spent = sum((Usage(**m["usage"]) for m in said if m["usage"]), Usage())
        own = Ledger()
        own.add(name, "", spent)
        model = metered(self.partners[name], own, name, budget=budget)
        seed = call_seed(f"room {slot.id}", turn, seed=self.pages.study.seed)
        try:
            reply = model(*self._heard(rater, slot, said), seed=seed)
        except ChatError as error:
            role = "end" if error.reason == "over_budget" else "error"
            return role, [{"reason": error.reason}], Usage()
        self.ledger.add("partner", self.pages.study.pages[slot.page].id, reply.usage)
        media = [self._shown(rater, part) for part in reply.message.parts if part.kind in KINDS]
        return "assistant", [{"text": reply.text}, *media], reply.usage

    def _shown(self, rater: Rater, part: Part) -> dict[str, str]:
        """A medium of a reply, made anew and kept as an upload is; one that cannot be read is no end."""
        try:
            mime, clean = encode(part)
        except MediaError as error:
            return {"broken": error.reason}
        return _blob(self.store.keep(rater, mime, clean), mime)

    def _heard(self, rater: Rater, slot: Slot, said: list[Any]) -> list[Message]:
        """The conversation as the model hears it: what the unit gives it, and what was said."""
        unit = self.pages.study.units[slot.unit]
        given = [
            Message("system", message.parts) if message.role == "partner" else message
            for message in unit.cases[0].messages
            if message.role != "card"
        ]
        spoken = [m for m in said if m["role"] in SPOKEN]
        return given + [Message(m["role"], self._parts(rater, m["parts"])) for m in spoken]

    def _parts(self, rater: Rater, parts: list[Any]) -> tuple[Part, ...]:
        found: list[Part] = []
        for part in parts:
            if part.get("text"):
                found.append(Text(part["text"]))
            if "blob" in part and (kept := self.store.kept(rater, part["blob"])):
                found.append(KINDS[part["kind"]](kept[1]))
        return tuple(found) or (Text(""),)

    # what stands around

    def _options(self, slot: Slot) -> Mapping[str, Any]:
        return self.pages.study.pages[slot.page].options

    def _partner(self, slot: Slot) -> str:
        return str(self._options(slot).get("partner") or self.pages.study.units[slot.unit].subject)

    def _cards(self, slot: Slot) -> list[str]:
        messages = self.pages.study.units[slot.unit].cases[0].messages
        return [p.read() for m in messages if m.role == "card" for p in m.parts if isinstance(p, Text)]

    def _address(self, rater: Rater, digest: str) -> str:
        return self.pages.gallery.address(rater.id, f"upload {digest}")

    def _drawn(self, rater: Rater, message: Mapping[str, Any]) -> Context:
        """A message as the templates want it."""
        w = self.pages.words(rater.language)
        parts: list[Context] = []
        for part in message["parts"]:
            if part.get("text"):
                parts.append({"kind": "text", "text": part["text"], "language": ""})
            if "broken" in part:
                parts.append({"kind": "broken"})
            if "blob" in part:
                word = {"image": "picture", "audio": "sound", "video": "video"}[part["kind"]]
                url = self._address(rater, part["blob"])
                parts.append(
                    {"kind": part["kind"], "n": 0, "name": w[word], "url": url, "width": "", "height": ""}
                )
        mine = message["role"] == "user"
        return {"who": w["role_you" if mine else "role_them"], "side": message["role"], "parts": parts}

    def _meet(self, rater: Rater, slot: Slot) -> list[Any] | None:
        """Pair with who waits at the same unit, else wait there."""
        with self._lock:
            place = (slot.page, slot.unit)
            other = self._lobby.get(place)
            now = time.monotonic()
            if other is None or other[0].id == rater.id or now - other[2] > FRESH:
                self._lobby[place] = (rater, slot.id, now)
                return None
            del self._lobby[place]
            self.store.say(other[0], other[1], "pair", [{"slot": slot.id, "rater": rater.id, "side": "a"}])
            self.store.say(rater, slot.id, "pair", [{"slot": other[1], "rater": other[0].id, "side": "b"}])
        return self.store.messages(slot.id)


def _blob(digest: str, mime: str) -> dict[str, str]:
    return {"blob": digest, "mime": mime, "kind": mime.partition("/")[0]}


def room_routes(
    made: FastAPI,
    rooms: Rooms,
    visitor: Callable[..., Any],
    posted: Callable[..., Any],
    slot_of: Callable[..., int],
) -> None:
    """`GET /room/SLOT?after=N`, `POST /say {slot, text, blobs, key}`, `POST /upload` (slot, file)."""

    def room(rater: Rater, number: int) -> Slot:
        slot = rooms.store.slot(rater, number)
        if rooms.pages.study.pages[slot.page].kind != "room":
            raise RefusedError("not_yours", "no such place")
        return slot

    @made.get("/room/{slot_id}")
    def look(slot_id: int, visit: Annotated[Any, Depends(visitor)], after: int = 0) -> Response:
        return JSONResponse(rooms.look(visit.rater, room(visit.rater, slot_id), max(0, after)))

    @made.post("/say")
    def say(visit: Annotated[Any, Depends(posted)]) -> Response:
        said = visit.said
        blobs = [str(each)[:64] for each in said.get("blobs") or []]
        slot = room(visit.rater, slot_of(said))
        try:
            rooms.say(visit.rater, slot, str(said.get("text") or ""), blobs, str(said.get("key") or "")[:80])
        except RefusedError as error:
            if error.reason != "invalid":
                raise
            return JSONResponse({"reason": str(error)}, 422)
        return JSONResponse({})

    @made.post("/upload")
    async def upload(request: Request, visit: Annotated[Any, Depends(posted)]) -> Response:
        slot = await run_in_threadpool(room, visit.rater, slot_of(visit.said))
        if not rooms._options(slot).get("uploads", False) or not hasattr(visit.said.get("file"), "read"):
            raise RefusedError("invalid", "no file is taken here")
        data = await visit.said["file"].read()
        try:
            mime, clean = await run_in_threadpool(taken, data)
        except MediaError as error:
            return JSONResponse({"detail": error.what, "reason": error.reason}, 422)
        digest = await run_in_threadpool(rooms.store.keep, visit.rater, mime, clean)
        return JSONResponse({"blob": digest})
