"""The study's memory: raters, leased places, versioned answers, messages; nothing is lost."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from polymodal.judge.people import leases, tables
from polymodal.judge.people.design import plan
from polymodal.judge.people.study import READ, Study, parse
from polymodal.judge.people.tables import Rater, RefusedError, Slot, StaleError, Stored, rater_of, slot_of
from polymodal.judge.question import LONGEST

TOKEN_DAYS = 90.0
PASS = 0.8  # share of gold, to qualify


class Store:
    """A study in its database; safe for many threads, and for several processes on one database.

    Args:
        url: see `tables.Database`.
        study: None opens what the database holds.
        seed: of the plan and of pseudonyms, used when the study is first stored.
        clock: Unix seconds.

    Raises:
        ValueError: the database holds another study, or none where none is given.
    """

    def __init__(
        self, url: str, study: Study | None = None, *, seed: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        self.database = tables.Database(url)
        self._clock = clock
        try:
            with self.database.write() as c:
                self.database.make(c)
                kept: Any = c.execute(select(tables.study)).first()
                if kept is None and study is not None:
                    leases.found(c, study, plan(study, seed=seed), clock(), seed=seed)
                elif kept is None:
                    raise ValueError(f"{url} holds no study")
                elif study is not None and study.digest != kept.digest:
                    raise ValueError(f"{url} holds another study or version: {kept.id} {kept.version}")
        except BaseException:
            self.database.close()
            raise
        self.seed = seed if kept is None else int(kept.seed)
        self.study = study or parse(kept.spec, Path(), "the stored study")
        self.digest = study.digest if study is not None else str(kept.digest)
        self._lease = self.study.design.lease_minutes * 60

    def close(self) -> None:
        """Give the connections back."""
        self.database.close()

    def enrol(self, stratum: str = "", language: str = "") -> str:
        """A new rater's token: 256 random bits, of which only the hash is kept.

        Raises:
            RefusedError: state, for a stratum that the design does not have.
        """
        if stratum not in (self.study.design.strata or ("",)):
            raise RefusedError(
                "state", f"stratum {stratum!r} is none of: {', '.join(self.study.design.strata) or 'none'}"
            )
        token, now = secrets.token_urlsafe(32), self._clock()
        days = float(self.study.retention.get("token_days", TOKEN_DAYS))
        row = {
            "token_hash": _hash(token), "stratum": stratum, "state": "new", "page": 0, "enrolled": now,
            "language": leases.word(language) or self.study.language, "expires": now + days * 86400,
        }  # fmt: skip
        with self.database.write() as c:
            number = _key(c.execute(insert(tables.rater).values(row)))
            word = hashlib.sha256(f"{self.digest} {self.seed} {number}".encode()).hexdigest()[:10]
            leases.mark(c, number, pseudonym=f"r{word}")
        return token

    def rater(self, token: str) -> Rater | None:
        """Whose token it is; None for an unknown, forged, withdrawn or expired one alike."""
        given = _hash(token)
        with self.database.read() as c:
            row = c.execute(_TOKEN, {"given": given}).first()
        same = hmac.compare_digest(row.token_hash if row else "0" * 64, given)
        if row is None or not same or row.expires < self._clock() or row.state in leases.ENDED:
            return None
        return rater_of(row)

    def consent(self, rater: Rater, agreed: bool) -> Rater:
        """Keep a decision; who declines sees nothing further. Gives the rater as now stored."""
        with self.database.write() as c:
            now = leases.hold(c, rater)
            if now.state in ("new", "declined"):
                state = "active" if agreed else "declined"
                leases.mark(c, rater.id, state=state)
                leases.note(c, self._clock(), rater.id, None, "consent", {"agreed": agreed})
            return leases.hold(c, rater)

    def choose(self, rater: Rater, language: str) -> None:
        """Keep the language that a rater reads in."""
        known = self.study.languages()
        if language not in known:
            raise RefusedError("invalid", f"language {language[:80]!r} is none of: {', '.join(known)}")
        with self.database.write() as c:
            leases.mark(c, rater.id, language=language)

    def advance(self, rater: Rater, page: int) -> Rater:
        """Go on to a page, which is the next one; to be there already is no error.

        A qualification page that is left below its `pass` share fails the rater.

        Returns:
            The rater as now stored; `done` on the last page.

        Raises:
            RefusedError: state, where something is left to do, or the page is not the next.
        """
        with self.database.write() as c:
            now = leases.hold(c, rater)
            if page <= now.page or now.state != "active":
                if now.state == "new" and page > now.page:
                    raise RefusedError("state", "consent comes first")
                return now
            if page != now.page + 1 or page >= len(self.study.pages):
                raise RefusedError("state", f"page {page} does not follow page {now.page}")
            here = self.study.pages[now.page]
            if here.kind not in READ and leases.pick(c, self.study, now, self._clock(), self._lease):
                raise RefusedError("state", f"page {here.id} has questions left")
            least = float(here.options.get("pass", PASS)) if here.kind == "qualification" else 0.0
            failed = leases.share(c, self.study, now) < least
            last = page == len(self.study.pages) - 1 and self.study.pages[page].kind in READ
            state = "failed" if failed else "done" if last else "active"
            if failed:
                leases.vacate(c, rater.id, self._clock())
            values = {"page": page, "state": state}
            leases.mark(c, rater.id, **values)
            leases.note(c, self._clock(), rater.id, None, "page", values)
            return leases.hold(c, rater)

    def withdraw(self, rater: Rater, keep: bool) -> None:
        """End a rater's part: the token dies, open places go back.

        Args:
            rater: who.
            keep: False deletes all that the rater wrote, and puts the places up again.
        """
        if self.study.retention.get("on_withdrawal") == "delete":
            keep = False
        with self.database.write() as c:
            leases.hold(c, rater)
            leases.vacate(c, rater.id, self._clock())
            if not keep:
                leases.erase(c, rater.id)
            state = "withdrawn" if keep else "deleted"
            leases.mark(c, rater.id, state=state, token_hash=None)
            leases.note(c, self._clock(), rater.id, None, "withdrawn", {"kept": keep})

    def lease(self, rater: Rater) -> Slot | None:
        """The rater's next place on the present page, in one transaction; the same one until it is submitted.

        None where the page asks nothing, or has nothing left for this rater.
        """
        with self.database.write() as c:
            now = leases.hold(c, rater)
            if now.state != "active" or self.study.pages[now.page].kind in READ:
                return None
            row = leases.pick(c, self.study, now, self._clock(), self._lease, take=True)
            return None if row is None else slot_of(row)

    def slot(self, rater: Rater, slot_id: int) -> Slot:
        """A place of this rater. Raises RefusedError (not_yours) for all others."""
        with self.database.read() as c:
            return slot_of(leases.owned(c, rater, slot_id))

    def slots(self, rater: Rater) -> list[Slot]:
        """All places that this rater has or had on the present page, as taken."""
        query = select(tables.slot).where(tables.slot.c.rater == rater.id, tables.slot.c.page == rater.page)
        with self.database.read() as c:
            return [slot_of(row) for row in c.execute(query.order_by(tables.slot.c.opened))]

    def of(self, rater: Rater) -> tuple[int, int]:
        """How many places of the present page are submitted, and how many there are for this rater."""
        with self.database.read() as c:
            return leases.count(c, self.study, rater)

    def answers(self, rater: Rater, slot_id: int) -> dict[str, Stored]:
        """What is stored for a place, by question."""
        with self.database.read() as c:
            leases.owned(c, rater, slot_id)
            return leases.newest(c, slot_id)

    def save(
        self,
        rater: Rater,
        slot_id: int,
        field: str,
        value: Any,
        *,
        seq: int,
        version: int,
        note: str = "",
        na: bool = False,
        client_ms: float = 0,
    ) -> Stored:
        """Store an answer; the same one again, with the same `seq`, is the same answer.

        Args:
            rater: who.
            slot_id: where.
            field: id of the question.
            value: as the rubric's question takes it; with `na`, anything.
            seq: number of the change, counted by the page.
            version: that the page has last seen; 0 for none.
            note: the rater's remark.
            na: does not apply.
            client_ms: on the page's own clock.

        Raises:
            StaleError: another version is stored.
            RefusedError: invalid, done, locked, early, gone or not_yours.
            tables.UnavailableError: the database is locked or gone.
        """
        if len(note) > LONGEST:
            raise RefusedError("invalid", f"a remark has at most {LONGEST} characters", [field])
        with self.database.write() as c:
            row = leases.owned(c, rater, slot_id, lock=True)
            clean = self._clean(row, field, value, na)
            kept = leases.version(c, slot_id, field)
            if kept is not None and kept.version != version:  # a retry, or another tab
                same = leases.version(c, slot_id, field, seq)
                if same is not None and (same.value, same.na, same.note) == (clean, na, note):
                    return same
            self._writable(c, row)
            if kept is not None and kept.version != version:
                raise StaleError(kept)
            self._staged(row, field)
            stored = Stored(clean, na, note, kept.version + 1 if kept else 1, seq)
            row = {
                "slot": slot_id, "field": field, "value": clean, "na": na, "note": note, "seq": seq,
                "version": stored.version, "client_ms": leases.number(client_ms), "saved": self._clock(),
            }  # fmt: skip
            c.execute(_ANSWER, row)
        return stored

    def reveal(self, rater: Rater, slot_id: int) -> Slot:
        """Record that the advice, or the other's action, is shown; what was answered before it is final.

        Raises:
            RefusedError: early, while a question that comes first is unanswered, by name.
        """
        with self.database.write() as c:
            row = self._writable(c, leases.owned(c, rater, slot_id, lock=True))
            if row.revealed is None:
                given = leases.newest(c, slot_id)
                first = self.study.pages[row.page].first
                wanted = self._missing(row, {name: given[name] for name in first if name in given})
                if open_ := [name for name in wanted if name in first]:
                    raise RefusedError("early", f"an answer comes first: {', '.join(open_)}", open_)
                leases.put(c, slot_id, revealed=self._clock())
            return slot_of(leases.owned(c, rater, slot_id))

    def submit(self, rater: Rater, slot_id: int) -> None:
        """End a place; its answers are final. To have done so before is no error.

        Raises:
            RefusedError: missing, with the required questions that have no answer; gone or not_yours.
        """
        with self.database.write() as c:
            row = leases.owned(c, rater, slot_id, lock=True)
            if row.state == "done":
                return
            self._writable(c, row)
            given = leases.newest(c, slot_id)
            if missing := self._missing(row, given):
                raise RefusedError("missing", f"no answer: {', '.join(missing)}", missing)
            if self.study.pages[row.page].first and row.revealed is None:
                raise RefusedError("early", "the answers that come first were not followed by the reveal")
            leases.put(c, slot_id, state="done", submitted=self._clock(), lease_until=None)

    def event(
        self,
        rater: Rater | None,
        slot_id: int | None,
        kind: str,
        data: Mapping[str, Any],
        client_ms: float = 0,
    ) -> None:
        """Note what happened; events are only ever added."""
        with self.database.write() as c:
            if rater is not None and slot_id is not None:
                leases.owned(c, rater, slot_id)
            leases.note(c, self._clock(), rater.id if rater else None, slot_id, kind, data, client_ms)

    def say(
        self,
        rater: Rater,
        slot_id: int,
        role: str,
        parts_json: Sequence[Any],
        latency_ms: float = 0,
        usage: Mapping[str, Any] | None = None,
    ) -> int:
        """Keep one message of a room. Returns its number. Raises RefusedError as `save`."""
        with self.database.write() as c:
            self._writable(c, leases.owned(c, rater, slot_id, lock=True))
            row = {
                "slot": slot_id, "role": leases.word(role), "parts": list(parts_json), "at": self._clock(),
                "usage": dict(usage or {}), "latency_ms": leases.number(latency_ms),
            }  # fmt: skip
            return _key(c.execute(insert(tables.message).values(row)))

    def messages(self, slot_id: int) -> list[dict[str, Any]]:
        """What was said in a room, oldest first."""
        query = select(tables.message).where(tables.message.c.slot == slot_id).order_by(tables.message.c.id)
        with self.database.read() as c:
            return [dict(row._mapping) for row in c.execute(query)]

    def keep(self, rater: Rater, mime: str, data: bytes) -> str:
        """Keep an upload; gives its digest. The same bytes of the same rater are kept once."""
        digest = hashlib.sha256(f"{rater.id} ".encode() + data).hexdigest()
        with self.database.write() as c:
            if c.execute(select(tables.blob.c.digest).where(tables.blob.c.digest == digest)).first() is None:
                c.execute(insert(tables.blob).values(digest=digest, mime=mime, data=data, rater=rater.id))
        return digest

    def kept(self, rater: Rater, digest: str) -> tuple[str, bytes] | None:
        """Type and bytes of an upload of this rater; None for any other."""
        b = tables.blob
        with self.database.read() as c:
            row = c.execute(select(b).where(b.c.digest == digest, b.c.rater == rater.id)).first()
        return None if row is None else (row.mime, row.data)

    def progress(self) -> dict[str, Any]:
        """How far the study is: places and raters by state, submissions a unit, answers stored."""
        with self.database.read() as c:
            return leases.progress(c)

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """The rows of a table in the order written, streamed; token hashes stay out.

        Raises:
            KeyError: no such table.
        """
        return self.database.rows(table)

    def _writable(self, c: Connection, row: Any) -> Any:
        """The place, its lease renewed. Raises RefusedError: done, or gone."""
        if row.state == "done":
            raise RefusedError("done", "this place is submitted")
        held = leases.renew(c, row, self._clock(), self._lease)
        if held is None:
            raise RefusedError("gone", "this place went to somebody else after a long pause")
        return held

    def _clean(self, row: Any, field: str, value: Any, na: bool) -> Any:
        """The answer in its one form, None for none. Raises RefusedError: invalid."""
        try:
            question = self.study.asked(row.page)[field]
            if na and not question.na:
                raise ValueError(f"{field}: an answer is needed")
            return None if na or value is None else question.validate(value)
        except KeyError:
            raise RefusedError("invalid", f"no such question: {field[:80]!r}", [field[:80]]) from None
        except ValueError as error:
            raise RefusedError("invalid", str(error), [field]) from None

    def _staged(self, row: Any, field: str) -> None:
        """Refuses answers on the wrong side of the reveal."""
        first = self.study.pages[row.page].first
        if first and field in first and row.revealed is not None:
            raise RefusedError("locked", f"{field} was answered before the reveal", [field])
        if first and field not in first and row.revealed is None:
            raise RefusedError("early", f"{field} comes after the reveal", [field])

    def _missing(self, row: Any, given: Mapping[str, Stored]) -> list[str]:
        values = {name: stored.value for name, stored in given.items()}
        return self.study.asked(row.page).missing(values, [name for name, one in given.items() if one.na])


_ANSWER = insert(tables.answer)
_TOKEN = select(tables.rater).where(tables.rater.c.token_hash == bindparam("given"))


def _key(result: Any) -> int:
    return int(result.inserted_primary_key[0])


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
