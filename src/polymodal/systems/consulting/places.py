"""Where consultations are held: who comes, who answers, who reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.chat import connect
from polymodal.envs import cases as files
from polymodal.envs.clinic import Case
from polymodal.envs.clinic.generated import patients
from polymodal.envs.clinic.patient import Consultation, table_patient
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


def known(clinic: Clinic | None, own: Clinic, folder: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Readers, and what is known of each, of the kinds drawn here; without a folder of pages alone."""
    drawn = {one.kind: one.classes for one in own.artefacts}
    kinds = [one.kind for one in clinic.artefacts if drawn.get(one.kind) == one.classes] if clinic else []
    if folder is None:
        kinds = [kind for kind in kinds if kind not in pictured.TRAINED]
    return pictured.readers(Path(folder or "."), kinds)
