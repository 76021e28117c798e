"""A simulated clinic, for research and not for care: diseases, findings, patients and what they can show."""

from polymodal.envs.clinic.actions import Action, Ask, Close, Plan, Present, Request, Retake
from polymodal.envs.clinic.table import UNSURE, Artefact, Case, Clinic, Disease, Finding, Shown

# fmt: off
__all__ = [
    "UNSURE", "Action", "Artefact", "Ask", "Case", "Clinic", "Close", "Disease", "Finding", "Plan", "Present",
    "Request", "Retake", "Shown",
]
# fmt: on
