"""Which set of cases lies at a path; its cases, its tables, and all of it as samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from polymodal.envs.cases import lines, osce, pictured, releases, saved
from polymodal.envs.clinic.table import Case, Clinic
from polymodal.media import Image, Invalid, Part, Sample, Text

LAYOUTS: Mapping[str, str] = {
    "cases": "cases.jsonl, and clinic.json unless its train split is to be learned from",
    "clinic": "clinic.json alone: tables to draw patients by",
    "agentclinic": "agentclinic_*.jsonl (OSCE or NEJM lines)",
    "ddxplus": "release_evidences.json, release_conditions.json and release_*_patients (DDXPlus)",
    "goals": "goal_set.json, or another JSON file of splits of {disease_tag, goal} (symptom inquiry)",
}
PICTURES: Mapping[str, str] = {
    "scin_cases.csv": "scin_cases.csv and scin_labels.csv (SCIN)",
    "ptbxl_database.csv": "ptbxl_database.csv and records (PTB-XL)",
    "metadata.csv": "metadata.csv with img_id, and photos (PAD-UFES-20)",
}
STORY = 80  # characters from which on a text is somebody's own


def detect(path: Path) -> str:
    """Which of `LAYOUTS` lies at a path, by the names of files.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: none of them; the message lists them.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    names = sorted(one.name for one in path.iterdir()) if path.is_dir() else [path.name]
    if "cases.jsonl" in names:
        return "cases"
    if any(name.startswith("agentclinic_") and name.endswith(".jsonl") for name in names):
        return "agentclinic"
    if releases.EVIDENCES in names:
        return "ddxplus"
    if "clinic.json" in names:
        return "clinic"
    if any(name.rpartition(".")[0].startswith("goal_") for name in names) or (
        path.is_file() and _goals(path)
    ):
        return "goals"
    known = "\n  ".join(LAYOUTS.values())
    raise ValueError(
        f"{path}: no cases (found {', '.join(names[:5]) or 'nothing'}). Known layouts:\n  {known}"
    )


def _goals(path: Path) -> bool:
    if path.suffix != ".json":
        return False
    with path.open("rb") as stream:
        return b'"disease_tag"' in stream.read(4096)


def read(path: Path, split: str = "", *, missing: float | None = None) -> Iterator[Case | Invalid]:
    """Cases of whatever lies at a path, streamed; those of one split, or all. Tables alone have none.

    Args:
        path: a folder or file that `detect` knows.
        split: train, val or test; cases of any split when empty. Faults come with any.
        missing: as for `saved.clinic`, where there is one.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no known layout, or tables that are wrong.
    """
    path, layout = Path(path), detect(path)
    if layout == "ddxplus":
        release = releases.release(path)
        for one in (split,) if split else releases.SPLITS:
            if split or any((path / name).is_file() for name in releases.SPLITS[one]):
                yield from release.patients(one)
        return
    if layout == "clinic":
        return
    if layout == "goals":
        found = releases.goals(next(iter(sorted(path.glob("goal_*")))) if path.is_dir() else path)
    elif layout == "agentclinic":
        found = osce.read(path)
    else:
        root = path if path.is_dir() else path.parent
        clinic = saved.clinic(root, missing) if (root / "clinic.json").is_file() else None
        found = lines.cases(path, clinic)
    for case in found:
        if isinstance(case, Invalid) or split in ("", case.split):
            yield case


def tables(path: Path, *, missing: float | None = None) -> Clinic | None:
    """The clinic of a path: its clinic.json, or tables learned from its train split; None for written cases.

    Args:
        path: a folder or file that `detect` knows.
        missing: as for `saved.clinic`.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no known layout, tables that are wrong, or no train split to learn from.
    """
    path, layout = Path(path), detect(path)
    root = path if path.is_dir() else path.parent
    if layout == "agentclinic":
        return None
    if layout == "clinic" or (layout == "cases" and (root / "clinic.json").is_file()):
        return saved.clinic(root, missing)
    if layout == "ddxplus":
        release = releases.release(path)
        train = release.patients("train")
        return lines.learned(
            train, diseases=release.diseases, findings=release.findings, default=release.default
        )
    return lines.learned(read(path))


def given(path: Path) -> bool:
    """Whether a path has tables of its own, so that none are learned from its train split."""
    root = Path(path) if Path(path).is_dir() else Path(path).parent
    return detect(path) in ("cases", "clinic") and (root / "clinic.json").is_file()


def described(path: Path) -> str:
    """What the tables of a `clinic.json` at a path hold, in a line; "" where there is none.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: tables that are wrong, by file, disease and finding.
    """
    path = Path(path)
    try:
        if not given(path):
            return ""
    except ValueError:  # another sort of data set
        return ""
    clinic = saved.clinic(path if path.is_dir() else path.parent)
    kinds = (
        ", ".join(f"{one.kind} ({len(one.classes)} classes)" for one in clinic.artefacts) or "no artefacts"
    )
    return f"tables: {len(clinic.diseases)} diseases, {len(clinic.findings)} findings, {kinds}"


def samples(path: Path) -> Iterator[Sample | Invalid]:
    """A set of cases, or a perception set, as samples: what a patient tells and shows, and the diagnosis.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no known layout, or a column that is not there.
    """
    path = Path(path)
    if name := perception(path):
        return pictured.SETS[name](path)
    detect(path)
    return (case if isinstance(case, Invalid) else _sample(case) for case in read(path))


def perception(path: Path) -> str:
    """The table of a perception set (a key of `PICTURES`) where one lies in a folder, else ""."""
    for name in pictured.SETS:
        if (Path(path) / name).is_file() and (name != "metadata.csv" or _lesions(Path(path) / name)):
            return name
    return ""


def _lesions(file: Path) -> bool:
    """Whether a metadata.csv is of PAD-UFES-20, or meant to be: many sets have a file of that name."""
    with file.open("rb") as stream:
        head = stream.readline(4096)
    return b"img_id" in head or b"lesion_id" in head


def _sample(case: Case) -> Sample:
    """A case as a sample.

    Brief texts are one part, `history`: two patients may well have the same complaint or the same answer, and
    only all of it together is a copy. Stories are parts of their own. Beside a picture even a history may be
    too brief to be a copy of anything; then it is a tag.
    """
    told = {"initial": case.initial} | {section: " ".join(some) for section, some in case.told.items()}
    long = {name: text for name, text in told.items() if len(text) >= STORY}
    brief = [text for name, text in told.items() if name not in long]
    if stated := lines.stated(case):
        brief.append("; ".join(f"{name}: {value}" for name, value in stated.items()))
    parts: dict[str, Part] = {name: Text(text) for name, text in long.items()}
    for kind, takes in case.artefacts.items():
        images: list[Image] = [take.image for take in takes if take.image is not None]
        parts |= {kind if n == 0 else f"{kind} {n + 1}": image for n, image in enumerate(images)}
    tags, history = {**case.tags, **({"split": case.split} if case.split else {})}, " ".join(brief)
    if len(history) < STORY and parts:
        tags["history"] = history
    elif history:
        parts = {"history": Text(history), **parts}
    return Sample(case.id, parts, case.diagnosis, case.group or None, tags)
