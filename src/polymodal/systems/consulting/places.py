"""Where consultations are held: who comes, who answers, who reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
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
    for split in ("test", ""):
        for one in files.read(at, split) if not found else ():
            if isinstance(one, Invalid):
                lost += [one] if not split else []
            elif len(found) < n:
                found.append(one)
    if not found:
        raise ValueError(
            f"{path}: no case can be used; {len(lost)} are invalid: `polymodal data check {path}`"
        )
    return clinic, found, lost


def room(
    found: Sequence[Case],
    clinic: Clinic | None,
    patient: str,
    kind: type[Consultation] = Consultation,
    *,
    manner: Any = "plain",
    compat: bool = False,
) -> Consultation:
    """An environment with the patient's side by its word: auto, table, lexical or a model."""
    lexical = patient == "lexical" or (patient == "auto" and clinic is None)
    side: Any = Lexical() if lexical else table_patient
    if patient not in ("auto", "lexical", "table"):
        side = model_patient(connect(patient))
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
    for specs, known in ((doctors, scripts(clinic)), ([one for one in others if one not in words], {})):
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


def known(clinic: Clinic | None, own: Clinic, folder: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Readers, and what is known of each, of the kinds drawn here; without a folder of pages alone."""
    drawn = {one.kind: one.classes for one in own.artefacts}
    kinds = [one.kind for one in clinic.artefacts if drawn.get(one.kind) == one.classes] if clinic else []
    if folder is None:
        kinds = [kind for kind in kinds if kind not in pictured.TRAINED]
    return pictured.readers(Path(folder or "."), kinds)
