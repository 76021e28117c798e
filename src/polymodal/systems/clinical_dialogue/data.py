"""The pocket clinic: invented diseases with planted structure. For research, not care."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodal.envs.artefacts import KINDS
from polymodal.envs.clinic import Artefact, Clinic, Disease, Finding

DEPARTMENTS = ("skin", "heart", "blood")
DISEASES = (  # three departments x three histories x two patterns, in this order
    "Orvane fever", "Orvane rash", "Telmic itch", "Telmic scald", "Brusk patch", "Brusk mottle",
    "Halden flutter", "Halden pause", "Corvin race", "Corvin drift", "Ister murmur", "Ister lull",
    "Quenby thirst", "Quenby pallor", "Marrow of Sile", "Wane of Sile", "Dorrin fatigue", "Dorrin chill",
)  # fmt: skip
PROFILES = (  # two findings for each department and history
    ("itching at night", "burning after sun"), ("dry palms", "cracked lips"), ("warm ears", "peeling heels"),
    ("waking at dawn", "cold fingertips"), ("humming in the ears", "heavy calves"),
    ("short breath on stairs", "tight shoulders"), ("craving for salt", "bitter taste"),
    ("bruises without a knock", "pale gums"), ("shivering at noon", "stiff knees"),
)  # fmt: skip
SHARED = (  # two findings for each department
    ("a change of the skin", "sore skin"), ("a racing heart", "dizziness"), ("thirst", "tiredness"),
)  # fmt: skip
NOISE = (
    "headache", "a blocked nose", "poor appetite", "a dry cough", "hiccups", "a sore throat", "yawning",
    "watery eyes", "back ache", "a rumbling stomach", "restless sleep", "sneezing",
)  # fmt: skip
OWN = ((0.01, 0.48, 0.48, 0.015, 0.015), (0.01, 0.015, 0.015, 0.48, 0.48))  # by pattern
OTHER = (0.92, 0.02, 0.02, 0.02, 0.02)
CHECKLIST = (  # of a history, whatever the complaint; own words
    "What brings you here today, and when did it begin?",
    "How old are you, and are you a man or a woman?",
    "What else have you noticed besides this complaint?",
    "Has it become better or worse over time?",
    "Have you any pain, and where?",
    "Have you had fever, chills or sweating?",
    "Have you lost or gained weight, or your appetite?",
    "Have you felt tired or weak?",
    "Have you been short of breath, or coughed?",
    "Have you had nausea, vomiting or diarrhea?",
    "Have you had headaches, dizziness, or trouble with seeing?",
    "Have you noticed any rash or change of the skin?",
    "Have you had trouble with passing water?",
    "Which illnesses have you had in the past, and which operations?",
    "Which medicines or tablets do you take?",
    "Have you any allergies?",
    "Do you smoke, drink alcohol, or use drugs?",
    "What is your work, and how do you live?",
    "Is there any illness in your family, in parents or siblings?",
    "Have you travelled, or been in contact with sick people?",
)


def pocket(*, unsure: float = 0.10, kinds: Sequence[Artefact] = KINDS) -> Clinic:
    """The clinic of the pocket experiment: 18 diseases, 36 findings, 3 kinds of artefact.

    A disease is a department, a history and a pattern. The history shows in what is asked, the pattern only
    in the artefact of the disease's own department, so that neither is enough alone.

    Args:
        unsure: chance that a patient is not sure, of any finding.
        kinds: the artefacts, one a department, each with five classes, the normal one first.
    """
    department, history, pattern = (i.ravel() for i in np.indices((3, 3, 2)))
    chance = np.full((len(DISEASES), 36), 0.30)
    chance[:, :18] = np.where((department * 3 + history)[:, None] == np.arange(18) // 2, 0.85, 0.08)
    chance[:, 18:24] = np.where(department[:, None] == np.arange(6) // 2, 0.80, 0.10)
    answers = np.stack([(1 - unsure) * chance, (1 - unsure) * (1 - chance), np.full_like(chance, unsure)])
    shows = {
        kind.kind: np.where((department == k)[:, None], np.array(OWN)[pattern], OTHER)
        for k, kind in enumerate(kinds)
    }
    names = [name for pair in (*PROFILES, *SHARED) for name in pair] + list(NOISE)
    return Clinic(
        diseases=tuple(Disease(name, 1 / len(DISEASES)) for name in DISEASES),
        findings=tuple(Finding(name, f"Have you noticed {name}?") for name in names),
        artefacts=tuple(kinds),
        answers=answers,
        shows=shows,
    )
