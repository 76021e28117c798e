"""Published case sets as cases: symptom-inquiry goals, and the DDXPlus release. For research only."""

from __future__ import annotations

import ast
import csv
import json
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymodal.envs.clinic.cases import RowError
from polymodal.envs.clinic.saved import SAID
from polymodal.envs.clinic.table import UNSURE, Case, Disease, Finding, normalise, unknown
from polymodal.media import Invalid, MediaError
from polymodal.media.part import bytes_of, head_of

LONGEST = 20_000  # characters of a list literal; the release's longest has 3,000
EVIDENCES, CONDITIONS = "release_evidences.json", "release_conditions.json"
COLUMNS = ("AGE", "SEX", "PATHOLOGY", "EVIDENCES", "INITIAL_EVIDENCE", "DIFFERENTIAL_DIAGNOSIS")
SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("release_train_patients", "release_train_patients.csv", "train.csv"),
    "val": ("release_validate_patients", "release_validate_patients.csv", "validate.csv"),
    "test": ("release_test_patients", "release_test_patients.csv", "test.csv"),
}
PICKLE = (
    "a pickle, which can run code when it is read. Convert it first, with the reader that takes plain "
    "containers only:\n"
    'python -c "import json, pathlib, sys; from polymodal.media import pickles; '
    'pathlib.Path(sys.argv[2]).write_text(json.dumps(pickles.load(pathlib.Path(sys.argv[1]))))" '
)
_SLOTS: Mapping[str, str] = {"true": "yes", "false": "no", "unk": UNSURE, "1": "yes", "0": "no", "2": UNSURE}


def goals(path: Path) -> Iterator[Case | Invalid]:
    """Cases of a symptom-inquiry goal set: JSON of splits, each a list of `{disease_tag, goal}`.

    The explicit slots are the complaint, explicit and implicit ones together the findings.

    Raises:
        MediaError: at once: no such file; a pickle, with the line that converts it; no such JSON.
    """
    path = Path(path)
    if path.suffix.lower() in (".p", ".pk", ".pkl", ".pickle") or head_of(path, 1) == b"\x80":
        raise MediaError("unsupported", str(path), f"{PICKLE}{path} {path.with_suffix('.json')}")
    found = _json(path)
    splits = {"": found} if isinstance(found, list) else found
    if not isinstance(splits, dict) or not all(isinstance(rows, list) for rows in splits.values()):
        raise MediaError("broken", str(path), "splits of cases are wanted: {split: [{disease_tag, goal}]}")
    return _goals(path, splits)


def _goals(path: Path, splits: Mapping[str, list[Any]]) -> Iterator[Case | Invalid]:
    for given, rows in splits.items():
        split = {"dev": "val", "valid": "val", "validate": "val"}.get(given, given)
        for number, row in enumerate(rows):
            name = "-".join(filter(None, (split, str(number))))
            try:
                yield _goal(name, split, row)
            except RowError as error:
                yield Invalid(name, f"{path.name}: {given}[{number}]", error.reason, error.detail)


def _goal(name: str, split: str, row: Any) -> Case:
    goal = row.get("goal") if isinstance(row, dict) else None
    if not isinstance(goal, dict):
        raise RowError("broken", "no object with a goal")
    diagnosis = str(row.get("disease_tag") or "").strip()
    if not diagnosis:
        raise RowError("diagnosis", "no disease_tag")
    told, asked = (_slots(goal, key) for key in ("explicit_inform_slots", "implicit_inform_slots"))
    there = [slot for slot, value in told.items() if value == "yes"]
    absent = [slot for slot, value in told.items() if value == "no"]
    if not there and not absent:
        raise RowError("complaint", "no explicit slot says what the patient comes with")
    parts = [f"I have {', '.join(there)}."] * bool(there) + [f"I have no {', no '.join(absent)}."] * bool(
        absent
    )
    return Case(
        name,
        diagnosis,
        " ".join(parts),
        there[0] if there else "",
        {**asked, **told},
        group=name,
        split=split,
    )


def _slots(goal: Mapping[str, Any], key: str) -> dict[str, str]:
    slots = goal.get(key) or {}
    if not isinstance(slots, dict):
        raise RowError("slots", f"{key} is a {type(slots).__name__}; an object is wanted")
    found = {}
    for slot, value in slots.items():
        said = SAID[value] if isinstance(value, bool) else _SLOTS.get(str(value).lower())
        if said is None:
            raise RowError("value", f"{key}, {slot!r}: {value!r}; true, false or UNK is wanted")
        found[slot] = said
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(bytes_of(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError("broken", str(path), f"not JSON: {str(error)[:100]}") from error


@dataclass(frozen=True, slots=True)
class Evidence:
    """An evidence of the release, as findings.

    Attributes:
        findings: one; of a multi-choice evidence one a value, each yes or no.
        values: by code of the value, the finding and its answer; of a yes/no evidence the code is "".
        default: by finding, the answer of a patient whose list does not hold it.
        usual: of a multi-choice evidence, the finding that is "yes" where nothing else is listed.
    """

    findings: tuple[Finding, ...]
    values: Mapping[str, tuple[str, str]]
    default: Mapping[str, str]
    usual: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """The DDXPlus release: its diseases and evidences; patients are streamed from it.

    Learn tables with `learned(release.patients("train"), diseases=release.diseases,
    findings=release.findings, default=release.default)`.

    Attributes:
        path: its folder.
        diseases: with severities (1 is the worst); their priors are equal until tables are learned.
        evidences: by code.
    """

    path: Path
    diseases: tuple[Disease, ...]
    evidences: Mapping[str, Evidence]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of all evidences, in the release's order."""
        return tuple(finding for one in self.evidences.values() for finding in one.findings)

    @property
    def default(self) -> dict[str, str]:
        """By finding, the answer of a patient whose list does not hold it."""
        return {name: value for one in self.evidences.values() for name, value in one.default.items()}

    def patients(self, split: str) -> Iterator[Case | Invalid]:
        """A split's patients, one at a time; memory does not grow.

        Args:
            split: train, val or test.

        Raises:
            ValueError: another split, or columns that are not there.
            MediaError: no file of that split.
        """
        if split not in SPLITS:
            raise ValueError(f"split {unknown(split, SPLITS)}")
        there = [self.path / name for name in SPLITS[split] if (self.path / name).is_file()]
        if not there:
            zipped = " (unpack the .zip first)" if any(self.path.glob("*.zip")) else ""
            raise MediaError("missing", str(self.path), f"none of {', '.join(SPLITS[split])}{zipped}")
        return self._rows(there[0], split)

    def _rows(self, file: Path, split: str) -> Iterator[Case | Invalid]:
        default, names = self.default, {normalise(n): one.name for one in self.diseases for n in _all(one)}
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            reader = csv.DictReader(stream)
            absent = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if absent:
                there = ", ".join(reader.fieldnames or ()) or "none"
                raise ValueError(f"{file}: no column {', '.join(absent)}; there are: {there}")
            number = 1
            while True:
                number += 1
                name = f"{split}-{number - 2}"
                try:
                    row = next(reader, None)
                    if row is None:
                        return
                    yield self._patient(name, split, row, default, names)
                except RowError as error:
                    yield Invalid(name, f"{file.name}:{number}", error.reason, error.detail)
                except csv.Error as error:
                    yield Invalid(name, f"{file.name}:{number}", "broken", f"not CSV: {error}")

    def _patient(
        self,
        name: str,
        split: str,
        row: Mapping[str, Any],
        default: dict[str, str],
        names: Mapping[str, str],
    ) -> Case:
        if any(row[column] is None for column in COLUMNS):
            raise RowError("broken", f"fewer cells than columns: {list(filter(None, row.values()))[:3]}")
        diagnosis = names.get(normalise(row["PATHOLOGY"]))
        if diagnosis is None:
            raise RowError("diagnosis", f"disease {unknown(row['PATHOLOGY'], names.values())}")
        present: dict[str, str] = {}
        for item in _literal(row, "EVIDENCES"):
            finding, answer = self._finding(item)
            if usual := self.evidences[str(item).partition("_@_")[0]].usual:
                present.setdefault(usual, "no")
            present[finding] = answer
        if not row["INITIAL_EVIDENCE"]:
            raise RowError("complaint", "no INITIAL_EVIDENCE")
        complaint, value = self._finding(row["INITIAL_EVIDENCE"])
        pairs = _literal(row, "DIFFERENTIAL_DIAGNOSIS")
        if not all(
            isinstance(p, list | tuple) and len(p) == 2 and isinstance(p[1], float | int) for p in pairs
        ):
            raise RowError("differential", "DIFFERENTIAL_DIAGNOSIS: a list of [name, p] is wanted")
        one = self.evidences[row["INITIAL_EVIDENCE"].split("_@_")[0]]
        question = next(f.question for f in one.findings if f.name == complaint)
        sex = {"M": "male", "F": "female"}.get(row["SEX"], row["SEX"])
        return Case(
            name,
            diagnosis,
            f"{question} {value.capitalize()}.",
            complaint,
            ChainMap({complaint: value} | present, default),
            told={"demographics": (f"Age {row['AGE']}, {sex}.",)},
            group=name,
            split=split,
            differential={names.get(normalise(str(d)), str(d)): float(p) for d, p in pairs},
            tags={"age": row["AGE"], "sex": row["SEX"]},
        )

    def _finding(self, item: Any) -> tuple[str, str]:
        """The finding and answer of `E_91` or `E_54_@_V_161`."""
        code, _, value = str(item).partition("_@_")
        one = self.evidences.get(code)
        if one is None:
            raise RowError("evidence", f"evidence {unknown(code, self.evidences)}")
        if value not in one.values:
            raise RowError("evidence", f"evidence {code}: value {unknown(value, one.values)}")
        return one.values[value]


def _all(one: Disease) -> tuple[str, ...]:
    return (one.name, *one.aliases)


def _literal(row: Mapping[str, Any], column: str) -> list[Any]:
    """A list out of its literal; names and calls in it are no literals."""
    text = row[column]
    if len(text) > LONGEST:
        raise RowError("too_large", f"{column}: {len(text):,} characters, the limit is {LONGEST:,}")
    try:
        found = ast.literal_eval(text or "[]")
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise RowError("literal", f"{column}: no list literal: {text[:60]!r}") from error
    if not isinstance(found, list):
        raise RowError("literal", f"{column}: a {type(found).__name__}; a list is wanted")
    return found


def release(path: Path) -> Release:
    """The DDXPlus release in a folder: evidences and conditions; its patients stay in their files.

    Raises:
        MediaError: a file is missing or no JSON.
        ValueError: an evidence or a condition without what the format has, by name.
    """
    path = Path(path)
    tables = [_json(path / name) for name in (CONDITIONS, EVIDENCES)]
    for table, name in zip(tables, (CONDITIONS, EVIDENCES), strict=True):
        if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
            raise ValueError(f"{path / name}: an object of objects by name is wanted")
    conditions, evidences = tables
    diseases = []
    for key, row in conditions.items():
        names = dict.fromkeys(filter(None, (row.get("condition_name"), key, row.get("cond-name-eng"))))
        first, *others = map(str, names)
        aliases = {normalise(one): one for one in others if normalise(one) != normalise(first)}
        severity = row.get("severity", 0)
        if not isinstance(severity, int):
            raise ValueError(
                f"{path / CONDITIONS}: {first!r}: severity {severity!r}; a whole number is wanted"
            )
        diseases.append(Disease(first, 1 / len(conditions), severity, tuple(aliases.values())))
    found = {code: _evidence(code, row, path / EVIDENCES) for code, row in evidences.items()}
    return Release(path, tuple(diseases), found)


def _evidence(code: str, row: Mapping[str, Any], file: Path) -> Evidence:
    question = str(row.get("question_en") or row.get("question_fr") or code).strip()
    kind, codes = row.get("data_type"), [str(one) for one in row.get("possible-values") or []]
    if kind not in ("B", "C", "M") or (kind != "B" and not codes):
        raise ValueError(
            f"{file}: {code}: data_type {kind!r} with values {codes[:5]}; B, or C or M with some"
        )
    if kind == "B":
        finding = Finding(code, question)
        return Evidence((finding,), {"": (code, "yes")}, {code: "no"})
    words, default = _words(row, codes), str(row.get("default_value"))
    if kind == "C":
        one = Finding(code, question, tuple(words.values()))
        start = {code: words[default]} if default in words else {}
        return Evidence((one,), {value: (code, said) for value, said in words.items()}, start)
    names = {value: f"{code}_@_{value}" for value in codes}
    many = tuple(Finding(names[value], f"{question} {words[value]}?") for value in codes)
    answers = {name: "yes" if value == default else "no" for value, name in names.items()}
    usual = names.get(default, "")
    return Evidence(many, {value: (name, "yes") for value, name in names.items()}, answers, usual)


def _words(row: Mapping[str, Any], codes: list[str]) -> dict[str, str]:
    """What the values mean in English; the codes where two mean the same."""
    meaning = row.get("value_meaning") or {}
    said = {code: str((meaning.get(code) or {}).get("en") or code) for code in codes}
    return said if len({*said.values(), UNSURE}) > len(codes) else dict(zip(codes, codes, strict=True))
