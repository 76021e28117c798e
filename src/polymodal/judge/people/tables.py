"""The tables of a study, and transactions that suit both SQLite and PostgreSQL."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    create_engine,
    event,
    select,
    text,
)  # fmt: skip
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

WAIT = 30  # seconds for a lock or a connection, after which the page keeps the form and tries again


class UnavailableError(RuntimeError):
    """The database is locked or gone; nothing of the transaction was kept."""


class RefusedError(ValueError):
    """Something that cannot be stored; nothing was.

    Attributes:
        reason: `not_yours` (or unknown: the two look alike), `gone` (its lease went to another), `done`,
            `locked` (stored before the reveal), `early` (asked for before what must come first), `invalid`,
            `missing`, `state`.
        fields: the questions that it is about.
    """

    def __init__(self, reason: str, detail: str, fields: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.reason, self.fields = reason, tuple(fields)


@dataclass(frozen=True, slots=True)
class Rater:
    """Somebody who answers.

    Attributes:
        state: new, active, done, declined or failed; who has withdrawn is no rater any more.
        page: where in the study's pages.
    """

    id: int
    pseudonym: str
    stratum: str
    state: str
    language: str
    page: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One unit before one rater.

    Attributes:
        unit: id in the study; "" for an instrument, which is about no case.
        page: index in the study's pages.
        position: from 0, on the rater's page.
        state: leased, done, or returned.
        lease_until: Unix seconds.
        sides: order in which the unit's cases are shown; the letters of answers are those shown.
        revealed: when the advice was shown, None before.
    """

    id: int
    unit: str
    page: int
    position: int
    state: str
    lease_until: float
    sides: tuple[int, ...]
    revealed: float | None


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer as it is kept."""

    value: Any
    na: bool
    note: str
    version: int
    seq: int


class StaleError(RuntimeError):
    """An answer was given on an older version; `newer` is what is stored."""

    def __init__(self, newer: Stored) -> None:
        super().__init__(f"version {newer.version} is stored")
        self.newer = newer


class Json(TypeDecorator[Any]):
    """A JSON value as ASCII text: it holds every character, even those that PostgreSQL's text refuses."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str:
        """To text."""
        return json.dumps(value)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """From text."""
        return None if value is None else json.loads(value)


metadata = MetaData()
# fmt: off

study = Table(
    "study", metadata,
    Column("digest", String(64), primary_key=True), Column("id", String(80), nullable=False),
    Column("version", String(80), nullable=False), Column("spec", Json, nullable=False),
    Column("seed", Json, nullable=False), Column("made", Double, nullable=False),
)
rater = Table(
    "rater", metadata,
    Column("id", Integer, primary_key=True), Column("token_hash", String(64), unique=True),
    Column("pseudonym", String(16), unique=True), Column("stratum", String(80), nullable=False),
    Column("language", String(80), nullable=False), Column("state", String(12), nullable=False),
    Column("page", Integer, nullable=False), Column("enrolled", Double, nullable=False),
    Column("expires", Double, nullable=False),
)
unit = Table(
    "unit", metadata,
    Column("id", String(200), primary_key=True), Column("item", Text, nullable=False),
    Column("group", Text, nullable=False), Column("subject", Text, nullable=False),
    Column("variant", Text, nullable=False), Column("case_digest", String(64), nullable=False),
)
seat = Table(  # `last` had it before, and gets it back first
    "seat", metadata,
    Column("id", Integer, primary_key=True), Column("stratum", String(80), nullable=False),
    Column("rater", Integer, ForeignKey("rater.id")), Column("last", Integer), Column("lease_until", Double),
    Index("seat_free", "rater", "stratum"),
)
slot = Table(  # state: open, leased, done, returned, withdrawn
    "slot", metadata,
    Column("id", Integer, primary_key=True), Column("unit", String(200), ForeignKey("unit.id")),
    Column("page", Integer, nullable=False), Column("seat", Integer, ForeignKey("seat.id")),
    Column("rater", Integer, ForeignKey("rater.id")), Column("position", Integer, nullable=False),
    Column("repeat", Boolean, nullable=False), Column("sides", Json, nullable=False),
    Column("state", String(12), nullable=False), Column("lease_until", Double), Column("opened", Double),
    Column("revealed", Double), Column("submitted", Double), Column("replaces", Integer),
    Index("slot_seat", "seat", "state", "position"), Index("slot_rater", "rater", "page", "state"),
    Index("slot_unit", "unit"), Index("slot_replaces", "replaces"),
)
answer = Table(  # a row a version: only ever added to
    "answer", metadata,
    Column("id", Integer, primary_key=True), Column("slot", Integer, ForeignKey("slot.id"), nullable=False),
    Column("field", String(200), nullable=False), Column("value", Json, nullable=False),
    Column("na", Boolean, nullable=False), Column("note", Json, nullable=False),
    Column("version", Integer, nullable=False), Column("seq", BigInteger, nullable=False),
    Column("client_ms", Double, nullable=False), Column("saved", Double, nullable=False),
    UniqueConstraint("slot", "field", "version", name="answer_version"),
)
happened = Table(
    "event", metadata,
    Column("id", Integer, primary_key=True), Column("slot", Integer), Column("rater", Integer),
    Column("kind", String(80), nullable=False), Column("data", Json, nullable=False),
    Column("client_ms", Double, nullable=False), Column("at", Double, nullable=False),
    Index("event_slot", "slot", "kind"),
)
message = Table(
    "message", metadata,
    Column("id", Integer, primary_key=True), Column("slot", Integer, ForeignKey("slot.id"), nullable=False),
    Column("role", String(80), nullable=False), Column("parts", Json, nullable=False),
    Column("latency_ms", Double, nullable=False), Column("usage", Json, nullable=False),
    Column("at", Double, nullable=False), Index("message_slot", "slot"),
)
blob = Table(
    "blob", metadata,
    Column("digest", String(64), primary_key=True), Column("mime", String(80), nullable=False),
    Column("data", LargeBinary, nullable=False), Column("rater", Integer),
)
# fmt: on


class Database:
    """One database and its transactions; for many threads, and beside other processes.

    SQLite keeps a write-ahead log, so a reader never waits. Its writers begin by BEGIN IMMEDIATE, one at a
    time within this process, so that they queue at a lock and do not poll the file. A commit outlives
    every death of the process; `?synchronous=FULL` in the URL makes it outlive a power cut too, at the
    price of a sync a commit. PostgreSQL syncs each commit as it is set up to.

    Args:
        url: `sqlite:///FILE` or `postgresql+psycopg://…`.

    Raises:
        ValueError: another kind of database, or SQLite without a file.
    """

    def __init__(self, url: str) -> None:
        place = make_url(url)
        self.lite = place.get_backend_name() == "sqlite"
        if not self.lite and place.get_backend_name() != "postgresql":
            raise ValueError(f"a study is kept in sqlite:///FILE or postgresql+psycopg://…, not in {url!r}")
        if self.lite and place.database in (None, "", ":memory:"):
            raise ValueError("a study needs a file: sqlite:///FILE")
        sync = str(place.query.get("synchronous", "NORMAL")).upper()
        if self.lite and sync not in ("NORMAL", "FULL"):
            raise ValueError(f"synchronous is NORMAL or FULL, not {sync!r}")
        wait = {"timeout": WAIT} if self.lite else {"connect_timeout": WAIT}
        self._engine = create_engine(
            place.set(query={}) if self.lite else place,
            pool_size=8,
            max_overflow=24,
            pool_timeout=WAIT,
            pool_pre_ping=not self.lite,
            connect_args=wait,
        )
        self._turn = threading.Lock()
        self._writer: Connection | None = None
        if self.lite:
            _wal(self._engine, sync)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write: committed on a clean exit, else rolled back whole.

        Raises:
            UnavailableError: locked for too long, or gone.
        """
        try:
            if not self.lite:
                with self._engine.begin() as connection:
                    yield connection
                return
            if not self._turn.acquire(timeout=WAIT):
                raise UnavailableError(f"no turn to write within {WAIT} s")
            try:
                if self._writer is None:
                    self._writer = self._engine.connect().execution_options(begin="BEGIN IMMEDIATE")
                with self._writer.begin():
                    yield self._writer
            finally:
                self._turn.release()
        except (DBAPIError, PoolTimeout) as error:
            raise UnavailableError(str(error).partition("\n")[0]) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A snapshot to read from; results stream. Raises UnavailableError as `write` does."""
        try:
            with self._engine.connect().execution_options(yield_per=1000) as connection, connection.begin():
                yield connection
        except (DBAPIError, PoolTimeout) as error:
            raise UnavailableError(str(error).partition("\n")[0]) from error

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """The rows of a table in the order written, streamed; token hashes and uploads stay out.

        Raises:
            KeyError: no such table.
        """
        kept = metadata.tables[table]
        columns = [column for column in kept.c if column.name != "token_hash" and column is not blob.c.data]
        with self.read() as connection:
            for row in connection.execute(select(*columns).order_by(*kept.primary_key.columns)).mappings():
                yield dict(row)

    def make(self, connection: Connection) -> None:
        """Make the tables where they are not there; of several processes, one does it."""
        if not self.lite:
            connection.execute(text("SELECT pg_advisory_xact_lock(7065)"))
        metadata.create_all(connection)

    def close(self) -> None:
        """Give all connections back."""
        with self._turn:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        self._engine.dispose()


def _wal(engine: Any, sync: str) -> None:
    """SQLite as SQLAlchemy's page on serializable transactions has it: we say BEGIN, not the driver."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", f"synchronous={sync}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


def rater_of(row: Any) -> Rater:
    """A row as a rater."""
    return Rater(row.id, row.pseudonym, row.stratum, row.state, row.language, row.page)


def slot_of(row: Any) -> Slot:
    """A row as a place."""
    return Slot(
        row.id,
        row.unit or "",
        row.page,
        row.position,
        row.state,
        row.lease_until or 0.0,
        tuple(row.sides),
        row.revealed,
    )
