"""What is kept of judged talks: labels as bytes, replies by digest, exhibits, costs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polymodal.chat import said
from polymodal.judge.case import Case, Judge, Verdict
from polymodal.judge.grid import Answer, case_of, verdicts
from polymodal.judge.labels import Labels
from polymodal.media import Image, Invalid

REPLY = ("case", "message", "digest", "length", "start", "end", "text")


def steady(verdict: Verdict) -> Verdict:
    """The verdict with a cost that two runs share: kept replies count as asked ones, seconds not at all."""
    usage = verdict.usage
    usage = replace(usage, calls=usage.calls + usage.cached, cached=0, seconds=0.0, retries=0)
    return replace(verdict, usage=usage)


def digest(text: str) -> str:
    """16 hex digits that stand for a text which is not told."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def packed(labels: Labels) -> NDArray[np.uint8]:
    """Labels as the bytes of an Arrow stream, which any job may return."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, labels.table.schema) as writer:
        writer.write_table(labels.table)
    return np.frombuffer(stream.getvalue(), np.uint8)


def unpacked(parts: Iterable[NDArray[np.uint8]]) -> Labels:
    """The labels of several jobs as one table."""
    return Labels(pa.concat_tables([pa.ipc.open_stream(part.tobytes()).read_all() for part in parts]))


def columns(labels: Labels) -> dict[str, list[Any]]:
    """The labels' columns as lists; by way of arrays, which is much faster than Arrow's own."""
    found = {name: labels.column(name).tolist() for name in labels.table.column_names if name != "turn"}
    told = {**found, "turn": labels.table["turn"].to_pylist()}  # empty where there is no evidence
    return {name: told[name] for name in labels.table.column_names}


def replies(case: Case, verdict: Verdict, *, full: bool) -> Iterator[list[Any]]:
    """A row of `REPLY` for each reply: its digest, length, first evidence (-1: none) and, if `full`, text."""
    spans = {span.turn: [span.start, span.end] for span in reversed(verdict.evidence)}
    for k, message in enumerate(case.messages):
        if message.role == "assistant":
            text = said(message)
            yield [case.id, k, digest(text), len(text), *spans.get(k, [-1, -1]), text if full else ""]


def exhibit(
    case: Case, told: Sequence[Verdict], scores: Sequence[str], *, shown: Sequence[str] = ()
) -> dict[str, Any]:
    """A talk for the report's `conversations`.

    Args:
        case: the talk.
        told: what judges say of it; their rationales are told by digest.
        scores: which scores to tell.
        shown: roles whose words are shown; others' stand as digests, and pictures always do.
    """
    turns: list[dict[str, Any]] = []
    for message in case.messages:
        text = said(message)
        turns.append(
            {"role": message.role} | ({"text": text} if message.role in shown else {"withheld": digest(text)})
        )
        seen = [part.digest()[:16] for part in message.parts if isinstance(part, Image)]
        turns += [{"role": message.role, "withheld": f"picture {one}"} for one in seen]
    rows = [
        {"judge": one.judge, "score": name, "value": one.scores.get(name), "reason": one.reason}
        for one in told
        for name in scores
    ]
    why = {f"rationale {k}": digest(one.rationale) for k, one in enumerate(told, 1) if one.rationale}
    title = ", ".join(filter(None, (case.subject, case.item, case.variant)))
    return {"id": case.id, "title": title, "tags": {**case.tags, **why}, "turns": turns, "verdicts": rows}


def judged(
    answers: Iterable[Answer],
    patterns: Mapping[str, str],
    judges: Sequence[Judge],
    scores: Sequence[str],
    *,
    seed: int,
    threads: int,
    full: bool,
    shown: Sequence[str],
) -> dict[str, Any]:
    """Judge talks and keep what a run needs of them, as values that any job may return.

    Args:
        answers: the talks.
        patterns: reference by item.
        judges: the first one's evidence and verdicts are kept with the replies.
        scores: which to label; the first two are shown.
        seed: of the run.
        threads: calls at once.
        full: keep the replies' text.
        shown: roles whose words the exhibits show.
    """
    cases = (case_of(answer, patterns[answer.item]) for answer in answers)
    told = [(case, steady(one)) for case, one in verdicts(judges, cases, seed=seed, threads=threads)]
    first, kinds = told[:: len(judges)], dict[Any, int]()  # the first talk of each kind is shown
    for k, (_, one) in enumerate(first):
        kinds.setdefault(tuple(one.scores.get(name) for name in scores[:2]), k * len(judges))
    picked = [(told[k][0], [one for _, one in told[k : k + len(judges)]]) for k in kinds.values()]
    return {
        "labels": packed(Labels.of(told, scores=scores, seed=seed)),
        "replies": [row for case, one in first for row in replies(case, one, full=full)],
        "shown": [exhibit(case, by, scores[:2], shown=shown) for case, by in picked],
        "errors": [[case.id, case.error] for case, _ in first if case.error],
    }


def summed(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Ledger rows of several jobs, added up by name."""
    total: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = total.setdefault(row["name"], {**row, **{key: 0 for key in row if key != "name"}})
        known |= {key: known[key] + value for key, value in row.items() if key != "name"}
    return [total[name] for name in sorted(total)]


def troubles(lost: Iterable[Invalid], jobs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The report's `invalid`: samples that could not be used and talks that broke off, by reason."""
    found: dict[str, list[str]] = {}
    for one in lost:
        found.setdefault(one.reason, []).append(f"{one.where}: {one.detail}")
    for case, error in (pair for job in jobs for pair in job.get("errors", ())):
        found.setdefault(f"subject: {error}", []).append(case)
    return [{"reason": key, "n": len(rows), "first": rows[0]} for key, rows in sorted(found.items())]
