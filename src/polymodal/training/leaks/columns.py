"""What a data set's columns, names and tags give away, and which columns say nothing at all."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polymodal.media.check import Finding
from polymodal.media.part import MediaError, Text
from polymodal.media.series import Series
from polymodal.training.leaks import crossings
from polymodal.training.leaks.association import Outcome, named, ordered, outcome, revealing
from polymodal.training.leaks.crossings import finding

if TYPE_CHECKING:
    from polymodal.media.sample import Sample

_RARE = 0.1  # a class this much smaller than the largest is noted

Vectors = Mapping[str, NDArray[np.float64]]


def label_columns(vectors: Vectors, known: Outcome, groups: NDArray[np.int_]) -> list[Finding]:
    """`label column` (error) per part: single columns, or the part's mere presence, that give the label."""
    found = []
    for name, x in vectors.items():
        there = np.asarray(np.isfinite(x).any(axis=1))
        lines = [f"column {j}: {why}" for j, why in revealing(x, known, groups).items()]
        if not there.all():
            lines += [
                f"presence: {why}"
                for why in revealing(there[:, None].astype(np.float64), known, groups).values()
            ]
        if lines:
            found.append(finding("label column", "error", name, lines))
    return found


def label_names(samples: Sequence[Sample], known: Outcome, groups: NDArray[np.int_]) -> list[Finding]:
    """`label in name`, `label in order`, `label in tag` (warnings): what ids, file names and tags tell.

    Names are split into words and numbers by place (`3_jackson_12` -> 3, jackson, 12), and ordered as people
    order them (2 before 10). Folders are not looked at: a folder a class is how many data sets say the label.
    A name whose words tell the label is not reported for its order as well, nor a file named after its id.
    """
    ids: list[str | None] = [sample.id for sample in samples]
    names = {"id": ids}
    for part in dict.fromkeys(part for sample in samples for part in sample.parts):
        files = [_file(sample, part) for sample in samples]
        if any(files) and any(file not in (None, own) for file, own in zip(files, ids, strict=True)):
            names[f"file name of {part}"] = files
    found = []
    for where, values in names.items():
        if lines := _words(values, known, groups):
            found.append(finding("label in name", "warning", where, lines))
        elif line := ordered(_natural(values), known, groups):
            found.append(finding("label in order", "warning", where, [line]))
    for tag in sorted({tag for sample in samples for tag in sample.tags}):
        held = [sample.tags.get(tag) for sample in samples]
        if any(isinstance(value, str) for value in held):
            lines = named([None if value is None else str(value) for value in held], known, groups)
        else:
            x = np.array([np.nan if value is None else float(value) for value in held])
            lines = list(revealing(x[:, None], known, groups).values())
            lines = lines or [line for line in [ordered(x, known, groups)] if line]
        if lines:
            found.append(finding("label in tag", "warning", tag, lines))
    return found


def columns(samples: Sequence[Sample], vectors: Vectors | None = None) -> list[Finding]:
    """All that can be said of a data set without a split to train by: what `data check` shows.

    Constant and non-finite columns, missing and one-member classes, class balance, single columns, names and
    tags that reveal the label, groups and speakers on two sides of the official split (tag `split`).

    Args:
        samples: in the order of the vectors' rows.
        vectors: "n d" a part, all-NaN rows where it is absent; from the series parts when None.
    """
    known, groups = outcome([sample.target for sample in samples]), group_codes(samples)
    vectors = pooled(samples) if vectors is None else vectors
    found = [each for name, x in vectors.items() for each in _dead(name, x)]
    found += _balance(known)
    found += label_columns(vectors, known, groups) + label_names(samples, known, groups)
    return found + crossings.groups(samples, [str(sample.tags.get("split", "")) for sample in samples])


def pooled(samples: Sequence[Sample]) -> dict[str, NDArray[np.float64]]:
    """Series parts as vectors "n d": the mean over time, NaN where absent or unreadable.

    A part whose width differs between samples is left out; it has no columns to speak of.
    """
    rows: dict[str, dict[int, NDArray[np.float64]]] = defaultdict(dict)
    for row, sample in enumerate(samples):
        for name, part in sample.parts.items():
            if isinstance(part, Series):
                try:
                    values = part.values()
                except MediaError:
                    continue
                there = np.isfinite(values)
                total = np.where(there, values, 0.0).sum(axis=0)
                count = there.sum(axis=0)
                rows[name][row] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    found = {}
    for name, held in rows.items():
        widths = {len(vector) for vector in held.values()}
        if len(widths) == 1:
            found[name] = np.full((len(samples), widths.pop()), np.nan)
            found[name][list(held)] = list(held.values())
    return found


def group_codes(samples: Sequence[Sample]) -> NDArray[np.int_]:
    """Group of each sample as a number; a sample without one is its own."""
    keys = [(0, row) if sample.group is None else (1, sample.group) for row, sample in enumerate(samples)]
    place = {key: code for code, key in enumerate(dict.fromkeys(keys))}
    return np.array([place[key] for key in keys], dtype=np.int_)


def _words(names: Sequence[str | None], known: Outcome, groups: NDArray[np.int_]) -> list[str]:
    parts = [[] if name is None else re.findall(r"[^\W\d_]+|\d+", name.lower()) for name in names]
    found = []
    for place in range(max(map(len, parts), default=0)):
        words = [part[place] if place < len(part) else None for part in parts]
        found += [f"word {place + 1} {line}" for line in named(words, known, groups)]
    return found


def _natural(names: Sequence[str | None]) -> NDArray[np.float64]:
    """Places of names in natural order, equal for equal names, NaN for none."""
    keys = {
        name: [(0, int(bit), "") if bit.isdecimal() else (1, 0, bit) for bit in re.split(r"(\d+)", name)]
        for name in names
        if name is not None
    }
    place = {name: i for i, name in enumerate(sorted(keys, key=keys.__getitem__))}
    return np.array([np.nan if name is None else place[name] for name in names])


def _file(sample: Sample, name: str) -> str | None:
    part = sample.parts.get(name)
    source = part.text if isinstance(part, Text) else getattr(part, "source", None)
    return source.stem if isinstance(source, Path) else None


def _dead(name: str, x: NDArray[np.float64]) -> list[Finding]:
    """`constant column`, `empty column`, `non-finite cells` (warnings) among the rows that have the part."""
    x = x[np.isfinite(x).any(axis=1)]
    good = np.isfinite(x)
    filled = good.sum(axis=0)
    low = np.where(good, x, np.inf).min(axis=0, initial=np.inf)
    high = np.where(good, x, -np.inf).max(axis=0, initial=-np.inf)
    lines = {
        "empty column": [f"column {j}: no finite cell" for j in np.flatnonzero(filled == 0)],
        "constant column": [
            f"column {j}: {low[j]:g} in {filled[j]} rows"
            for j in np.flatnonzero((filled > 1) & (low == high))
        ],
        "non-finite cells": [
            f"column {j}: {len(x) - filled[j]} of {len(x)}"
            for j in np.flatnonzero((filled > 0) & (filled < len(x)))
        ],
    }
    return [finding(kind, "warning", name, each) for kind, each in lines.items() if each]


def _balance(known: Outcome) -> list[Finding]:
    """`no target` (warning); `lone class` (warning): one member; `class balance` (note): under a tenth."""
    found = []
    if missing := int((known.codes < 0).sum()):
        line = f"{missing} of {len(known.codes)} samples have no target"
        found.append(Finding("no target", "warning", "target", missing, (line,)))
    if known.scores is not None:
        return found
    counts = np.bincount(known.codes[known.codes >= 0], minlength=len(known.names))
    lone = [f"{name}: 1 sample" for name, count in zip(known.names, counts, strict=True) if count == 1]
    rare = [
        f"{name}: {count} against {counts.max()}"
        for name, count in zip(known.names, counts, strict=True)
        if 1 < count < _RARE * counts.max()
    ]
    if lone:
        found.append(finding("lone class", "warning", "target", lone))
    if rare:
        found.append(finding("class balance", "note", "target", rare))
    return found
