"""Where consultations are held: who comes, who answers, who reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.chat import connect
from polymodal.chat.connect import Script
from polymodal.chat.library import Library
from polymodal.envs import cases as files
from polymodal.envs.cases import labelled
from polymodal.envs.clinic import Case
from polymodal.envs.clinic.generated import patients
from polymodal.envs.clinic.patient import Consultation, table_patient
from polymodal.envs.clinic.scripted import scripted
from polymodal.envs.clinic.spoken import Lexical, model_patient
from polymodal.media import Invalid
from polymodal.systems.consulting import pictured
from polymodal.systems.consulting.rated import PEOPLE

if TYPE_CHECKING:
    from polymodal.envs.clinic import Clinic

IMAGINED = 1_000  # patients drawn by a user's tables at most


def place(path: str | None, own: Clinic, n: int, *, seed: int) -> tuple[Clinic | None, Any, list[Invalid]]:
    """The clinic's tables, who comes, and which cases cannot be used.

    Args:
        path: of the cases, or of tables alone, by which patients are drawn; None draws them by `own`.
        own: the tables to draw by.
        n: cases at most.
        seed: of what is drawn.

    Raises:
        FileNotFoundError: no data there.
        ValueError: no known layout, wrong tables, or no case at all.
    """
    if path is None:
        return own, patients(own, n, seed=seed, draw=pictured.picture), []
    at = Path(path)
    clinic, found, lost = files.tables(at), list[Case](), list[Invalid]()
    if clinic is not None and files.detect(at) == "clinic":
        clinic = _drawable(clinic, own)
        return clinic, patients(clinic, min(n, IMAGINED), seed=seed, draw=pictured.picture), []
    told = clinic is None or files.given(at)  # else the tables are learned from the train split
    for split in ("test", ""):
        if found:
            break
        lost = []
        for one in files.read(at, split):
            if isinstance(one, Invalid):
                lost.append(one)
            elif told or one.split != "train":
                found.append(one)
            if len(found) >= n:
                break
    if not found:
        only = "" if told else "; the tables are learned from the train split, so a test split is wanted"
        hint = f"{len(lost)} are invalid{only}: `polymodal data check {path}`"
        raise ValueError(f"{path}: no case can be used; {hint}")
    return clinic, found, lost


def _drawable(clinic: Clinic, own: Clinic) -> Clinic:
    """The tables less the artefacts that cannot be drawn, so that nobody asks for what nobody can show."""
    kinds = _drawn(clinic, own)
    seen = tuple(one for one in clinic.artefacts if one.kind in kinds)
    return replace(clinic, artefacts=seen, shows={kind: clinic.shows[kind] for kind in kinds})


def room(
    found: Sequence[Case],
    clinic: Clinic | None,
    patient: str,
    kind: type[Consultation] = Consultation,
    *,
    manner: Any = "plain",
    compat: bool = False,
    store: Any = None,
) -> Consultation:
    """An environment with the patient's side by its word: auto, table, lexical or a model with its store."""
    lexical = patient == "lexical" or (patient == "auto" and clinic is None)
    side: Any = Lexical() if lexical else table_patient
    if patient not in ("auto", "lexical", "table"):
        side = model_patient(connect(patient, store=store))
    return kind(found, patient=side, manner=manner, clinic=clinic, compat=compat)


def checked(
    doctors: Sequence[str],
    others: Sequence[str],
    clinic: Clinic | None,
    *,
    folder: str | None = None,
    texts_at: str | None = None,
) -> None:
    """Says at once, not after the training, what a job would trip over; checkpoints are not loaded for it.

    Args:
        doctors: models that may be scripts of the clinic.
        others: who answers and who rates, by a word or as a model.
        clinic: its tables.
        folder: an earlier run whose readers are wanted.
        texts_at: texts that plans are to rest on.

    Raises:
        LookupError: an unknown kind of model, script or option.
        ValueError: a model's option that cannot be read, or readers of other classes than the clinic's.
        FileNotFoundError: no readers in the folder.
        MediaError: no texts there.
    """
    if texts_at is not None:
        texts(texts_at)
    words = ("auto", "table", "lexical", "rule")
    people = [Path(one.removeprefix(PEOPLE)) for one in others if one.startswith(PEOPLE)]
    if absent := [one for one in people if not one.is_dir()]:
        raise FileNotFoundError(f"rater=people:{absent[0]}: no folder; `polymodal study export` writes one")
    models = [one for one in others if one not in words and not one.startswith(PEOPLE)]
    for specs, known in ((doctors, scripts(clinic)), (models, {})):
        for spec in specs:
            if not any(kind in spec for kind in ("local:", "inspect:")):
                connect(spec, scripts=known)
    if clinic is not None and folder is not None and not (Path(folder) / "model").is_dir():
        raise FileNotFoundError(f"doctor=bayes:{folder}: no finished run with readers in {folder}/model")
    if clinic is not None and folder is not None:
        kinds = {one.kind: one.classes for one in clinic.artefacts}
        there = {kind: of for kind, of in kinds.items() if pictured.kept_at(folder, kind).is_dir()}
        pictured.readers(Path(folder), there)


def scripts(clinic: Clinic | None) -> dict[str, Script]:
    """The scripts that `chat.connect` may know besides its own: the mind that knows the tables."""
    return {} if clinic is None else {"clinic": partial(scripted, clinic)}


@cache
def texts(path: str) -> Library:
    """The texts of a folder, read once in a process. Raises as `Library.read`."""
    return Library.read(Path(path))


def allowed(config: Any) -> None:
    """Whether a Config's values can be used.

    Raises:
        ValueError: by option, what was given and what is wanted.
        FileNotFoundError: no library.
    """
    for name, least in (("turns", 1), ("cases", 1), ("epochs", 1), ("seeds", 1), ("seed", 0)):
        value = getattr(config, name)
        if any(one < least for one in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"{name}={value}: whole numbers from {least} are wanted")
    for name in ("turns", "doctor", "arm"):
        if not any(getattr(config, name)):
            raise ValueError(f"{name}= is empty; at least one is wanted")
    if config.stop == "learned" and config.cost:
        raise ValueError(f"stop=learned knows no costs, and cost={config.cost}: give a belief, such as 0.9")
    if config.stop != "learned" and not 0 < config.stop <= 1:
        raise ValueError(f"stop={config.stop}: a belief above 0, up to 1, or `learned` is wanted")
    if not 0 <= config.cost < inf:
        raise ValueError(f"cost={config.cost}: a number from 0 is wanted")
    if config.library is not None and not Path(config.library).exists():
        raise FileNotFoundError(f"library={config.library}: no such file or folder")


def about(config: Any, clinic: Clinic | None, own: Clinic, n: int) -> str:
    """What a run is of, and which artefacts nobody but a model can look at."""
    most = f" No more are read (cases={config.cases})." if config.data and n == config.cases else ""
    if clinic is None:
        return f"{n} written cases of {config.data}: no tables, so models and lists of questions ask.{most}"
    folder = next((one.partition(":")[2] for one in config.doctor if one.startswith("bayes:")), None)
    at = source(config.data, folder, own)
    sizes = (("diseases", clinic.diseases), ("findings", clinic.findings), ("artefacts", clinic.artefacts))
    size = ", ".join(f"{len(some)} {name}" for name, some in sizes)
    where = at or "The generated clinic"
    drawn = ""
    if at is not None and (whole := files.tables(Path(at))) and files.detect(Path(at)) == "clinic":
        drawn = f" {n} generated patients: there are tables and no cases."
        gone = [one.kind for one in whole.artefacts if one not in clinic.artefacts]
        drawn += f" No {', '.join(gone)} can be drawn, so nobody asks for one." if gone else ""
    told = f"{where}: {size}; {n} consultations an arm, with patients who play.{drawn}{most}"
    return told + _unread(at, clinic, own, folder)


def _unread(path: str | None, clinic: Clinic, own: Clinic, folder: str | None) -> str:
    """Which kinds no reader knows, and why."""
    read = {*lessons(path, clinic, own, folder), *_pages(clinic, own)}
    cases = path is not None and folder is None and bool(clinic.artefacts)
    counts = labelled.told(Path(path)) if path is not None and cases else {}
    told = []
    for one in clinic.artefacts:
        if one.kind in read or (folder and pictured.kept_at(folder, one.kind).is_dir()):
            continue
        n: Mapping[str, int] = counts.get(one.kind, {})
        few = f" ({sum(n.values())} labelled pictures of {len(n)} classes to learn from)" if cases else ""
        told.append(one.kind + few)
    return f" No reader knows {', '.join(told)}: the exact doctor asks in words." if told else ""


def starts(n: int, size: int) -> dict[int, int]:
    """Chunks of cases, the first and behind the last; none of one case, which has no neighbour."""
    first = [k for k in range(0, n, size) if k == 0 or n - k > 1]
    return dict(zip(first, [*first[1:], n], strict=True))


def _drawn(clinic: Clinic, own: Clinic) -> list[str]:
    """The kinds of a clinic that are drawn here too, class by class."""
    classes = {one.kind: one.classes for one in own.artefacts}
    return [one.kind for one in clinic.artefacts if classes.get(one.kind) == one.classes]


def lessons(
    path: str | None, clinic: Clinic | None, own: Clinic, folder: str | None = None
) -> dict[str, tuple[str, ...]]:
    """By kind, the classes of the readers that a run trains on its own pictures; () trains on drawn ones.

    Args:
        path: of the data; None generates.
        clinic: its tables.
        own: the tables whose artefacts are drawn here.
        folder: an earlier run whose readers are used instead, so that none is trained.
    """
    if clinic is None or folder is not None:
        return {}
    if path is None or files.detect(Path(path)) == "clinic":
        return {kind: () for kind in _drawn(clinic, own) if kind in pictured.TRAINED}
    counts = labelled.told(Path(path)) if clinic.artefacts else {}
    able = [one for one in clinic.artefacts if labelled.enough(counts.get(one.kind, {}))]
    return {one.kind: one.classes for one in able if one.kind not in _pages(clinic, own)}


def trained(folder: str) -> str | None:
    """A run's own folder where it has trained a reader, else None."""
    model = Path(folder) / "model"
    return folder if model.is_dir() and any(one.is_dir() for one in model.iterdir()) else None


def source(path: str | None, folder: str | None, own: Clinic) -> str | None:
    """Where the tables and cases of a run are: its data, or the tables that an earlier run was held with.

    Args:
        path: of the data.
        folder: the earlier run, `bayes:OUT`.
        own: the generated clinic's tables; a run that was held with them generates again, which is None.

    Raises:
        ValueError: the earlier run's tables are wrong.
    """
    if path is not None or folder is None or not (at := Path(folder) / "model" / "clinic.json").is_file():
        return path
    same = files.to_json(files.clinic(at)) == files.to_json(own)
    return None if same else str(at.parent)


def keep(clinic: Clinic | None, folder: str | Path) -> None:
    """Keep the tables beside the readers, so that the folder is a doctor: `-o doctor=bayes:FOLDER`."""
    from polymodal.runs.atomic import write_json

    if clinic is not None:
        write_json(Path(folder) / "model" / "clinic.json", files.to_json(clinic))


def _pages(clinic: Clinic, own: Clinic) -> list[str]:
    """Kinds that are read without a trained reader."""
    return [kind for kind in _drawn(clinic, own) if kind not in pictured.TRAINED]


def known(clinic: Clinic | None, own: Clinic, folder: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Readers, and what is known of each: those of a run's folder, and of pages; pages alone without one.

    Raises:
        FileNotFoundError: kinds that are drawn here, and no reader of any kind in the folder.
        ValueError: a reader knows other classes than the clinic.
    """
    if clinic is None:
        return {}, {}
    pages, at = _pages(clinic, own), Path(folder or ".")
    kinds = {
        one.kind: one.classes
        for one in clinic.artefacts
        if one.kind in pages or (folder is not None and pictured.kept_at(at, one.kind).is_dir())
    }
    wanted = [kind for kind in _drawn(clinic, own) if kind not in pages]
    if folder is not None and wanted and not kinds.keys() - set(pages):
        kinds = dict.fromkeys(wanted, ())  # which says that they are not there
    return pictured.readers(at if folder else Path("/nowhere"), kinds)
