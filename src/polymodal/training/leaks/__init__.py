"""Leaks: what in a data set would make a score too good, looked for before anything trains."""

from polymodal.training.leaks.audit import audit

__all__ = ["audit"]
