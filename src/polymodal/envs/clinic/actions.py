"""What a doctor can do in a consultation, one frozen record each; and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypedDict

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from polymodal.envs.clinic.table import Case


@dataclass(frozen=True, slots=True)
class Ask:
    """A question, in words; `finding` names what it is about, where the doctor knows the clinic's table."""

    text: str
    finding: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """Asks to be shown an artefact of a kind, or for a test or an examination by its name."""

    kind: str


@dataclass(frozen=True, slots=True)
class Retake:
    """Asks for another take of an artefact that was shown."""

    kind: str


@dataclass(frozen=True, slots=True)
class Present:
    """Tells the differential: diagnoses with their probabilities, likeliest first."""

    differential: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Tells the plan, and the passages it rests on."""

    text: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Close:
    """Ends the consultation."""


Action = Ask | Request | Retake | Present | Plan | Close


class Heard(TypedDict):
    """An observation: what the doctor hears and sees.

    `said` is the patient's words or a result; `finding` and `value` repeat a table patient's answer, else "";
    `kind` names the artefact in `image`, which is 0 x 0 where nothing is shown or it could not be read.
    """

    said: str
    finding: str
    value: str
    kind: str
    image: UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A patient's answer: the words, and for a table patient the value of the finding that was asked for."""

    text: str
    value: str = ""


class Patient(Protocol):
    """Who answers a question: the table, sentences of a written case, a model or a person.

    A pure function of what it is given: who asks for the `n`-th time may hear something else.
    """

    def __call__(self, case: Case, ask: Ask, *, seed: int, n: int) -> Answer:
        """The answer to a question that is put for the n-th time (from 0)."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What a reader saw: a finding, its value, its box (left, top, right, bottom in pixels), the words."""

    name: str
    value: str
    box: tuple[int, int, int, int]
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader makes of an artefact.

    Attributes:
        kind: of the artefact.
        classes: of the kind, in the clinic's order.
        q: calibrated P(class | image); empty where the reading failed, which is UNSURE and never a guess.
        poor: P(the take is of poor quality).
        signs: findings with their places.
    """

    kind: str
    classes: tuple[str, ...]
    q: tuple[float, ...]
    poor: float = 0.0
    signs: tuple[Sign, ...] = ()


class Reader(Protocol):
    """Reads an artefact's pixels."""

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Reading:
        """The reading."""
