"""Judge: cases and verdicts by rules, model rubrics and people; calibration and agreement."""
# ruff: isort: skip_file
# fmt: off

from polymodal.judge.asked import asked
from polymodal.judge.case import Case, Judge, Span, Verdict, blind, invalid, unjudged
from polymodal.judge.grid import Answer, CutShortError, Subject, answers, call_seed, case_of, verdicts
from polymodal.judge.panel import agreement, effective, panel
from polymodal.judge.question import Question
from polymodal.judge.rubric import Rubric, json_schema, load_rubric, read_rubric, score
from polymodal.judge.rule import Rule, choice, contains, equals, regex

__all__ = [
    "Answer", "Case", "CutShortError", "Judge", "Question", "Rubric", "Rule", "Span", "Subject",
    "Verdict", "agreement", "answers", "asked", "blind", "call_seed", "case_of", "choice", "contains",
    "effective", "equals", "invalid", "json_schema", "load_rubric", "panel", "read_rubric", "regex",
    "score", "unjudged", "verdicts",
]
