"""What a doctor can do in a consultation, one frozen record each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ask:
    """A question, in words; `finding` names the finding that it is about, where the doctor knows the table."""

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
