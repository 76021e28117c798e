"""Patients whose pictures are drawn and read, before a doctor without a language model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from polymodal.envs.artefacts import draw
from polymodal.envs.clinic import Case, Reader, Reading, Shown
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.doctor import EPSILON, BayesDoctor, Sight
from polymodal.envs.play import play
from polymodal.media import Image, MediaError
from polymodal.systems.consulting.scored import scored
from polymodal.systems.readers.pictures import PictureReader, drawn, read_page, train

if TYPE_CHECKING:
    from polymodal.envs.clinic import Clinic

TRAINED = ("lesion", "trace")
HELD = 500  # pictures of a kind that a trained reader is tested on
GREY = 127  # of a blank picture
ARMS: Mapping[str, Mapping[str, Any]] = {  # what the doctor may do, and what becomes of the case
    "multimodal": {},
    "no retake": {"retakes": 0},
    "text": {"readers": {}, "sights": {}},
    "artefacts": {"questions": False},
    "shuffled": {},
    "blank": {"retakes": 0},  # asking for what shows nothing costs no turn there: it must equal `text`
}


def picture(kind: str, cls: str, *, seed: int, poor: bool, take: int) -> Image:
    """A take for `envs.clinic.generated.patients`, of the drawings that no reader was trained on."""
    return draw(kind, cls, seed=seed, poor=poor, split="test", take=take).image


def taught(kind: str, folder: str, epochs: int, *, seed: int, n: int = 2_000) -> dict[str, Any]:
    """Train a reader, keep it in a run's folder, and test it: what it said of `HELD` pictures."""
    from polymodal.runs.atomic import write_folder

    reader = train(kind, seed=seed, n=n, epochs=epochs)
    write_folder(kept_at(folder, kind), reader.save_pretrained)
    held = drawn(kind, HELD, seed=seed + 1, split="test")
    q, poor = reader.probabilities(held.pixels)
    return {
        "right": (q.argmax(1) == held.target).astype(int),
        "poor": held.poor,
        "found": ((poor > 0.5) == held.poor).astype(int),
        "tones": list(held.tags),
        "target": held.target,
        "q": q.round(5),
    }


def kept_at(folder: str | Path, kind: str) -> Path:
    """Where a run keeps its reader of a kind; a name out of a file leads to no other folder."""
    return Path(folder) / "model" / (re.sub(r"[^\w -]", "_", kind) or "_")


def readers(folder: Path, kinds: Mapping[str, Sequence[str]]) -> tuple[dict[str, Reader], dict[str, Sight]]:
    """The readers of a run's folder and what is known of each; pages that are drawn here need no training.

    Args:
        folder: of the run.
        kinds: their classes by kind.

    Raises:
        FileNotFoundError: no reader of a kind there; the message says how to make one.
        ValueError: a reader of other classes.
    """
    made: dict[str, Any] = {}
    for kind, classes in kinds.items():
        at = kept_at(folder, kind)
        if not at.is_dir() and kind == read_page.kind and tuple(classes) == read_page.classes:
            made[kind] = read_page
            continue
        if not at.is_dir():
            hint = "a finished `polymodal run clinical_dialogue` has them in model/"
            raise FileNotFoundError(f"no reader of {kind}s at {at}: {hint}")
        made[kind] = PictureReader.from_pretrained(at)
        if tuple(classes) != made[kind].classes:
            other = f"{', '.join(made[kind].classes)}; the clinic has {', '.join(classes)}"
            raise ValueError(f"the reader of {kind}s at {at} knows {other}, in this order")
    sights = {
        kind: Sight(np.asarray(one.confusion[False]), np.asarray(one.confusion[True]), 0.3, one.prior)
        for kind, one in made.items()
    }
    return {kind: Remembered(one) for kind, one in made.items()}, sights


class Remembered:
    """A reader that reads a picture once: arms that are compared see the same one."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.kept = reader, dict[str, Reading]()

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Reading:
        """The reading, kept from the first time."""
        key = Image(image).digest()
        if key not in self.kept:
            self.kept[key] = self.reader(image)
        return self.kept[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How consultations are held: as `BayesDoctor` and `Consultation` have it."""

    turns: int = 10
    tau: float | None = 0.9
    epsilon: float = EPSILON
    weight: float = 0.0
    manner: Any = "plain"
    compat: bool = False


def consulted(
    clinic: Clinic,
    cases: Sequence[Case],
    known: tuple[Mapping[str, Reader], Mapping[str, Sight]],
    setting: Setting,
    *,
    arms: Sequence[str] = tuple(ARMS),
    seed: int,
) -> list[dict[str, Any]]:
    """Every case in every arm: a row each, the cases in order; `shuffled` shows the next case's artefacts.

    A row holds arm, case, whether the first diagnosis was right, the differential, what was asked, requested
    and taken again, `reason` where the consultation was cut, and the scores of `scored`.
    """
    rows = []
    for arm in arms:
        some = _changed(cases, arm)
        about = {"manner": setting.manner, "clinic": clinic, "compat": setting.compat}
        env = Consultation(some, **about)
        options: dict[str, Any] = {
            "readers": known[0],
            "sights": known[1],
            "turns": setting.turns,
            "tau": setting.tau,
            "epsilon": setting.epsilon,
        }
        options["turns"] = setting.turns + (len(known[0]) if arm == "blank" else 0)
        doctor = BayesDoctor(clinic, **{**options, "weight": setting.weight, **ARMS[arm]})
        for i, case in enumerate(cases):
            rows.append(
                {
                    "arm": arm,
                    "case": case.id,
                    "truth": case.diagnosis,
                    **_played(env, doctor, case, i, setting.turns, seed=seed),
                }
            )
    return rows


def _changed(cases: Sequence[Case], arm: str) -> list[Case]:
    if arm == "shuffled":
        others = [*cases[1:], cases[0]]
        return [replace(a, artefacts=b.artefacts) for a, b in zip(cases, others, strict=True)]
    if arm == "blank":
        return [replace(one, artefacts={kind: _blank(kind) for kind in one.artefacts}) for one in cases]
    return list(cases)


def _blank(kind: str) -> tuple[Shown, ...]:
    from polymodal.envs.artefacts import SIZES

    width, height = SIZES.get(kind, (64, 64))
    return (Shown(Image(np.full((height, width, 3), GREY, np.uint8))),) * 3


def _played(
    env: Consultation, doctor: BayesDoctor, case: Case, i: int, turns: int, *, seed: int
) -> dict[str, Any]:
    """The i-th of the room's cases before the doctor; `case` is that patient with artefacts of its own."""
    held, told = [], []
    for turn in play(env, doctor, seed=seed, limit=3 * turns + 9, options={"case": i}):
        held.append(turn)
        told.append(dict(doctor.differential))
    last, right = held[-1], sum(turn.reward for turn in held)
    count = {name: last.info[name] for name in ("asked", "requested", "retakes", "invalid", "leak")}
    found = {"right": right, "p": told[-1], **count, "reason": last.reason}
    return found | scored(case, held, told, env.clinic, shown=env.cases[i].artefacts)


def looked(cases: Sequence[Case], known: Mapping[str, Reader]) -> list[dict[str, Any]]:
    """Of every picture that was read: kind, its class and quality, and what the reader made of it."""
    rows = []
    for case in cases:
        for kind, reader in known.items():
            for shown in case.artefacts.get(kind, ()):
                try:
                    key = shown.image.digest() if shown.image else ""
                except MediaError:
                    continue
                reading = getattr(reader, "kept", {}).get(key)
                if reading is not None and shown.truth:
                    said = reading.classes[int(np.argmax(reading.q))] if reading.q else ""
                    about = {"kind": kind, "case": case.id, "truth": shown.truth, "poor": shown.poor}
                    rows.append(about | {"said": said, "told_poor": reading.poor > 0.5})
    return rows
