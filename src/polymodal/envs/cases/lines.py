"""Cases from their file, and a clinic's tables learned from cases; for research only."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from polymodal.envs.cases.rows import RowError, rows
from polymodal.envs.cases.saved import SAID, YES_NO, number_in
from polymodal.envs.clinic.table import (
    UNSURE,
    Artefact,
    Case,
    Clinic,
    Disease,
    Finding,
    Shown,
    normalise,
    unknown,
)
from polymodal.media import Image, Invalid

ALPHA = 0.5


def cases(path: Path, clinic: Clinic | None = None) -> Iterator[Case | Invalid]:
    """Cases of a `cases.jsonl`, one at a time: `id, split, diagnosis, initial, findings, artefacts, ...`.

    Findings are true, false, null (not sure) or a value. An artefact is a path beside the file, a list of
    paths (a take each), or `{"path", "class", "poor"}` instead of a path. `initial` is the complaint in words
    or a finding's name. `told` and `results` are a written case's sentences and test results by name.

    Args:
        path: the file, or the folder that holds it.
        clinic: what the names are checked by; None takes them as they are, to learn tables from.

    Raises:
        MediaError: no such file.
    """
    file = Path(path) / "cases.jsonl" if Path(path).is_dir() else Path(path)
    seen: set[str] = set()
    for number, row in rows(file):
        name = ""
        try:
            if isinstance(row, RowError):
                raise row
            name = str(row.get("id", "") or f"{file.stem}-{number}")
            if name in seen:
                raise RowError("id", f"the id {name!r} is there already")
            seen.add(name)
            yield _case(name, row, file.parent, clinic)
        except RowError as error:
            yield Invalid(name, f"{file.name}:{number}", error.reason, error.detail)


def _case(name: str, row: Mapping[str, Any], root: Path, clinic: Clinic | None) -> Case:
    diagnosis, initial = (str(row.get(key) or "").strip() for key in ("diagnosis", "initial"))
    if not diagnosis or not initial:
        raise RowError(
            "complaint" if diagnosis else "diagnosis", f"no {'initial' if diagnosis else 'diagnosis'}"
        )
    try:
        if clinic is not None:
            diagnosis = clinic.diseases[clinic.index(diagnosis)].name
        findings = _answered(_object(row, "findings"), clinic)
    except LookupError as error:
        raise RowError("unknown", error.args[0]) from error
    known = {name.casefold(): name for name in findings}
    if clinic is not None:
        known |= {one.name.casefold(): one.name for one in clinic.findings}
    complaint = known.get(str(row.get("complaint") or initial).casefold(), "")
    if complaint and complaint not in findings:  # of more than two values it does not say which
        values = clinic.findings[clinic.column(complaint)].values if clinic else ("yes", "no")
        findings |= {complaint: values[0]} if len(values) < 3 else {}
    pairs = row.get("differential") or []
    if not isinstance(pairs, list) or not all(isinstance(one, list) and len(one) == 2 for one in pairs):
        raise RowError("differential", f"{str(pairs)[:80]}; a list of [name, p] is wanted")
    try:
        differential = {str(one): number_in(p, f"differential {one!r}") for one, p in pairs}
    except ValueError as error:
        raise RowError("differential", str(error)) from error
    return Case(
        name,
        diagnosis,
        initial,
        complaint,
        findings,
        {
            kind: _takes(kind, given, root, clinic)
            for kind, given in _object(row, "artefacts").items()
            if given
        },
        {key: _sentences(value) for key, value in _object(row, "told").items()},
        {key: str(value) for key, value in _object(row, "results").items()},
        str(row.get("group") or ""),
        str(row.get("split") or ""),
        differential,
        {key: str(value) for key, value in _object(row, "tags").items()},
    )


def _object(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = row.get(key) or {}
    if not isinstance(found, dict):
        raise RowError(key, f"{key} is a {type(found).__name__}; an object by name is wanted")
    return found


def _sentences(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _answered(given: Mapping[str, Any], clinic: Clinic | None) -> dict[str, str]:
    """Answers by finding, checked by the clinic. Raises LookupError for an unknown finding."""
    found = {}
    for name, value in given.items():
        said = SAID[value] if value is None or isinstance(value, bool) else str(value)
        if clinic is not None:
            finding = clinic.findings[clinic.column(name)]
            if said not in (*finding.values, UNSURE):
                raise RowError("value", f"finding {finding.name!r}: value {unknown(said, finding.values)}")
            name = finding.name
        found[name] = said
    return found


def _takes(kind: str, given: Any, root: Path, clinic: Clinic | None) -> tuple[Shown, ...]:
    """The takes of an artefact; a path that is no file is found out when the picture is decoded."""
    classes: tuple[str, ...] | None = None
    if clinic is not None:
        tables = {one.kind: one.classes for one in clinic.artefacts}
        if kind not in tables:
            raise RowError("artefact", f"artefact {unknown(kind, tables)}")
        classes = tables[kind]
    takes = []
    for one in given if isinstance(given, list) else [given]:
        about = one if isinstance(one, dict) else {"path": one}
        file, truth, poor = about.get("path"), str(about.get("class") or ""), about.get("poor")
        if (
            not isinstance(file, str)
            or "\0" in file
            or not (root / file).resolve().is_relative_to(root.resolve())
        ):
            raise RowError("artefact", f"artefact {kind!r}: {file!r}; a path inside {root} is wanted")
        if truth and classes is not None and truth not in classes:
            raise RowError("artefact", f"artefact {kind!r}: class {unknown(truth, classes)}")
        takes.append(Shown(Image(root / file), truth, poor if isinstance(poor, bool) else None))
    return tuple(takes)


def stated(case: Case) -> Mapping[str, str]:
    """The findings that a case mentions itself: of a ChainMap the first map, for the rest is the default."""
    return case.findings.maps[0] if isinstance(case.findings, ChainMap) else case.findings


class _Counts:
    """What is counted of cases; grows with the clinic, not with the cases."""

    def __init__(self) -> None:
        self.cases: Counter[str] = Counter()
        self.answers: Counter[tuple[str, str, str]] = Counter()
        self.classes: Counter[tuple[str, str, str]] = Counter()
        self.names: dict[str, str] = {}
        self.splits: Counter[str] = Counter()

    def add(self, case: Case) -> None:
        """Take one more."""
        disease = self.names.setdefault(normalise(case.diagnosis), case.diagnosis)
        self.cases[disease] += 1
        for name, value in stated(case).items():
            self.answers[disease, name, value] += 1
        for kind, takes in case.artefacts.items():
            if takes and takes[0].truth:
                self.classes[disease, kind, takes[0].truth] += 1


def learned(
    cases: Iterable[Case | Invalid],
    *,
    split: str = "train",
    diseases: Sequence[Disease] = (),
    findings: Sequence[Finding] = (),
    default: Mapping[str, str] | None = None,
    alpha: float = ALPHA,
) -> Clinic:
    """Tables from cases: L = (count + alpha) / (n_d + alpha |s|), where "not sure" is one of the answers s.

    What a case does not mention counts as "not sure", which is an answer that informs; where `default` names
    an answer for it (as data sets do that list only what is present), that one counts.

    Args:
        cases: in one pass, memory flat; faults are passed over, for the caller counts them.
        split: of the cases that count; the others are passed over.
        diseases: their rows, severities and aliases; the priors are those of the cases. All that occur, when
            empty.
        findings: their columns, questions and values. All that occur, when empty.
        default: by finding, the answer of a case that does not mention it.
        alpha: of the smoothing.

    Raises:
        ValueError: no case of the split, or a case with a disease, finding or value that is not listed.
    """
    counts = _Counts()
    for case in cases:
        if isinstance(case, Case):
            counts.splits[case.split] += 1
            if case.split == split:
                counts.add(case)
    total = counts.cases.total()
    if not total:
        seen = ", ".join(f"{name!r} {n}" for name, n in counts.splits.items()) or "no case at all"
        raise ValueError(f"no case of the split {split!r} to learn tables from; there is: {seen}")
    listed = tuple(diseases) or tuple(Disease(name, 0.0) for name in sorted(counts.cases))
    row = {normalise(name): d for d, one in enumerate(listed) for name in (one.name, *one.aliases)}
    n = np.zeros(len(listed))
    for name, times in counts.cases.items():
        if normalise(name) not in row:
            raise ValueError(f"disease {name!r} of {times} cases is not listed")
        n[row[normalise(name)]] += times
    told = tuple(findings) or _findings(counts)
    rows = {name: row[normalise(name)] for name in counts.cases}
    artefacts = _artefacts(counts)
    return Clinic(
        tuple(Disease(one.name, n[d] / total, one.severity, one.aliases) for d, one in enumerate(listed)),
        told,
        artefacts,
        _answers(counts, rows, n, told, default or {}, alpha),
        {one.kind: _classes(counts, rows, len(n), one, alpha) for one in artefacts},
    )


def _findings(counts: _Counts) -> tuple[Finding, ...]:
    values: dict[str, set[str]] = {}
    for _, name, value in counts.answers:
        values.setdefault(name, set()).add(value)
    found = []
    for name in sorted(values):
        known = values[name] - {UNSURE}
        plain = YES_NO if known <= {*YES_NO} else tuple(sorted(known))
        found.append(Finding(name, f"Do you have {name}?" if plain == YES_NO else f"What of {name}?", plain))
    return tuple(found)


def _answers(
    counts: _Counts,
    rows: Mapping[str, int],
    n: Float[np.ndarray, " d"],
    findings: tuple[Finding, ...],
    default: Mapping[str, str],
    alpha: float,
) -> Float[np.ndarray, "s d j"]:
    most = max((len(one.values) for one in findings), default=0) + 1
    column = {one.name: j for j, one in enumerate(findings)}
    place = [{**{value: s for s, value in enumerate(one.values)}, UNSURE: most - 1} for one in findings]
    table = np.zeros((most, len(n), len(findings)))
    for (disease, name, value), times in counts.answers.items():
        if name not in column or value not in place[column[name]]:
            raise ValueError(f"disease {disease!r}, finding {name!r}: the answer {value!r} is not listed")
        table[place[column[name]][value], rows[disease], column[name]] += times
    silent = n[:, None] - table.sum(0)
    for j, one in enumerate(findings):
        value = default.get(one.name, UNSURE)
        if value not in place[j]:
            raise ValueError(f"finding {one.name!r}: the default {value!r} is none of {one.values}")
        table[place[j][value], :, j] += silent[:, j]
        used = [*range(len(one.values)), most - 1]
        table[used, :, j] = (table[used, :, j] + alpha) / (n + alpha * len(used))
    return table


def _artefacts(counts: _Counts) -> tuple[Artefact, ...]:
    classes: dict[str, set[str]] = {}
    for _, kind, name in counts.classes:
        classes.setdefault(kind, set()).add(name)
    return tuple(Artefact(kind, tuple(sorted(classes[kind]))) for kind in sorted(classes))


def _classes(
    counts: _Counts, rows: Mapping[str, int], n: int, one: Artefact, alpha: float
) -> Float[np.ndarray, "d c"]:
    """P(class | disease) among the cases whose artefact has a known class."""
    table = np.full((n, len(one.classes)), alpha)
    for (disease, kind, name), times in counts.classes.items():
        if kind == one.kind:
            table[rows[disease], one.classes.index(name)] += times
    out: Float[np.ndarray, "d c"] = table / table.sum(1, keepdims=True)
    return out
