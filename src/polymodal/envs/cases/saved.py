"""A clinic from its file, `clinic.json`, and back. For research, not for care."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from polymodal.envs.clinic.table import (
    EXACT,
    UNSURE,
    Artefact,
    Clinic,
    Disease,
    Finding,
    normalise,
    rows_of,
    unknown,
)
from polymodal.media import MediaError
from polymodal.media.part import bytes_of

DOUBT = 0.1  # P(not sure) where a file says nothing
YES_NO = ("yes", "no")
SAID: Mapping[Any, str] = {True: "yes", False: "no", None: UNSURE}


def clinic(path: Path, missing: float | None = None) -> Clinic:
    """The tables of a `clinic.json`.

    A frequency is P(first value | disease) among patients who know, one chance a value among those, or one
    chance a value and that of "not sure" last. The file's `unsure` (.1 by default) is P(not sure) of the
    first two forms. `red_flag` names the diseases that a finding guards.

    Args:
        path: the file, or the folder that holds it.
        missing: the frequency of a yes/no finding that a disease says nothing of; the file's own `missing`
            comes first; None refuses it.

    Raises:
        MediaError: no such file, too large, no JSON.
        ValueError: a name not known or given twice, a frequency missing or outside [0, 1], a sum other than
            1: by file, disease and finding.
    """
    file = Path(path) / "clinic.json" if Path(path).is_dir() else Path(path)
    try:
        given = json.loads(bytes_of(file), object_pairs_hook=_once)
        return _clinic(given, missing)
    except MediaError:
        raise
    except RecursionError:
        raise ValueError(f"{file}: lists and objects nest too deep") from None
    except (ValueError, LookupError) as error:
        raise ValueError(f"{file}: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys occur once: the second of two tables would win without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice!r} is given twice in one object")
    return found


def _clinic(given: Any, missing: float | None) -> Clinic:
    diseases = tuple(
        Disease(
            _text(row, "name", f"diseases[{at}]"),
            number_in(row.get("prior"), f"disease {row['name']!r}: prior"),
            int(number_in(row.get("severity", 0), f"disease {row['name']!r}: severity", np.inf)),
            tuple(map(str, _list(row.get("aliases", []), f"disease {row['name']!r}: aliases"))),
        )
        for at, row in enumerate(_objects(given, "diseases"))
    )
    rows_of(diseases)  # before names are looked up among them
    findings = tuple(_finding(row, at) for at, row in enumerate(_objects(given, "findings")))
    frequency = given.get("frequency", {})
    doubt = number_in(given.get("unsure", DOUBT), "unsure")
    missing = number_in(given["missing"], "missing") if "missing" in given else missing
    most = max((len(one.values) for one in findings), default=0) + 1
    answers = np.zeros((most, len(diseases), len(findings)))
    by_disease = _by_name(frequency, [one.name for one in diseases], "frequency: disease", normalise)
    for d, disease in enumerate(diseases):
        where = f"disease {disease.name!r}"
        row = _by_name(by_disease.get(disease.name, {}), [one.name for one in findings], f"{where}: finding")
        for j, finding in enumerate(findings):
            chances = _chances(row.get(finding.name), finding, doubt, missing, where)
            answers[: len(finding.values), d, j], answers[-1, d, j] = chances[:-1], chances[-1]
    artefacts, shows = [], {}
    for at, row in enumerate(_objects(given, "artefacts", needed=False)):
        kind = _text(row, "kind", f"artefacts[{at}]")
        classes = tuple(map(str, _list(row.get("classes"), f"artefact {kind!r}: classes")))
        artefacts.append(
            Artefact(kind, classes, number_in(row.get("cost", 1), f"artefact {kind!r}: cost", np.inf))
        )
        shows[kind] = _table(row.get("frequency", {}), diseases, kind, len(classes))
    return Clinic(diseases, findings, tuple(artefacts), answers, shows)


def _finding(row: Mapping[str, Any], at: int) -> Finding:
    name = _text(row, "name", f"findings[{at}]")
    flag = row.get("red_flag") or []
    if isinstance(flag, str):
        flag = [flag]
    if not isinstance(flag, list):
        raise ValueError(
            f"finding {name!r}: red_flag is {flag!r}; the names of the diseases that it guards are wanted"
        )
    values = _list(row.get("values", list(YES_NO)), f"finding {name!r}: values")
    return Finding(
        name,
        str(row.get("question") or f"Do you have {name}?"),
        tuple(SAID[one] if isinstance(one, bool) else str(one) for one in values),
        number_in(row.get("cost", 1), f"finding {name!r}: cost", np.inf),
        tuple(map(str, flag)),
    )


def _chances(
    given: Any, finding: Finding, doubt: float, missing: float | None, where: str
) -> Sequence[float]:
    """P(answer | disease), that of "not sure" last."""
    where, n = f"{where}, finding {finding.name!r}", len(finding.values)
    if given is None:
        if missing is None or n != 2:
            never = '"missing": 0 in the file, beside "unsure", takes all such as never'
            hint = never if n == 2 else f"{n} chances are wanted"
            raise ValueError(f"{where}: the frequency is missing; {hint}")
        given = missing
    if not isinstance(given, list):
        if n != 2:
            raise ValueError(f"{where}: {given!r}; a finding of {n} values has {n} chances, a list")
        given = [p := number_in(given, where), 1 - p]
    elif len(given) not in (n, n + 1):
        raise ValueError(f"{where}: {len(given)} chances; {n} values have {n}, or {n + 1} with {UNSURE!r}")
    chances = [number_in(p, where) for p in given]
    if abs(sum(chances) - 1) > EXACT:
        raise ValueError(f"{where}: the chances {given} sum to {sum(chances):g}, not to 1")
    return chances if len(chances) == n + 1 else [*(p * (1 - doubt) for p in chances), doubt]


def _table(given: Any, diseases: Sequence[Disease], kind: str, n: int) -> Float[np.ndarray, "d c"]:
    rows = _by_name(given, [one.name for one in diseases], f"artefact {kind!r}: disease", normalise)
    table = np.zeros((len(diseases), n))
    for d, disease in enumerate(diseases):
        where = f"disease {disease.name!r}, artefact {kind!r}"
        row = _list(rows.get(disease.name), f"{where}: frequency")
        if len(row) != n:
            raise ValueError(f"{where}: {len(row)} chances for {n} classes")
        table[d] = [number_in(p, where) for p in row]
    return table


def _by_name(given: Any, names: Sequence[str], what: str, key: Any = str.casefold) -> dict[str, Any]:
    """Values by the names as the clinic writes them."""
    if not isinstance(given, dict):
        raise ValueError(f"{what}: a {type(given).__name__}; an object by name is wanted")
    known = {key(name): name for name in names}
    found: dict[str, Any] = {}
    for name, value in given.items():
        if key(name) not in known:
            raise ValueError(f"{what} {unknown(name, names)}")
        if known[key(name)] in found:
            raise ValueError(f"{what} {name!r} is given twice")
        found[known[key(name)]] = value
    return found


def _objects(given: Any, key: str, *, needed: bool = True) -> list[dict[str, Any]]:
    rows = given.get(key, None if needed else []) if isinstance(given, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{key} are missing; a list of objects is wanted beside the others of the format")
    return rows


def _list(given: Any, what: str) -> list[Any]:
    if not isinstance(given, list):
        raise ValueError(f"{what}: {given!r}; a list is wanted")
    return given


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    if not isinstance(row.get(key), str) or not row[key].strip():
        raise ValueError(f"{where}: {key} is {row.get(key)!r}; text is wanted")
    return str(row[key]).strip()


def number_in(given: Any, what: str, most: float = 1) -> float:
    """A number from 0 to `most` out of a file. Raises ValueError that says `what` and what was given."""
    if (
        isinstance(given, bool)
        or not isinstance(given, int | float)
        or not 0 <= given <= most
        or given == np.inf
    ):
        span = "[0, 1]" if most == 1 else "[0, inf)"
        raise ValueError(f"{what}: {given!r}; a number in {span} is wanted")
    return float(given)


def to_json(clinic: Clinic) -> dict[str, Any]:
    """The object of a `clinic.json` that loads as the same clinic again, to the last bit."""
    frequency = {
        disease.name: {
            finding.name: [
                *clinic.answers[: len(finding.values), d, j].tolist(),
                float(clinic.answers[-1, d, j]),
            ]
            for j, finding in enumerate(clinic.findings)
        }
        for d, disease in enumerate(clinic.diseases)
    }
    return {
        "diseases": [
            {"name": one.name, "prior": one.prior, "severity": one.severity, "aliases": list(one.aliases)}
            for one in clinic.diseases
        ],
        "findings": [
            {
                "name": one.name,
                "question": one.question,
                "values": list(one.values),
                "cost": one.cost,
                "red_flag": list(one.guards),
            }
            for one in clinic.findings
        ],
        "frequency": frequency,
        "artefacts": [
            {
                "kind": one.kind,
                "classes": list(one.classes),
                "cost": one.cost,
                "frequency": {
                    disease.name: clinic.shows[one.kind][d].tolist()
                    for d, disease in enumerate(clinic.diseases)
                },
            }
            for one in clinic.artefacts
        ],
    }
