"""Talks: a model talked through or led on; what is kept of it, and its figures."""
# ruff: isort: skip_file
# fmt: off

from polymodal.judge.talks.figures import Figures, survival
from polymodal.judge.talks.kept import (
    REPLY, columns, digest, exhibit, judged, packed, replies, steady, summed, troubles, unpacked,
)
from polymodal.judge.talks.lead import Led, again, lead, led, replayed
from polymodal.judge.talks.ready import MARK, lines, made, merged, people, pictures, ready
from polymodal.judge.talks.talk import converse, script, turns_of, untagged

__all__ = [
    "MARK", "REPLY", "Figures", "Led", "again", "columns", "converse", "digest", "exhibit", "judged",
    "lead", "led", "lines", "made", "merged", "packed", "people", "pictures", "ready", "replayed",
    "replies", "script", "steady", "summed", "survival", "troubles", "turns_of", "unpacked", "untagged",
]
