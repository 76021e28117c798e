"""What stands on two sides of a split: groups, speakers, copies, spans of one recording."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from polymodal.media.check import Finding
from polymodal.media.part import MediaError, Text
from polymodal.media.series import Series
from polymodal.media.sound import Audio
from polymodal.media.video import Video

if TYPE_CHECKING:
    from polymodal.media.sample import Part, Sample

SHOWN = 20  # pairs listed as evidence
COSINE, JACCARD = 0.9995, 0.9
PERSON_TAGS = ("speaker", "subject", "patient", "participant")
_CHANCE = 0.05  # pairs that may pass the cosine threshold by chance in the whole data set
_DRAWS = 200_000  # random pairs that the chance is read from
_FINEST = 1 - 1e-7  # cosines above this are not told apart in single precision

Prints = Sequence[Mapping[str, str]]  # digest of each part of each sample
Severity = Literal["error", "warning", "note"]
Sides = Sequence[str]  # the side of each sample; "" stands on none


def finding(kind: str, severity: Severity, where: str, lines: Sequence[str]) -> Finding:
    """A finding over all lines that shows the first twenty."""
    return Finding(kind, severity, where, len(lines), tuple(lines[:SHOWN]))


def prints(samples: Sequence[Sample]) -> list[dict[str, str]]:
    """Content digest of every part.

    A part that cannot be read is left out (`data check` names it). A part with nothing in it (blank text, a
    vector of zeros or NaN that stands for a missing sensor) has the digest "", and is a copy of nothing.
    """
    found: list[dict[str, str]] = []
    for sample in samples:
        here: dict[str, str] = {}
        for name, part in sample.parts.items():
            try:
                here[name] = "" if _blank(part) else part.digest()
            except MediaError:
                continue
        found.append(here)
    return found


def groups(samples: Sequence[Sample], sides: Sides) -> list[Finding]:
    """`crossing group` (error), and `crossing speaker` (warning) where a person's tag crosses instead.

    A data set may well be grouped by dialogue and still have every speaker on both sides; that is a choice
    which the reader of the result has to know.
    """
    whole = [sample.group for sample in samples]
    found = _crossing("crossing group", "error", "group", whole, sides)
    for tag in PERSON_TAGS:
        people = [None if tag not in sample.tags else str(sample.tags[tag]) for sample in samples]
        if people != whole:
            found += _crossing("crossing speaker", "warning", f"tag {tag}", people, sides)
    return found


def duplicates(samples: Sequence[Sample], sides: Sides, digests: Prints) -> list[Finding]:
    """Exact copies, by content.

    Returns:
        `duplicate` (error): all parts of two samples on two sides are the same. `shared part` (error): one
        part is, the others differ. `conflicting targets` (warning): the same sample with two targets,
        wherever it stands.
    """
    wholes: dict[tuple[tuple[str, str], ...], list[int]] = defaultdict(list)
    single: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, here in enumerate(digests):
        if any(here.values()) and len(here) == len(samples[row].parts):
            wholes[tuple(sorted(here.items()))].append(row)
        for name, digest in here.items():
            if digest:
                single[name, digest].append(row)
    copies = [rows for rows in wholes.values() if len(rows) > 1]
    found = _sets("duplicate", "sample", copies, samples, sides)
    shared: dict[str, list[list[int]]] = defaultdict(list)
    for (name, _), rows in single.items():
        if len({tuple(sorted(digests[row].items())) for row in rows}) > 1:
            shared[name].append(rows)
    for name, sets in sorted(shared.items()):
        found += _sets("shared part", name, sets, samples, sides)
    torn = [rows for rows in copies if len({_shown(samples[row].target) for row in rows} - {""}) > 1]
    if torn:
        lines = [" = ".join(f"{samples[row].id}: {samples[row].target}" for row in rows) for rows in torn]
        found.append(finding("conflicting targets", "warning", "sample", lines))
    return found


def overlaps(samples: Sequence[Sample], sides: Sides, digests: Prints) -> list[Finding]:
    """`overlap` (error): time spans of one recording that intersect on two sides.

    A recording is the tag `recording`, else the file of a cut sound or video. Its span is the tags `start`
    and `end` (seconds), else the start and end of the part. Without times nothing is known and nothing is
    said; spans that only touch do not intersect; exact copies are `duplicates`' matter.
    """
    spans: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    for row, sample in enumerate(samples):
        for recording, start, end in set(_spans(sample)) if sides[row] else ():
            spans[recording].append((start, end, row))
    lines = []
    for recording, cuts in sorted(spans.items()):
        active: list[tuple[float, float, int]] = []
        for start, end, row in sorted(cuts):
            active = [cut for cut in active if cut[1] > start]
            for low, high, other in active:
                if sides[other] != sides[row] and digests[other] != digests[row]:
                    pair = _pair(samples, sides, other, row)
                    lines.append(f"{recording}: {pair}, {low:g}-{high:g} s and {start:g}-{end:g} s")
            active.append((start, end, row))
    return [finding("overlap", "error", "recording", lines)] if lines else []


def near_texts(samples: Sequence[Sample], sides: Sides, digests: Prints) -> list[Finding]:
    """`near-duplicate` (warning) per text part: Jaccard of 5-character shingles at least .9 on two sides."""
    from polymodal.media import likeness

    written: dict[str, dict[int, str]] = defaultdict(dict)
    for row, sample in enumerate(samples):
        for name, part in sample.parts.items():
            if sides[row] and name in digests[row] and isinstance(part, Text):
                written[name][row] = part.read()
    found = []
    for name, texts in sorted(written.items()):
        rows = list(texts)
        pairs = likeness.near_texts(list(texts.values()), JACCARD)
        found += _near(name, "Jaccard", ((rows[i], rows[j], x) for i, j, x in pairs), samples, sides, digests)
    return found


def near_vectors(
    name: str, x: NDArray[np.float64], samples: Sequence[Sample], sides: Sides, digests: Prints, *, seed: int
) -> list[Finding]:
    """`near-duplicate` (warning): vectors "n d", train-standardised, with cosine at least .9995 on two sides.

    In few dimensions, or in many samples, strangers reach .9995 by chance (on a circle one pair in a
    hundred does). The threshold therefore rises until chance alone would give at most .05 pairs in the whole
    data set; the chance is extrapolated from the angles of random pairs, whose distribution near 0 is a power
    of the angle, P(angle < t) ~ t^(d_eff - 1). Where no threshold is high enough (one or two effective
    dimensions, columns of few values) likeness of vectors says nothing, and so do we.
    """
    from polymodal.media import likeness

    rows = np.flatnonzero([bool(side) for side in sides] & (np.linalg.norm(x, axis=1) > 0))
    if len(rows) < 2:
        return []
    least = _threshold(x[rows], np.asarray(sides)[rows], seed=seed)
    if least is None:
        return []
    pairs = likeness.near_vectors(x[rows], least)
    moved = ((int(rows[i]), int(rows[j]), cosine) for i, j, cosine in pairs)
    return _near(name, "cosine", moved, samples, sides, digests)


def _threshold(x: NDArray[np.float64], sides: NDArray[np.str_], *, seed: int) -> float | None:
    rng = np.random.default_rng(seed)
    n = len(x)
    crossing = (n**2 - sum(int(count) ** 2 for count in np.unique(sides, return_counts=True)[1])) / 2
    if not crossing:
        return None
    i, j = rng.integers(n, size=(2, min(_DRAWS, 20 * n)))
    i, j = i[keep := sides[i] != sides[j]], j[keep]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    angles = np.arccos(np.clip(np.einsum("nd,nd->n", unit[i], unit[j]), -1, 1))
    near, far = np.quantile(angles, [0.02, 0.2]) if len(angles) else (0.0, 0.0)
    power = np.log(10) / np.log(far / near) if 0 < near < far else 0.0
    if power < 0.5:
        return None
    angle = near * (_CHANCE / (0.02 * crossing)) ** (1 / power)  # where chance gives _CHANCE pairs
    least = float(np.cos(min(angle, np.arccos(COSINE))))
    return least if least <= _FINEST else None


def _blank(part: Part) -> bool:
    if isinstance(part, Text):
        return isinstance(part.text, str) and not part.text.strip()
    if isinstance(part, Series) and isinstance(part.source, np.ndarray):
        return not np.nan_to_num(part.source, posinf=1.0, neginf=1.0).any()
    return False


def _near(
    name: str,
    measure: str,
    pairs: Iterable[tuple[int, int, float]],
    samples: Sequence[Sample],
    sides: Sides,
    digests: Prints,
) -> list[Finding]:
    lines = []
    for i, j, value in sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1])):
        same = digests[i].get(name)
        exact = digests[i] == digests[j] or (bool(same) and same == digests[j].get(name))
        if sides[i] != sides[j] and not exact:
            lines.append(f"{_pair(samples, sides, i, j)}, {measure} {value:.6g}")
    return [finding("near-duplicate", "warning", name, lines)] if lines else []


def _crossing(
    kind: str, severity: Severity, where: str, keys: Sequence[str | None], sides: Sides
) -> list[Finding]:
    seen: dict[str, dict[str, int]] = defaultdict(dict)
    for key, side in zip(keys, sides, strict=True):
        if key is not None and side:
            seen[key][side] = seen[key].get(side, 0) + 1
    lines = [
        f"{key}: " + ", ".join(f"{count} in {side}" for side, count in sorted(counts.items()))
        for key, counts in sorted(seen.items())
        if len(counts) > 1
    ]
    return [finding(kind, severity, where, lines)] if lines else []


def _sets(
    kind: str, where: str, sets: Iterable[Sequence[int]], samples: Sequence[Sample], sides: Sides
) -> list[Finding]:
    lines = []
    for rows in sets:
        first = {sides[row]: row for row in reversed(rows) if sides[row]}
        if len(first) > 1:
            lines.append(" = ".join(f"{samples[row].id} ({side})" for side, row in sorted(first.items())))
    return [finding(kind, "error", where, lines)] if lines else []


def _spans(sample: Sample) -> Iterator[tuple[str, float, float]]:
    tag, tags = sample.tags.get("recording"), sample.tags
    if tag is not None and "start" in tags and "end" in tags:
        yield str(tag), float(tags["start"]), float(tags["end"])
        return
    for part in sample.parts.values():
        if isinstance(part, Audio | Video):
            cut = part.start > 0 or part.end is not None
            end = float("inf") if part.end is None else part.end
            if tag is not None and cut:
                yield str(tag), part.start, end
            elif tag is None and isinstance(part.source, Path):
                yield str(part.source), part.start, end


def _pair(samples: Sequence[Sample], sides: Sides, i: int, j: int) -> str:
    return f"{samples[i].id} ({sides[i]}) and {samples[j].id} ({sides[j]})"


def _shown(target: str | float | None) -> str:
    return "" if target is None or target != target else str(target)
