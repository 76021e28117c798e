"""Written cases of AgentClinic's OSCE and NEJM lines. For research, not for care."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polymodal.envs.clinic.cases import RowError, rows
from polymodal.envs.clinic.table import Case, Shown, betrays, normalise
from polymodal.media import Image, Invalid, MediaError

DEEP = 16  # of nested results
SECTIONS: Mapping[str, str] = {
    "Demographics": "demographics",
    "History": "history",
    "Symptoms": "symptoms",
    "Past_Medical_History": "past medical history",
    "Social_History": "social history",
    "Review_of_Systems": "review of systems",
    "Current_Medications": "medications",
    "Medications": "medications",
    "Drug_History": "medications",
}
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\d\"'(])|[;\n]+\s*")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def read(path: Path) -> Iterator[Case | Invalid]:
    """Cases of `agentclinic_*.jsonl`: lines with an OSCE_Examination, or NEJM-style ones; in order.

    What the patient can tell never names the diagnosis: a sentence that does is left out and counted in the
    tag `hidden`. Tag `leak` says whether a test result names it: "yes", "short" (the abbreviation in the
    diagnosis's parentheses) or "no". Nothing is fetched: a picture at a URL is one that cannot be read (tag
    `url`), one at a path beside the file is shown as `image`.

    Args:
        path: the file, or the folder that holds such files.

    Raises:
        MediaError: at once, where there is no such file.
    """
    path = Path(path)
    files = sorted(path.glob("agentclinic_*.jsonl")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise MediaError("missing", str(path), "no such file, nor agentclinic_*.jsonl in such a folder")
    return (found for file in files for found in _cases(file))


def _cases(file: Path) -> Iterator[Case | Invalid]:
    stem = file.stem.removeprefix("agentclinic_")
    for number, row in rows(file):
        name = f"{stem}-{number}"
        try:
            if isinstance(row, RowError):
                raise row
            if "OSCE_Examination" in row:
                yield _osce(name, row["OSCE_Examination"])
            elif "answers" in row:
                yield _pictured(name, row, file.parent)
            else:
                raise RowError("schema", f"neither OSCE_Examination nor answers: {', '.join(list(row)[:5])}")
        except RowError as error:
            yield Invalid(name, f"{file.name}:{number}", error.reason, error.detail)


def _osce(name: str, given: Any) -> Case:
    about = given if isinstance(given, dict) else {}
    patient, tests, seen = (
        about.get(key) or {} for key in ("Patient_Actor", "Test_Results", "Physical_Examination_Findings")
    )
    if not all(isinstance(one, dict) for one in (patient, tests, seen)):
        raise RowError("schema", "Patient_Actor, Test_Results and Physical_Examination_Findings are objects")
    diagnosis = str(about.get("Correct_Diagnosis") or "").strip()
    if not diagnosis:
        raise RowError("diagnosis", "no Correct_Diagnosis")
    symptoms = patient.get("Symptoms")
    primary = str((symptoms if isinstance(symptoms, dict) else {}).get("Primary_Symptom") or "").strip()
    if not primary:
        raise RowError("complaint", "no Primary_Symptom")
    if betrays(primary, diagnosis):
        raise RowError("complaint", "the primary symptom names the diagnosis")
    told: dict[str, list[str]] = {}
    for key, value in patient.items():
        section = SECTIONS.get(key, key.replace("_", " ").lower())
        told.setdefault(section, []).extend(_told(value))
    spoken = {section: [one for one in all_ if not betrays(one, diagnosis)] for section, all_ in told.items()}
    hidden = sum(map(len, told.values())) - sum(map(len, spoken.values()))
    results = [f"{' '.join(path)} {text}" for path, text in leaves(tests)]
    return Case(
        name,
        diagnosis,
        primary,
        told={section: tuple(sentences) for section, sentences in spoken.items() if sentences},
        results=_results(tests, seen),
        group=normalise(diagnosis),
        tags={
            "leak": _leak(results, diagnosis),
            "hidden": str(hidden),
            "objective": str(about.get("Objective_for_Doctor") or ""),
        },
    )


def _pictured(name: str, row: Mapping[str, Any], root: Path) -> Case:
    """An NEJM-style line: a picture, a patient's information, and answers of which one is right."""
    answers = (
        [one for one in row["answers"] if isinstance(one, dict)] if isinstance(row["answers"], list) else []
    )
    right = [str(one.get("text") or "").strip() for one in answers if one.get("correct") is True]
    if len(right) != 1 or not right[0]:
        raise RowError("diagnosis", f"{len(right)} answers are marked as correct; one is wanted")
    all_ = list(_told(row.get("patient_info") or ""))
    spoken = [one for one in all_ if not betrays(one, right[0])]
    if not spoken:
        raise RowError("complaint", "no patient_info that the patient could say")
    place, takes = str(row.get("image_path") or row.get("image_url") or ""), {}
    if place:
        local = not _URL.match(place) and (root / place).resolve().is_relative_to(root.resolve())
        takes["image"] = (Shown(Image(root / place) if local else None),)
    exams = row.get("physical_exams") or {}
    return Case(
        name,
        right[0],
        spoken[0],
        artefacts=takes,
        told={"history": tuple(spoken)},
        results=_results({}, exams if isinstance(exams, dict) else {"Physical_Examination": str(exams)}),
        group=normalise(right[0]),
        tags={
            "leak": _leak([text for _, text in leaves(exams)], right[0]),
            "hidden": str(len(all_) - len(spoken)),
            "type": str(row.get("type") or ""),
            "choices": " | ".join(str(one.get("text")) for one in answers),
            **({"url": place} if _URL.match(place) else {}),
        },
    )


def _leak(results: list[str], diagnosis: str) -> str:
    if any(betrays(text, diagnosis, short=False) for text in results):
        return "yes"
    return "short" if any(betrays(text, diagnosis) for text in results) else "no"


def _told(value: Any, deep: int = 0) -> Iterator[str]:
    """Sentences of a text, of a list's items, of an object's values with their names."""
    if isinstance(value, dict | list) and deep >= DEEP:
        raise RowError("schema", f"sections nest deeper than {DEEP}")
    if isinstance(value, dict):
        for key, item in value.items():
            head = (
                "" if deep == 0 and key.endswith(("_Symptom", "_Symptoms")) else f"{key.replace('_', ' ')}: "
            )
            yield from (head + one for one in _told(item, deep + 1))
    elif isinstance(value, list):
        for item in value:
            yield from _told(item, deep + 1)
    elif value is not None:
        yield from (one.strip() for one in _END.split(str(value)) if one.strip())


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The texts of nested results, each with the names that lead to it."""
    if len(path) > DEEP:
        raise RowError("schema", f"results nest deeper than {DEEP}")
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*path, str(key)))
    elif isinstance(tree, list):
        for value in tree:
            yield from leaves(value, path)
    elif tree is not None:
        yield path, str(tree)


def _results(*trees: Mapping[str, Any]) -> dict[str, str]:
    """What a doctor can ask for: every test by its own name, then with blanks, then the parts of tests.

    A part is called by its own name where no other part is, and by the whole way to it, with slashes.
    """
    whole: dict[str, str] = {}
    parts: dict[tuple[str, ...], list[str]] = {}
    for tree in trees:
        for name, value in tree.items():
            found = list(leaves(value))
            said = "; ".join(f"{' / '.join(way)}: {text}" if way else text for way, text in found)
            key = name if name not in whole else f"{name} (examination)"
            whole[key] = _spaced(said) or "no result is recorded"
            for way, text in found:
                for n in range(1, len(way) + 1):
                    below = f"{' / '.join(way[n:])}: {text}" if way[n:] else text
                    parts.setdefault((key, *way[:n]), []).append(_spaced(below))
    times = Counter(way[-1].lower() for way in parts)
    found_ = {**whole, **{_spaced(name): said for name, said in whole.items() if _spaced(name) not in whole}}
    for way, texts in parts.items():
        if times[way[-1].lower()] == 1:
            found_.setdefault(_spaced(way[-1]), "; ".join(texts))
    for way, texts in parts.items():
        found_.setdefault(_spaced(" / ".join(way)), "; ".join(texts))
    return found_


def _spaced(name: str) -> str:
    return name.replace("_", " ")
