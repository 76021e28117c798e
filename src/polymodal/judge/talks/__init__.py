"""Talks: a model talked through, or led on with backtracking; what is kept of it, and its figures."""

from polymodal.judge.talks.figures import Figures, survival
from polymodal.judge.talks.kept import (
    REPLY,
    digest,
    exhibit,
    judged,
    packed,
    replies,
    steady,
    summed,
    unpacked,
)
from polymodal.judge.talks.lead import Led, lead, replayed
from polymodal.judge.talks.ready import lines, made, ready
from polymodal.judge.talks.talk import converse, script, turns_of, untagged

__all__ = [
    "REPLY",
    "Figures",
    "Led",
    "converse",
    "digest",
    "exhibit",
    "judged",
    "lead",
    "lines",
    "made",
    "packed",
    "ready",
    "replayed",
    "replies",
    "script",
    "steady",
    "summed",
    "survival",
    "turns_of",
    "unpacked",
    "untagged",
]
