"""A clinic's tables, checked; and the cases that come to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from polymodal.media import Image

UNSURE = "not sure"  # what a patient may say to any question; what a reading that failed amounts to


@dataclass(frozen=True, slots=True)
class Disease:
    """What may be the matter. `severity` 1 is the worst (as in DDXPlus), 0 unknown."""

    name: str
    prior: float
    severity: int = 0
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What can be asked.

    Attributes:
        name: of the finding, as in cases.
        question: as it is put to a patient.
        values: that it may have, besides UNSURE.
        cost: of asking, in questions.
        guards: diseases for which it is a red flag; none for most.
    """

    name: str
    question: str
    values: tuple[str, ...] = ("yes", "no")
    cost: float = 1.0
    guards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Artefact:
    """A kind of thing that a patient can show (lesion, trace, page), and the classes it falls in."""

    kind: str
    classes: tuple[str, ...]
    cost: float = 1.0


@dataclass(frozen=True, slots=True)
class Clinic:
    """Diseases, findings and artefacts, and how often each shows.

    Attributes:
        diseases: in the order of the tables' rows.
        findings: in the order of the tables' columns.
        artefacts: by order; their tables are in `shows`.
        answers: P(answer s | disease d) of finding j. Answers are in the order of `Finding.values`; the last
            row s is UNSURE; where a finding has fewer values, the rows between are 0. Sums to 1 over s.
        shows: by kind, P(class c | disease d). Sums to 1 over c.

    Raises:
        ValueError: names given twice (aliases too), probabilities outside [0, 1], priors or rows that do not
            sum to 1 (within 1e-6), tables of another shape: named by disease and finding.
    """

    diseases: tuple[Disease, ...]
    findings: tuple[Finding, ...]
    artefacts: tuple[Artefact, ...]
    answers: Float[np.ndarray, "s d j"]
    shows: Mapping[str, Float[np.ndarray, "d c"]]

    @property
    def prior(self) -> Float[np.ndarray, " d"]:
        """P(disease)."""
        return np.array([one.prior for one in self.diseases])


@dataclass(frozen=True, slots=True)
class Shown:
    """One take of an artefact.

    Attributes:
        image: what the doctor sees; None where the take could not be made, told as "could not be read".
        truth: its class, for scoring only; "" where it is not known.
        poor: whether the take is of poor quality, for scoring only; None where it is not known.
    """

    image: Image | None
    truth: str = ""
    poor: bool | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A patient.

    Attributes:
        id: of the case, unique in its set.
        diagnosis: what is the matter; never told.
        initial: the complaint, as the patient opens with it.
        complaint: the finding that `initial` tells of, where it is one of the table.
        findings: the patient's answer to each finding of a table, a value or UNSURE.
        artefacts: by kind, the takes in order: a retake is answered with the next one.
        told: by section (history, symptoms, social, …), the sentences that a written case gives the patient.
        results: by name, what tests and examinations found, in words; told to the doctor on request.
        group: what must not be split: cases of one diagnosis, or one patient's visits.
        split: train, val, test or "".
        differential: a reference differential, where there is one.
        tags: anything else that is known: skin tone, department, leak.
    """

    id: str
    diagnosis: str
    initial: str
    complaint: str = ""
    findings: Mapping[str, str] = field(default_factory=dict)
    artefacts: Mapping[str, tuple[Shown, ...]] = field(default_factory=dict)
    told: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    split: str = ""
    differential: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
