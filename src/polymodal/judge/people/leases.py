"""Places and who holds them: dealt out by the plan, leased, returned, and never held twice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, delete, exists, func, insert, or_, select, update

from polymodal.judge.people.design import Plan
from polymodal.judge.people.study import OWN, SHARED, Study
from polymodal.judge.people.tables import (
    Rater,
    RefusedError,
    Stored,
    answer,
    blob,
    happened,
    message,
    rater_of,
    seat,
    slot,
)  # fmt: skip
from polymodal.judge.people.tables import rater as people
from polymodal.judge.people.tables import study as stored
from polymodal.judge.people.tables import unit as units

ENDED = ("withdrawn", "deleted")

# Rows are locked in the order rater, seat, slot, and what another holds is skipped: nobody waits in a circle.
# A place that goes back keeps its row and answers; a new row, which `replaces` it, is put up in its stead.


def found(c: Connection, study: Study, plan: Plan, now: float, *, seed: int) -> None:
    """Write a study and its plan into empty tables."""
    kept = [_shown(raw, study.units[raw["id"]].digest) for raw in study.raw["units"]]
    row = {"digest": study.digest, "id": study.id, "version": study.version, "seed": seed, "made": now}
    c.execute(insert(stored).values(**row, spec={**study.raw, "units": kept}))
    rows = [
        {
            "id": unit.id, "item": unit.item, "group": unit.group, "subject": unit.subject,
            "variant": unit.variant, "case_digest": unit.digest,
        }
        for unit in study.units.values()
    ]  # fmt: skip
    if rows:
        c.execute(insert(units), rows)
    if plan.seats:
        c.execute(insert(seat), [{"id": one.number, "stratum": one.stratum} for one in plan.seats])
    places = [
        {
            "unit": place.unit, "page": place.page, "seat": one.number, "position": place.position,
            "repeat": place.repeat, "sides": list(place.sides), "state": "open",
        }
        for one in plan.seats
        for place in one.places
    ]  # fmt: skip
    if places:
        c.execute(insert(slot), places)


def _shown(raw: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """A unit of the file without what it shows, for which its digest stands."""
    kept = {key: value for key, value in raw.items() if key not in ("messages", "sides")}
    sides = [{**side, "messages": []} for side in raw.get("sides", ())]
    return {**kept, **({"sides": sides} if sides else {}), "digest": digest}


_RATER = select(people).where(people.c.id == bindparam("who")).with_for_update()


def hold(c: Connection, rater: Rater) -> Rater:
    """The rater as stored, held to the end of the transaction. Raises RefusedError: state, who has left."""
    row = c.execute(_RATER, {"who": rater.id}).first()
    if row is None or row.state in ENDED:
        raise RefusedError("state", "this rater has withdrawn")
    return rater_of(row)


_MARK = update(people).where(people.c.id == bindparam("who"))


def mark(c: Connection, rater: int, **values: Any) -> None:
    """Change what is stored of a rater."""
    c.execute(_MARK, {"who": rater, **values})


_OWNED = select(slot).where(slot.c.id == bindparam("place"), slot.c.rater == bindparam("who"))
_HELD = _OWNED.with_for_update()


def owned(c: Connection, rater: Rater, place: int, *, lock: bool = False) -> Any:
    """The row of a rater's place. Raises RefusedError: not_yours, for all others alike."""
    row = c.execute(_HELD if lock else _OWNED, {"place": place, "who": rater.id}).first()
    if row is None or row.state == "withdrawn":
        raise RefusedError("not_yours", "no such place")
    return row


_PUT = update(slot).where(slot.c.id == bindparam("place"))
_ONE = select(slot).where(slot.c.id == bindparam("place"))


def put(c: Connection, place: int, **values: Any) -> Any:
    """Change what is stored of a place; gives its new row."""
    c.execute(_PUT, {"place": place, **values})
    return c.execute(_ONE, {"place": place}).one()


_NOTE = insert(happened)


def note(
    c: Connection, at: float, rater: int | None, place: int | None, kind: str, data: Any, client_ms: float = 0
) -> None:
    """Add an event."""
    row = {"rater": rater, "slot": place, "kind": word(kind), "data": data, "client_ms": number(client_ms)}
    c.execute(_NOTE, {**row, "at": at})


def word(client: str) -> str:
    """A browser's word as a column takes it: short, and without what no text column holds."""
    return "".join(letter for letter in client[:80] if letter.isprintable())


def number(client: float) -> float:
    """A browser's number; 0 where it is none."""
    return float(client) if math.isfinite(client) else 0.0


def pick(
    c: Connection, study: Study, rater: Rater, now: float, lease: float, *, take: bool = False
) -> Any | None:
    """The place that a rater has, or is to have next, on the present page; None where nothing is left.

    Args:
        c: in a transaction that holds the rater's row.
        study: that it is about.
        rater: as stored.
        now: Unix seconds.
        lease: seconds.
        take: lease it; otherwise only look, at what the rater holds already.
    """
    page = study.pages[rater.page]
    if page.kind in OWN:
        _own(c, study, rater)
    held: Any = _mine(c, rater, "leased").first()
    if held is not None:
        return renew(c, held, now, lease) if take else held
    if page.kind in SHARED and take:
        lapse(c, now)
        for left in _mine(c, rater, "returned").all():
            again = renew(c, left, now, lease)
            if again is not None:
                _sit(c, rater, now + lease, again.seat)
                return again
    if page.kind in OWN:
        row: Any = _mine(c, rater, "open").first()
    else:
        place = _sit(c, rater, now + lease) if take else _seat_of(c, rater)
        if place is None:
            return None
        row = _next(c, rater, place)
    if row is None or not take:
        return row
    return put(c, row.id, state="leased", rater=rater.id, opened=now, lease_until=now + lease)


def renew(c: Connection, row: Any, now: float, lease: float) -> Any | None:
    """The place with a fresh lease; one that was returned is taken back while nobody else has it.

    Returns:
        None where somebody else has it.
    """
    if row.state == "returned":
        spare = (slot.c.replaces == (row.replaces or row.id), slot.c.state == "open")
        other = c.execute(select(slot.c.id).where(*spare).with_for_update(skip_locked=True)).first()
        if other is None:
            return None
        c.execute(delete(slot).where(slot.c.id == other.id))
    elif row.lease_until is not None and row.lease_until - now > 0.9 * lease:
        return row  # a write a keystroke would buy nothing
    return put(c, row.id, state="leased", lease_until=now + lease)


_LATE = (
    select(seat)
    .where(
        seat.c.rater.is_not(None),
        seat.c.lease_until < bindparam("now"),
        exists().where(slot.c.seat == seat.c.id, slot.c.state.in_(("open", "leased"))),
        ~exists().where(
            slot.c.seat == seat.c.id, slot.c.state == "leased", slot.c.lease_until >= bindparam("now")
        ),
    )
    .with_for_update(skip_locked=True)
)


def lapse(c: Connection, now: float) -> None:
    """Put up again what raters hold who have not been seen for a lease."""
    for row in c.execute(_LATE, {"now": now}).all():
        _return(c, and_(slot.c.seat == row.id, slot.c.lease_until < now))
        c.execute(update(seat).where(seat.c.id == row.id).values(rater=None, last=row.rater))


def vacate(c: Connection, rater: int, now: float) -> None:
    """Give back all that a rater holds."""
    c.execute(update(seat).where(seat.c.rater == rater).values(rater=None, last=rater, lease_until=now))
    _return(c, slot.c.rater == rater)


def erase(c: Connection, rater: int) -> None:
    """Delete what a rater wrote; the finished places are put up again."""
    mine = select(slot.c.id).where(slot.c.rater == rater)
    for table in (answer, message):
        c.execute(delete(table).where(table.c.slot.in_(mine)))
    c.execute(delete(happened).where(or_(happened.c.rater == rater, happened.c.slot.in_(mine))))
    c.execute(delete(blob).where(blob.c.rater == rater))
    _return(c, slot.c.rater == rater, "done", "withdrawn")
    c.execute(update(slot).where(slot.c.rater == rater).values(state="withdrawn"))


def share(c: Connection, study: Study, rater: Rater) -> float:
    """Share of gold answers that a rater gave rightly on the present page; 1 where it has no gold."""
    query = (
        select(slot.c.unit, answer.c.field, answer.c.value)
        .join(answer, answer.c.slot == slot.c.id)
        .where(slot.c.rater == rater.id, slot.c.page == rater.page)
        .order_by(answer.c.id)
    )
    given = {(row.unit, row.field): row.value for row in c.execute(query)}
    gold = [(u, f, v) for u in study.pages[rater.page].units for f, v in study.units[u].gold.items()]
    return sum(given.get((u, f)) == v for u, f, v in gold) / len(gold) if gold else 1.0


def count(c: Connection, study: Study, rater: Rater) -> tuple[int, int]:
    """Places of the present page: submitted by this rater, and in all."""
    mine = c.execute(
        select(slot.c.state, func.count())
        .where(slot.c.rater == rater.id, slot.c.page == rater.page)
        .group_by(slot.c.state)
    ).all()
    states = {str(state): int(n) for state, n in mine}
    place = _seat_of(c, rater)
    left = 0
    if place is not None:
        free = (slot.c.seat == place, slot.c.page == rater.page, slot.c.state == "open")
        left = int(c.execute(select(func.count()).select_from(slot).where(*free)).scalar_one())
    own = states.get("open", 0)
    done = states.get("done", 0)
    page = study.pages[rater.page]
    total = done + states.get("leased", 0) + left + own
    if page.kind in OWN:
        total = max(total, len(page.units) or 1)
    return done, total


def progress(c: Connection) -> dict[str, Any]:
    """See `Store.progress`."""
    done = func.sum(case((slot.c.state == "done", 1), else_=0))
    slots = c.execute(select(slot.c.state, func.count()).group_by(slot.c.state)).all()
    raters = c.execute(select(people.c.state, func.count()).group_by(people.c.state)).all()
    dealt = select(done).where(slot.c.seat.is_not(None)).group_by(slot.c.unit)
    each = [int(n) for (n,) in c.execute(dealt)]
    return {
        "slots": {str(state): int(n) for state, n in slots},
        "raters": {str(state): int(n) for state, n in raters},
        "ratings_per_case": [min(each, default=0), max(each, default=0)],
        "answers": int(c.execute(select(func.count()).select_from(answer)).scalar_one()),
    }


_MINE = select(slot).where(
    slot.c.rater == bindparam("who"), slot.c.page == bindparam("page"), slot.c.state == bindparam("state")
)
_MINE = _MINE.order_by(slot.c.opened, slot.c.position).with_for_update()


def _mine(c: Connection, rater: Rater, state: str) -> Any:
    return c.execute(_MINE, {"who": rater.id, "page": rater.page, "state": state})


def _own(c: Connection, study: Study, rater: Rater) -> None:
    """The places of a page that every rater does whole, made when the rater comes to it."""
    here = (slot.c.rater == rater.id, slot.c.page == rater.page)
    if c.execute(select(slot.c.id).where(*here).limit(1)).first() is not None:
        return
    shown: list[tuple[str | None, int]] = [
        (unit, len(study.units[unit].cases)) for unit in study.pages[rater.page].units
    ]
    shown = shown or [(None, 1)]
    rows = [
        {
            "unit": unit, "page": rater.page, "rater": rater.id, "position": position, "repeat": False,
            "sides": list(range(sides)), "state": "open",
        }
        for position, (unit, sides) in enumerate(shown)
    ]  # fmt: skip
    c.execute(insert(slot), rows)


_SEAT = select(seat.c.id).where(seat.c.rater == bindparam("who"))


def _seat_of(c: Connection, rater: Rater) -> int | None:
    row = c.execute(_SEAT, {"who": rater.id}).first()
    return None if row is None else int(row.id)


_TAKE = update(seat).where(seat.c.id == bindparam("place"))


def _sit(c: Connection, rater: Rater, until: float, wish: int | None = None) -> int | None:
    """The rater's seat, its lease renewed: the one held, the one held before, else a fresh one, else any."""
    held = _seat_of(c, rater)
    if held is None:
        waiting = exists().where(slot.c.seat == seat.c.id, slot.c.state == "open")
        free = select(seat.c.id).where(seat.c.rater.is_(None), seat.c.stratum == rater.stratum)
        free = free.where(waiting if wish is None else seat.c.id == wish)
        order = (case((seat.c.last == rater.id, 0), (seat.c.last.is_(None), 1), else_=2), seat.c.id)
        row = c.execute(free.order_by(*order).limit(1).with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        held = int(row.id)
    c.execute(_TAKE, {"place": held, "rater": rater.id, "lease_until": until})
    return held


_BEFORE, _THEN, _HERE = slot.alias("before"), units.alias("then"), units.alias("here")
_SEEN = (
    select(_BEFORE.c.id)
    .join(_THEN, _THEN.c.id == _BEFORE.c.unit)
    .join(_HERE, _HERE.c.item == _THEN.c.item)
    .where(_BEFORE.c.rater == bindparam("who"), _HERE.c.id == slot.c.unit, _BEFORE.c.state != "returned")
    .exists()
)
_RATED = exists().where(
    _BEFORE.c.rater == bindparam("who"), _BEFORE.c.unit == slot.c.unit, _BEFORE.c.state == "done"
)
_NEXT = (
    select(slot)
    .where(slot.c.seat == bindparam("place"), slot.c.page == bindparam("page"), slot.c.state == "open")
    .where(or_(and_(~slot.c.repeat, ~_SEEN), and_(slot.c.repeat, _RATED)))
    .order_by(slot.c.position)
    .limit(1)
    .with_for_update(skip_locked=True)
)


def _next(c: Connection, rater: Rater, place: int) -> Any | None:
    """The next open place of a seat whose item this rater has not seen; a repeat needs its first time."""
    return c.execute(_NEXT, {"who": rater.id, "page": rater.page, "place": place}).first()


def _return(c: Connection, which: Any, state: str = "leased", to: str = "returned") -> None:
    """End places of the plan, and put up a new one for each."""
    query = select(slot).where(which, slot.c.state == state, slot.c.seat.is_not(None)).with_for_update()
    for row in c.execute(query).all():
        put(c, row.id, state=to, lease_until=None)
        same = {key: getattr(row, key) for key in ("unit", "page", "seat", "position", "repeat", "sides")}
        c.execute(insert(slot).values(**same, state="open", replaces=row.replaces or row.id))


_ALL = select(answer).where(answer.c.slot == bindparam("place")).order_by(answer.c.id)


def newest(c: Connection, place: int) -> dict[str, Stored]:
    """The newest answer of each question of a place."""
    return {row.field: _stored(row) for row in c.execute(_ALL, {"place": place})}


_NEWEST = (
    select(answer)
    .where(answer.c.slot == bindparam("place"), answer.c.field == bindparam("field"))
    .order_by(answer.c.version.desc())
    .limit(1)
)
_SAME = _NEWEST.where(answer.c.seq == bindparam("seq"))


def version(c: Connection, place: int, field: str, seq: int | None = None) -> Stored | None:
    """The newest answer to a question, or the newest one that was saved under a number."""
    where = {"place": place, "field": field}
    row = c.execute(_NEWEST, where) if seq is None else c.execute(_SAME, {**where, "seq": seq})
    first = row.first()
    return None if first is None else _stored(first)


def _stored(row: Any) -> Stored:
    return Stored(row.value, row.na, row.note, row.version, row.seq)
