"""Looking through a data set before anything trains: faults, what cannot be read, what is there twice."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polymodal.media import likeness
from polymodal.media.folder import read
from polymodal.media.image import Image
from polymodal.media.likeness import SoundPrint
from polymodal.media.part import LIMITS, Limits, MediaError, Pose, Text
from polymodal.media.sample import Invalid, Part, Sample
from polymodal.media.series import Series
from polymodal.media.sound import Audio
from polymodal.media.video import Video

SHOWN = 20  # pieces of evidence of one finding
CLASSES = 1000  # different targets that are counted one by one
BITS = 10  # of a picture's hash, where its look must agree too


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a check found.

    Args:
        kind: what, in a few words that stay the same: `broken media`, `duplicate`, `crossing group`.
        severity: an error makes results worthless, a warning may have a good reason, a note informs.
        where: the part, column, tag or file it is about.
        n: how often it was found.
        evidence: the first cases, for people.
    """

    kind: str
    severity: Literal["error", "warning", "note"]
    where: str
    n: int
    evidence: tuple[str, ...]


@dataclass(slots=True)
class PartSummary:
    """One part over all samples: how many have it, their kinds, and the range of what they measure.

    Args:
        n: samples that have it.
        readable: those whose part decodes.
        kinds: how many of each kind.
        low: least and ...
        high: ... greatest of each measure: characters; width and height in pixels; seconds; rows and columns.
        total: the sum of each measure.
    """

    n: int = 0
    readable: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)
    total: dict[str, float] = field(default_factory=dict)

    def add(self, measures: dict[str, float]) -> None:
        """Take one more into the ranges and sums."""
        self.readable += 1
        for name, value in measures.items():
            self.low[name] = min(self.low.get(name, value), value)
            self.high[name] = max(self.high.get(name, value), value)
            self.total[name] = self.total.get(name, 0) + value


@dataclass(slots=True)
class Summary:
    """What a data set holds.

    Args:
        n: samples.
        invalid: rows that are none.
        parts: by name.
        targets: how many `class`, `score` and `none`.
        classes: how many samples of each class, of the first 1,000 classes.
        scores: least and greatest score, None without any.
        groups: how many samples in each group; samples without one are not counted.
    """

    n: int = 0
    invalid: int = 0
    parts: dict[str, PartSummary] = field(default_factory=dict)
    targets: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    scores: tuple[float, float] | None = None
    groups: Counter[str] = field(default_factory=Counter)


@dataclass
class _Prints:
    """What is kept of one part over all samples: the ids that have it, and something to know it again by."""

    ids: list[str] = field(default_factory=list)
    prints: list[Any] = field(default_factory=list)

    def keep(self, name: str, print_: Any) -> None:
        self.ids.append(name)
        self.prints.append(print_)


class _Found:
    """Findings being counted; of each, the first pieces of evidence."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, Literal["error", "warning", "note"], str]] = Counter()
        self.evidence: dict[tuple[str, str, str], list[str]] = {}

    def add(self, kind: str, severity: Literal["error", "warning", "note"], where: str, said: str) -> None:
        self.counts[kind, severity, where] += 1
        kept = self.evidence.setdefault((kind, severity, where), [])
        if len(kept) < SHOWN:
            kept.append(said)

    def findings(self) -> list[Finding]:
        order = {"error": 0, "warning": 1, "note": 2}
        keys = sorted(self.counts, key=lambda key: order[key[1]])
        return [Finding(*key, self.counts[key], tuple(self.evidence[key])) for key in keys]


def check(
    data: Path | Iterable[Sample | Invalid], *, limits: Limits = LIMITS
) -> tuple[list[Finding], Summary]:
    """Read all rows, decode all media under the limits, and look for what is there twice.

    Kinds of findings: `invalid row`, `missing media`, `broken media` (errors); `duplicate` (all parts of two
    samples are the same), `conflicting targets` (and their targets differ), `near-duplicate` (text of equal
    shingles, pictures and sounds that were re-encoded or rescaled), `mixed kinds` and `mixed targets`
    (warnings); `shared part` (one part of two samples is the same), `absent part` (notes).

    Memory grows by digests and prints alone, some 3 kB a medium.

    Args:
        data: a folder or file as `read` takes it, or samples.
        limits: what decoding one part may cost.

    Returns:
        The findings, errors first, and what the data set holds.

    Raises:
        MediaError: where the path is no data set.
    """
    rows = read(data, missing="absent", limits=limits) if isinstance(data, Path) else data
    found, summary = _Found(), Summary()
    wholes: dict[str, list[tuple[str, str]]] = {}
    single: dict[tuple[str, str], list[str]] = {}
    prints: dict[tuple[str, str], _Prints] = {}
    for row in rows:
        if isinstance(row, Invalid):
            summary.invalid += 1
            found.add("invalid row", "error", row.reason, f"{row.where}: {row.id} {row.detail}".strip())
            continue
        _count(row, summary)
        digests = [_look(row, name, part, found, summary, prints) for name, part in row.parts.items()]
        if digests and all(digests):
            whole = " ".join(sorted(f"{name} {digest}" for name, digest in zip(row.parts, digests, strict=True)))
            wholes.setdefault(whole, []).append((row.id, "" if row.target is None else str(row.target)))
        for name, digest in zip(row.parts, digests, strict=True):
            if digest:
                single.setdefault((name, digest), []).append(row.id)
    _repeated(wholes, single, found)
    for (name, kind), kept in prints.items():
        _alike(name, kind, kept, single, found)
    _whole_set(summary, found)
    return found.findings(), summary
