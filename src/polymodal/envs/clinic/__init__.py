"""A simulated clinic, for research, not for care: diseases, findings, patients."""

from polymodal.envs.clinic.actions import (
    Action,
    Answer,
    Ask,
    Close,
    Heard,
    Patient,
    Plan,
    Present,
    Reader,
    Reading,
    Request,
    Retake,
    Sign,
)
from polymodal.envs.clinic.table import UNSURE, Artefact, Case, Clinic, Disease, Finding, Shown

# fmt: off
__all__ = [
    "UNSURE", "Action", "Answer", "Artefact", "Ask", "Case", "Clinic", "Close", "Disease", "Finding", "Heard",
    "Patient", "Plan", "Present", "Reader", "Reading", "Request", "Retake", "Shown", "Sign",
]
# fmt: on
