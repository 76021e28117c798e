"""Patients drawn by a clinic's tables, as arrays and as cases. For research, not for care."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from polymodal.envs.clinic.table import UNSURE, Case, Clinic, Shown

if TYPE_CHECKING:
    from polymodal.media import Image

BLOCK = 1024  # patients drawn at a time, whole, so that a patient does not depend on how many are asked for
TAKES = 3
UNWELL = "I do not feel well."  # whoever has none of the findings that can be a complaint

Draw = Callable[..., "Image"]
"""`(kind, class name, *, seed, poor, take)` to a picture; the seed is of the artefact, not of the take."""


class Patients(NamedTuple):
    """Patients as arrays; row i is the i-th case of `Generated` with the same seed."""

    disease: Int[np.ndarray, " n"]
    answers: Int[np.ndarray, "n j"]  # rows of `Clinic.answers`
    complaint: Int[np.ndarray, " n"]  # a yes/no finding that they have; -1 for those who have none
    classes: Int[np.ndarray, "n k"]
    poor: Bool[np.ndarray, "n k t"]


def drawn(clinic: Clinic, n: int, *, seed: int, poor: float = 0.30, takes: int = TAKES) -> Patients:
    """Patients by the clinic's tables: the complaint is one of the yes/no findings that they have, if any.

    Args:
        clinic: its tables.
        n: how many; a patient does not depend on it.
        seed: of the patients.
        poor: chance that a take of an artefact is of poor quality, each take anew.
        takes: of each artefact.

    Raises:
        ValueError: if n is not positive.
    """
    if n < 1:
        raise ValueError(f"at least one patient is needed, got n={n}")
    blocks = [_block(clinic, (seed, b), poor, takes) for b in range(-(-n // BLOCK))]
    return Patients(*(np.concatenate(parts)[:n] for parts in zip(*blocks, strict=True)))


class Generated:
    """Cases made when they are looked at, by index, a block of arrays in memory; see `patients`."""

    def __init__(
        self, clinic: Clinic, n: int, *, seed: int, poor: float, takes: int, draw: Draw | None
    ) -> None:
        if n < 1:
            raise ValueError(f"at least one patient is needed, got n={n}")
        self.clinic, self.n, self.seed, self.poor, self.takes, self.draw = clinic, n, seed, poor, takes, draw
        self._names = [finding.name for finding in clinic.findings]
        rows = len(clinic.answers) - 1
        self._values = [(*f.values, *[""] * (rows - len(f.values)), UNSURE) for f in clinic.findings]
        self._made: dict[int, Patients] = {}

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Case]:
        return (self[i] for i in range(self.n))

    def __getitem__(self, index: int, /) -> Case:
        if not 0 <= index < self.n:
            raise IndexError(f"patient {index}: there are {self.n:,}, counted from 0")
        b, i = divmod(index, BLOCK)
        if b not in self._made:
            self._made = {b: _block(self.clinic, (self.seed, b), self.poor, self.takes)}
        some, name = self._made[b], f"pocket-{self.seed}-{index}"
        complaint = self._names[some.complaint[i]] if some.complaint[i] >= 0 else ""
        said = [values[s] for values, s in zip(self._values, some.answers[i], strict=True)]
        return Case(
            id=name,
            diagnosis=self.clinic.diseases[some.disease[i]].name,
            initial=f"I came because of {complaint}." if complaint else UNWELL,
            complaint=complaint,
            findings=dict(zip(self._names, said, strict=True)),
            artefacts=Takes(self.clinic, some.classes[i], some.poor[i], self.draw, (self.seed, index)),
            group=name,
        )


def patients(
    clinic: Clinic, n: int, *, seed: int, poor: float = 0.30, takes: int = TAKES, draw: Draw | None = None
) -> Generated:
    """The patients of `drawn` as cases.

    Args:
        clinic: its tables.
        n: how many.
        seed: of the patients.
        poor: chance of a poor take.
        takes: of each artefact.
        draw: makes the pictures when a kind is first looked at; without it there are none, but truths.
    """
    return Generated(clinic, n, seed=seed, poor=poor, takes=takes, draw=draw)


class Takes(Mapping[str, tuple[Shown, ...]]):
    """A patient's artefacts by kind; the pictures of a kind are drawn when it is first looked at."""

    def __init__(
        self,
        clinic: Clinic,
        classes: Int[np.ndarray, " k"],
        poor: Bool[np.ndarray, "k t"],
        draw: Draw | None,
        key: tuple[int, int],
    ) -> None:
        self._rows = {one.kind: k for k, one in enumerate(clinic.artefacts)}
        self._truth = [one.classes[c] for one, c in zip(clinic.artefacts, classes, strict=True)]
        self._poor, self._draw, self._key = poor, draw, key
        self._made: dict[str, tuple[Shown, ...]] = {}

    def __getitem__(self, kind: str) -> tuple[Shown, ...]:
        if kind not in self._made:
            k = self._rows[kind]
            self._made[kind] = tuple(self._take(kind, k, t) for t in range(self._poor.shape[1]))
        return self._made[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def _take(self, kind: str, k: int, t: int) -> Shown:
        truth, poor = self._truth[k], bool(self._poor[k, t])
        if self._draw is None:
            return Shown(None, truth, poor)
        seed = int(np.random.SeedSequence((*self._key, k)).generate_state(1)[0])
        return Shown(self._draw(kind, truth, seed=seed, poor=poor, take=t), truth, poor)


def _block(clinic: Clinic, key: tuple[int, int], poor: float, takes: int) -> Patients:
    rng = np.random.default_rng(key)
    disease = rng.choice(len(clinic.diseases), size=BLOCK, p=clinic.prior)
    answers = _pick(rng, np.moveaxis(clinic.answers, 0, -1)[disease])
    shown = [_pick(rng, clinic.shows[one.kind][disease]) for one in clinic.artefacts]
    classes = np.stack(shown, axis=1) if shown else np.zeros((BLOCK, 0), int)
    worn = rng.random((BLOCK, len(clinic.artefacts), takes)) < poor
    plain = np.array([one.values == ("yes", "no") for one in clinic.findings])
    order = np.where(answers == 0, rng.random(answers.shape), -1.0)
    wanted = np.where(plain, order, -2.0)
    complaint = np.where(wanted.max(axis=1) >= 0, wanted.argmax(axis=1), -1)
    return Patients(disease, answers, complaint, classes, worn)


def _pick(rng: np.random.Generator, chances: Float[np.ndarray, "*shape c"]) -> Int[np.ndarray, "*shape"]:
    """A position by each row of chances."""
    u = rng.random(chances.shape[:-1])[..., None]
    return np.asarray((u >= chances.cumsum(axis=-1)[..., :-1]).sum(axis=-1))
