"""Replies with a form: JSON found in what a model says, checked by a schema, repaired once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from polymodal.chat.model import ChatError, ChatModel, Failure, Reply, Schema, Usage, user
from polymodal.media import Message

LENGTH = 100_000  # characters of a reply that are looked at
DEPTH = 32  # of nested lists and objects
TRIES = 64  # places where an object may begin
REPAIR = (
    "Your reply could not be used: {error}\n"
    "Reply once more, with nothing but one JSON object that this schema accepts:\n{schema}"
)
_Check = Callable[[Any], str]
_OPENING = re.compile(r'\{\s*["}]')
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)  # an open string ends with the text


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking for a form.

    Attributes:
        data: the object, valid by the schema; None where there is none.
        reason: why there is none: `unparsable`, or the reason of the ChatError; "" with data.
        text: the last reply, as it came.
        usage: of both attempts.
        error: what was wrong with the last reply, or with the call, in words.
    """

    data: dict[str, Any] | None
    reason: Failure | Literal["", "unparsable"] = ""
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    error: str = ""


def ask(model: ChatModel, *messages: Message, schema: Schema, seed: int) -> Asked:
    """Ask for an object of a schema, with one repair attempt that quotes what was wrong.

    Never raises for what a model says or for a call that fails: both are counted by their reason.

    Args:
        model: what answers; it is handed the schema too, and may hold itself to it.
        messages: the conversation, which should say what is wanted.
        schema: JSON schema of an object.
        seed: of both calls.

    Raises:
        jsonschema.SchemaError: the schema itself is wrong.
    """
    check = _validator(json.dumps(schema))
    asked, usage, reply, error = messages, Usage(), None, ""
    for _ in range(2):
        if reply is not None:
            said = (reply.message,) if reply.text.strip() else ()
            form = json.dumps(schema, ensure_ascii=False)
            asked = (*messages, *said, user(REPAIR.format(error=error, schema=form)))
        try:
            reply = model(*asked, seed=seed, schema=schema)
        except ChatError as failed:
            text = reply.text if reply else ""
            return Asked(None, failed.reason, text, usage + failed.usage, str(failed))
        usage += reply.usage
        data, error = _read(reply, check)
        if data is not None:
            return Asked(data, "", reply.text, usage)
    assert reply is not None
    return Asked(None, "unparsable" if reply.text.strip() else "no_output", reply.text, usage, error)


def read(reply: Reply, schema: Schema) -> tuple[dict[str, Any] | None, str]:
    """The object in a reply that the schema accepts, or None and what is wrong, in one short line.

    The object may stand bare, in a fence, or among words; of several, the last valid one counts, since models
    think before they answer.

    Raises:
        jsonschema.SchemaError: the schema itself is wrong.
    """
    return _read(reply, _validator(json.dumps(schema)))


def _read(reply: Reply, check: _Check) -> tuple[dict[str, Any] | None, str]:
    text = reply.text
    if not text.strip():
        return None, "it was empty"
    if len(text) > LENGTH:
        return None, f"it has {len(text):,} characters, the limit is {LENGTH:,}"
    best, error = None, "no JSON object was found in it"
    for data in _objects(text):
        wrong = check(data)
        best, error = (best, wrong) if wrong else (data, error)
    if best is None and reply.stop == "length":
        error = f"it was cut at its length limit; {error}"
    return best, "" if best is not None else error


@lru_cache(maxsize=64)
def _validator(schema: str) -> _Check:
    """What tells, of an object, what is wrong by a schema in one line, "" where nothing is.

    The schema is itself checked once: that takes longer than all the rest of a call.
    """
    import jsonschema_rs
    from jsonschema.validators import validator_for

    form = json.loads(schema)
    kind = validator_for(form)
    kind.check_schema(form)
    full, quick = kind(form), jsonschema_rs.validator_for(form)

    def check(data: Any) -> str:
        if quick.is_valid(data):  # a thousand times faster, but its words would be others
            return ""
        wrong = sorted(("/".join(map(str, e.absolute_path)), e.message) for e in full.iter_errors(data))
        return f"{wrong[0][0] or 'the object'}: {wrong[0][1][:300]}" if wrong else ""

    return check


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects of a text, in order.

    What begins like one and cannot be read, such as one that was cut, hides those inside it: a part of an
    answer must not pass for the answer.
    """
    at = tries = 0
    while tries < TRIES and (at := text.find("{", at)) >= 0:
        tries += 1
        try:
            found, end = _JSON.raw_decode(text, at)
        except (ValueError, RecursionError):
            end, depth = _extent(text, at)
            at = end if depth > DEPTH or _OPENING.match(text, at) else at + 1
            continue
        at = end
        if _shallow(found):
            yield found


def _extent(text: str, at: int) -> tuple[int, int]:
    """Where the bracket at `at` closes, or the text's end; and how deep brackets nest up to there."""
    deep = most = 0
    for mark in _MARKS.finditer(text, at):
        deep += (mark[0] in "{[") - (mark[0] in "}]")
        most = max(most, deep)
        if deep == 0:
            return mark.end(), most
    return len(text), most


def _shallow(found: Any) -> bool:
    """Whether lists and objects nest no deeper than DEPTH."""
    level = [found]
    for _ in range(DEPTH):
        rows = [one.values() if isinstance(one, dict) else one for one in level]
        level = [item for row in rows for item in row if isinstance(item, dict | list)]
        if not level:
            return True
    return False


def _number(written: str) -> float:
    """A number that is one: NaN, Infinity and 1e999 are none in JSON."""
    if not math.isfinite(float(written)):
        raise ValueError(written)
    return float(written)


_JSON = json.JSONDecoder(parse_constant=_number, parse_float=_number)
