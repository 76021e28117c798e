"""The cost ledger: who spent what and why, and budgets that stop a run before the next call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from polymodal.chat.model import ChatError, ChatModel, Reply, Schema, Usage
from polymodal.media import Message

COLUMNS = ("tokens_in", "tokens_out", "image_tokens", "bytes_out", "pixels_out")


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent; None is no limit. A value, so that rivals can be given the same one.

    Attributes:
        calls: replies, kept ones included: what a resumed run may use is what an undisturbed one may.
        tokens: of prompts and replies together.
        seconds: on the clock, from the ledger's first call.

    Raises:
        ValueError: a limit below 0.
    """

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("calls", "tokens", "seconds"):
            limit = getattr(self, name)
            if limit is not None and not limit >= 0:
                raise ValueError(f"budget {name}={limit!r}: it is at least 0, or None for no limit")


class Ledger:
    """Adds up what calls cost, by role and cause. Threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sums: dict[tuple[str, str], Usage] = {}
        self._running = 0
        self._start: float | None = None

    def add(self, role: str, cause: str, usage: Usage) -> None:
        """Book a cost.

        Args:
            role: who spent it: target, judge, attacker.
            cause: what for; "" where the role says it all.
            usage: the cost.
        """
        with self._lock:
            self._sums[role, cause] = self._sums.get((role, cause), Usage()) + usage

    def total(self) -> Usage:
        """All that was spent."""
        with self._lock:
            return sum(self._sums.values(), Usage())

    def rows(self) -> list[dict[str, str | int]]:
        """The report's `cost` section: a row for each role and cause, in order of their names.

        Only what two runs of one configuration share: `calls` counts asked and kept replies alike; seconds
        and retries depend on the day and are in `total`.
        """
        with self._lock:
            sums = sorted(self._sums.items())
        return [
            {
                "name": f"{role}: {cause}" if cause else role,
                "calls": usage.calls + usage.cached,
                "tokens": usage.tokens_in + usage.tokens_out,
                **{name: getattr(usage, name) for name in COLUMNS},
            }
            for (role, cause), usage in sums
        ]

    @contextmanager
    def running(self, role: str, budget: Budget | None) -> Iterator[None]:
        """Hold one call's place while it runs, so that calls in flight count against the budget.

        Raises:
            ChatError: over_budget, before anything is spent.
        """
        with self._lock:
            now = time.monotonic()
            self._start = now if self._start is None else self._start
            over = self._over(budget, now - self._start) if budget else ""
            if over:
                raise ChatError("over_budget", f"{role}: {over}; no further call is made")
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    def _over(self, budget: Budget, seconds: float) -> str:
        """Which limit is met, in words."""
        spent = sum(self._sums.values(), Usage())
        calls, tokens = spent.calls + spent.cached + self._running, spent.tokens_in + spent.tokens_out
        if budget.calls is not None and calls >= budget.calls:
            return f"the budget of {budget.calls:,} calls is used up"
        if budget.tokens is not None and tokens >= budget.tokens:
            return f"the budget of {budget.tokens:,} tokens is used up ({tokens:,} spent)"
        if budget.seconds is not None and seconds >= budget.seconds:
            return f"the budget of {budget.seconds:g} s is used up"
        return ""


@dataclass(frozen=True, slots=True)
class Metered:
    """A model whose calls are booked; see `metered`."""

    model: ChatModel
    ledger: Ledger
    role: str
    cause: str = ""
    budget: Budget | None = None

    @property
    def name(self) -> str:
        """The model's own: booking changes no reply."""
        return self.model.name

    def __call__(self, *messages: Message, seed: int, schema: Schema | None = None) -> Reply:
        """Ask the model, and book what it cost, whether it answers or fails."""
        with self.ledger.running(self.role, self.budget):
            try:
                reply = self.model(*messages, seed=seed, schema=schema)
            except ChatError as error:
                self.ledger.add(self.role, self.cause, error.usage)
                raise
            self.ledger.add(self.role, self.cause, reply.usage)
        return reply


def metered(
    model: ChatModel, ledger: Ledger, role: str, cause: str = "", budget: Budget | None = None
) -> ChatModel:
    """The same model, its cost booked under a role and cause.

    Args:
        model: what answers.
        ledger: where the cost goes.
        role: who spends: target, judge, attacker.
        cause: what for.
        budget: of the whole ledger. A call that would begin with the budget used up raises
            ChatError("over_budget") instead; calls already running end and are booked. Calls never go over;
            tokens may, by those of the calls in flight.
    """
    return Metered(model, ledger, role, cause, budget)
