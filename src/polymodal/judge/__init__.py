"""Judge: cases and verdicts by rules, model rubrics and people; calibration and agreement."""

from polymodal.judge.case import Case, Judge, Span, Verdict, blind

__all__ = ["Case", "Judge", "Span", "Verdict", "blind"]
