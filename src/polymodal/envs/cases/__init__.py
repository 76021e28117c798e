"""Cases from files: a clinic, its patients, published sets, pictures; for research only."""

from polymodal.envs.cases.found import described, detect, given, perception, read, samples, tables
from polymodal.envs.cases.lines import cases, learned
from polymodal.envs.cases.releases import Release, goals, release
from polymodal.envs.cases.saved import clinic, to_json

__all__ = [
    "Release",
    "cases",
    "clinic",
    "described",
    "detect",
    "given",
    "goals",
    "learned",
    "perception",
    "read",
    "release",
    "samples",
    "tables",
    "to_json",
]
