"""Where consultations are held: who comes, who answers, who reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.chat import connect
from polymodal.chat.connect import Script
from polymodal.chat.library import Library
from polymodal.envs import cases as files
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


def place(path: str | None, own: Clinic, n: int, *, seed: int) -> tuple[Clinic | None, Any, list[Invalid]]:
    """The clinic's tables, who comes, and which cases cannot be used.

    Args:
        path: of the cases; None draws them.
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
        ValueError: a model's option that cannot be read.
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
    if clinic is None:
        return f"{n} written cases of {config.data}: no tables, so models and lists of questions ask."
    sizes = (("diseases", clinic.diseases), ("findings", clinic.findings), ("artefacts", clinic.artefacts))
    size = ", ".join(f"{len(some)} {name}" for name, some in sizes)
    where = config.data or "The generated clinic"
    unread = [one.kind for one in clinic.artefacts if one.kind not in _drawn(clinic, own)]
    lacking = f" No reader knows {', '.join(unread)}: the exact doctor asks in words." if unread else ""
    return f"{where}: {size}; {n} consultations an arm, with patients who play.{lacking}"


def starts(n: int, size: int) -> dict[int, int]:
    """Chunks of cases, the first and behind the last; none of one case, which has no neighbour."""
    first = [k for k in range(0, n, size) if k == 0 or n - k > 1]
    return dict(zip(first, [*first[1:], n], strict=True))


def _drawn(clinic: Clinic, own: Clinic) -> list[str]:
    """The kinds of a clinic that are drawn here too, class by class."""
    classes = {one.kind: one.classes for one in own.artefacts}
    return [one.kind for one in clinic.artefacts if classes.get(one.kind) == one.classes]


def known(clinic: Clinic | None, own: Clinic, folder: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Readers, and what is known of each, of the kinds drawn here; without a folder of pages alone."""
    kinds = _drawn(clinic, own) if clinic else []
    if folder is None:
        kinds = [kind for kind in kinds if kind not in pictured.TRAINED]
    return pictured.readers(Path(folder or "."), kinds)
