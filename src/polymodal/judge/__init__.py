"""Judge: cases and verdicts by rules, model rubrics and people; calibration and agreement."""
# ruff: isort: skip_file
# fmt: off

from polymodal.judge.case import Case, Judge, Span, Verdict, blind
from polymodal.judge.question import Question
from polymodal.judge.rubric import Rubric, json_schema, load_rubric, read_rubric, score

__all__ = [
    "Case", "Judge", "Question", "Rubric", "Span", "Verdict", "blind", "json_schema", "load_rubric",
    "read_rubric", "score",
]
