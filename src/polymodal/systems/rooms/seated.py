"""A doctor's chair as a chat model, for a talk with a person; and who that person plays.

For research, not for care: the first words of every talk say so.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from polymodal.chat import ChatError, ChatModel, Reply, Usage, assistant, connect, said
from polymodal.chat.model import Failure
from polymodal.envs.clinic import UNSURE, Action, Ask, Close, Heard, Request, Retake
from polymodal.envs.clinic.patient import UNREADABLE, heard, spoken, words
from polymodal.envs.clinic.state import State, names
from polymodal.media import Image, MediaError, Message, Text
from polymodal.systems.consulting import places
from polymodal.systems.consulting.seats import ARMS, parsed
from polymodal.systems.consulting.talked import worded

if TYPE_CHECKING:
    from polymodal.chat.cached import Store
    from polymodal.envs.clinic import Case
    from polymodal.envs.clinic.chair import Chair
    from polymodal.systems.consulting.seats import Seats

NOTE = "For research, not for care."
OVER = "The consultation has ended. Goodbye."
ONE = "I can look at one picture at a time, and looked at the first."
DEAF = "(A sound or film was sent; it can be neither heard nor seen here.)"
PICTURE = "picture"  # the kind of what nobody asked for and no word names
KEPT = 256  # talks whose states are at hand
LIVE = ("state", "plain")  # arms that need no other consultation of the same case
OUTAGES: tuple[Failure, ...] = ("timeout", "rate_limit", "server", "refused_input")
PLAIN: Mapping[str, frozenset[str]] = {  # whole answers, as `words` has them
    "yes": frozenset({"y", "yeah", "yep", "yes i do", "yes i have", "yes i am", "i do", "i have"}),
    "no": frozenset({"n", "nope", "no i do not", "no i don t", "no i have not", "no i haven t", "i do not"}),
    UNSURE: frozenset({"unsure", "i m not sure", "i do not know", "i don t know", "no idea", "maybe"}),
}
DENIED = frozenset({"no", "not", "without", "never", "don", "haven"})


class Turn(NamedTuple):
    """What the person said, and what was answered; None where the answer is owed."""

    user: tuple[Any, ...]
    reply: str | None


class _At(NamedTuple):
    """Where a talk stands: the doctor's state, and what it did last."""

    state: State
    action: Action | None


class Seated:
    """A doctor in the chair, to whom a person talks; see `seated`."""

    def __init__(
        self,
        make: Callable[[], Chair],
        *,
        name: str,
        values: Mapping[str, Sequence[str]] = {},
        seed: int | None = None,
        most: int = KEPT,
    ) -> None:
        self.make, self.name, self.values, self.seed, self.most = make, name, values, seed, most
        self._kept: OrderedDict[str, _At] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, *messages: Message, seed: int, schema: Any = None) -> Reply:
        """What the doctor says next; a schema is not its business.

        Raises:
            ChatError: refused_input, where the person has said nothing yet or a file cannot be read; what
                the doctor's model failed with, where not one of its calls in this turn was answered.
        """
        seed = self.seed if self.seed is not None else seed
        talk, usage = turns(messages), Usage()
        keys = _keys(talk, seed=seed)
        at, n = self._found(keys)
        for i in range(n, len(talk)):
            at, spent = self._taken(at, talk[i].user, usage, seed=seed)
            usage += spent
            if talk[i].reply is not None:
                at = _as_told(at, talk[i].reply or "", first=i == 0)
                self._keep(keys[i + 1], at)
        text = _told(at.action, first=len(talk) == 1)
        self._keep(_key(keys[-1], talk[-1].user, text), at)
        return Reply(assistant(text), usage)

    def _taken(self, at: _At, user: tuple[Any, ...], before: Usage, *, seed: int) -> tuple[_At, Usage]:
        """One turn of the doctor's; nothing is asked of the model once it has closed."""
        if at.state.phase == "closed":
            return _At(at.state, None), Usage()
        chair = self.make()
        chair.resume(at.state, seed=seed)
        action = chair(_heard(user, at, self.values, chair.kinds))
        failed = _outage(at.state, chair)
        if failed:
            raise ChatError(failed, f"{self.name}: {failed} at every call of a turn", before + chair.usage)
        return _At(chair.state, action), chair.usage

    def _found(self, keys: Sequence[str]) -> tuple[_At, int]:
        """The state after as many turns as are known, and how many these are."""
        with self._lock:
            for n in range(len(keys) - 1, 0, -1):
                if keys[n] in self._kept:
                    self._kept.move_to_end(keys[n])
                    return self._kept[keys[n]], n
        return _At(State(), None), 0

    def _keep(self, key: str, at: _At) -> None:
        with self._lock:
            self._kept[key] = at
            self._kept.move_to_end(key)
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)


def seated(
    make: Callable[[], Chair],
    *,
    name: str,
    values: Mapping[str, Sequence[str]] = {},
    seed: int | None = None,
    most: int = KEPT,
) -> ChatModel:
    """A doctor to talk to: the user's messages are the patient, the replies are what the doctor says.

    A state is kept for each beginning of a talk and worked out anew, turn by turn, where it is not known: a
    server that was started again goes on as if nothing had been, so long as the doctor's model repeats
    itself. Where it does not, what the person was told stands, whatever the doctor would say now. Threads may
    share it.

    A picture is of the kind that its message names, else of the one that was asked for last. "Yes", "no" and
    "not sure" alone are values of the finding that was asked for; all other words are heard as words.

    Args:
        make: a chair at the beginning of a consultation.
        name: of the doctor, with its model.
        values: by finding, its values, where the chair's model goes by a clinic's table.
        seed: of all talks, whatever the calls bring: rooms draw another at each turn, with which the whole
            talk would be held anew each time. None takes the calls'.
        most: talks whose states are kept.
    """
    return Seated(make, name=name, values=values, seed=seed, most=most)


def partner(spec: str, seats: Seats, *, store: Store | None = None) -> ChatModel:
    """A doctor for rooms from a string: `MODEL`, or `ARM:MODEL` as in `plain:openai:MODEL@URL`.

    Args:
        spec: the model in the chair, and before it the arm: `state` (where none is named), with its options
            as `state?gap=eig&calls=merged`, or `plain`.
        seats: the clinic, its readers and limits.
        store: where the model's replies are kept.

    Raises:
        LookupError: an unknown model.
        ValueError: an arm that cannot be talked to, or an option that it does not have.
    """
    word, _, rest = spec.partition(":")
    known = word.partition("?")[0] in ARMS
    arm, given = (word, rest) if known else ("state", spec)
    if parsed(arm)[0] not in LIVE:
        raise ValueError(f"{spec}: {arm} needs other talks about the same case; one of {', '.join(LIVE)}")
    model = connect(given, scripts=places.scripts(seats.clinic), store=store)
    before = replace(seats, spec=given, model=model)
    values = {one.name: one.values for one in seats.clinic.findings} if seats.clinic else {}
    name = f"seated:{arm}:{model.name}"
    return seated(lambda: before.chair(arm, 0), name=name, values=values, seed=seats.config.seed)


class Role(NamedTuple):
    """Who a person plays in a consultation.

    Attributes:
        id: of the case.
        group: of the case.
        reference: the diagnosis; not on the card.
        card: paragraphs for the person.
        pictures: that can be sent, each with its caption, in the order of kinds and takes.
        opening: what the partner has said before the person begins.
        brief: what the partner alone is told.
    """

    id: str
    group: str
    reference: str
    card: tuple[str, ...]
    pictures: tuple[tuple[str, Image], ...] = ()
    opening: str = ""
    brief: str = ""


def roles(
    cases: Sequence[Case], n: int, *, seed: int, given: Callable[[Case], Role] | None = None
) -> list[Role]:
    """At most n of the cases, drawn by the seed, as roles: of their patients, or as `given` has them."""
    picked = np.random.default_rng(seed).permutation(len(cases))[:n]
    return [(given or role)(cases[int(i)]) for i in sorted(picked)]


def role(case: Case) -> Role:
    """A case as a person can play it."""
    told = [f"{NOTE} You play a patient. Begin with these words: {case.initial}"]
    by_value: dict[str, list[str]] = {}
    for name, value in case.findings.items():
        by_value.setdefault(value, []).append(name)
    told += [f"Asked for any of these, say: {value}. {'; '.join(some)}" for value, some in by_value.items()]
    told += [f"{section}: {' '.join(sentences)}" for section, sentences in case.told.items()]
    told += [f"If this test is asked for, tell its result. {name}: {x}" for name, x in case.results.items()]
    pictures = []
    for kind, takes in case.artefacts.items():
        shown = [take.image for take in takes if take.image is not None]
        pictures += [(f"{kind}, take {i}", image) for i, image in enumerate(shown, 1)]
    if pictures:
        told.append(
            "The pictures below are yours. Save one and send it when you are asked for it: take 1 first, the "
            "next one only when you are asked to take it again."
        )
    return Role(case.id, case.group or case.id, case.diagnosis, tuple(told), tuple(pictures))


def turns(messages: Sequence[Message]) -> list[Turn]:
    """What the person said and what was answered; what stands above the talk is left out.

    Raises:
        ChatError: refused_input, where no word of the person's is unanswered.
    """
    found: list[Turn] = []
    for message in messages:
        if message.role == "user":
            owed = bool(found) and found[-1].reply is None  # the reply failed, and more was said
            more = found.pop().user if owed else ()
            found.append(Turn((*more, *message.parts), None))
        elif message.role == "assistant" and found:
            before = found.pop()
            found.append(before._replace(reply="\n".join(filter(None, [before.reply, said(message)]))))
    if not found or found[-1].reply is not None:
        raise ChatError("refused_input", "the person has the word, and said nothing")
    return found


def _keys(turns: Sequence[Turn], *, seed: int) -> list[str]:
    """A digest of the talk after each answered turn, the one before the first included."""
    keys = [f"{seed}"]
    for turn in turns:
        if turn.reply is not None:
            keys.append(_key(keys[-1], turn.user, turn.reply))
    return keys


def _key(before: str, user: tuple[Any, ...], reply: str) -> str:
    try:
        parts = [[part.kind, part.digest()] for part in user]
    except MediaError as error:
        raise ChatError("refused_input", str(error)) from error
    return hashlib.sha256(json.dumps([before, parts, reply]).encode()).hexdigest()


def _heard(
    user: tuple[Any, ...], at: _At, values: Mapping[str, Sequence[str]], kinds: Sequence[str]
) -> Heard:
    """A person's message as an observation."""
    text = "\n".join(part.read() for part in user if isinstance(part, Text)).strip()
    images = [part for part in user if isinstance(part, Image)]
    notes = [ONE] if len(images) > 1 else []
    notes += [DEAF] if any(not isinstance(part, Text | Image) for part in user) else []
    told = "\n".join([text, *(f"({note.strip('()')})" for note in notes)]).strip()
    if images:
        kind = _kind(text, at, kinds)
        try:
            return heard(told or f"Here is the {kind}.", kind=kind, image=images[0].pixels())
        except MediaError:
            return heard(f"{told}\nThe {kind} {UNREADABLE}.".strip(), kind=kind)
    match at.action:
        case Request(kind) | Retake(kind) if kind in kinds:
            return heard(told, kind=kind)  # asked for, and not sent: as what could not be read
        case Ask(finding=finding):
            return heard(told, finding=finding, value=_value(text, values.get(finding, ())))
        case None if not at.state.talk:
            finding = _complaint(text, values)
            return heard(told, finding=finding, value="yes" if finding else "")
    return heard(told)


def _kind(text: str, at: _At, kinds: Sequence[str]) -> str:
    named = [kind for kind in kinds if names(text, kind)]
    if len(named) == 1:
        return named[0]
    for line in reversed(at.state.talk):
        for word in ("[request] ", "[retake] "):
            if line.reply.startswith(word):
                return line.reply.removeprefix(word)
    return kinds[0] if len(kinds) == 1 else PICTURE


def _value(text: str, values: Sequence[str]) -> str:
    """The value that a plain answer stands for; "" for none."""
    answer = words(text)
    for value in (*values, UNSURE) if values else ():
        if answer in (words(value), words(spoken(value))) or answer in PLAIN.get(value, ()):
            return value
    return ""


def _complaint(text: str, values: Mapping[str, Sequence[str]]) -> str:
    """The one finding of a table that the first message names without denying it, else ""."""
    told = [name for name in values if names(text, name) and "yes" in values[name]]
    longest = [name for name in told if not any(name != other and names(other, name) for other in told)]
    denied = DENIED & {*words(text).split()}
    return longest[0] if len(longest) == 1 and not denied else ""


def _told(action: Action | None, *, first: bool) -> str:
    """The reply's words."""
    text = OVER if action is None else worded(action)
    return f"{NOTE} {text}" if first else text


def _as_told(at: _At, reply: str, *, first: bool) -> _At:
    """A turn worked out anew, with the words that the person was really given."""
    if reply == _told(at.action, first=first) or at.action is None or isinstance(at.action, Close):
        return at
    bare = reply.removeprefix(f"{NOTE} ")
    *rest, last = at.state.talk
    return _At(replace(at.state, talk=(*rest, replace(last, reply=bare))), Ask(bare))


def _outage(before: State, chair: Chair) -> Failure | None:
    """Why not one call of a turn was answered; None where one was, or none was made."""
    if chair.usage.calls + chair.usage.cached:
        return None
    return next((one for one in OUTAGES if _count(chair.state, one) > _count(before, one)), None)


def _count(state: State, reason: str) -> int:
    return state.counts.get(f"why:{reason}", 0)
