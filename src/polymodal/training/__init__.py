"""Fitting and judging: splits, the loop, controls, baselines, the leak audit."""

from polymodal.training.controls import Condition, Control, standard, tabulate
from polymodal.training.ready import Ready, Statistics
from polymodal.training.splits import (
    Split,
    fingerprint,
    folds,
    grouped,
    leave_one_group_out,
    nested,
    official,
    random_folds,
    stratified,
)
from polymodal.training.table import Table

__all__ = [
    "Condition",
    "Control",
    "Ready",
    "Split",
    "Statistics",
    "Table",
    "fingerprint",
    "folds",
    "grouped",
    "leave_one_group_out",
    "nested",
    "official",
    "random_folds",
    "standard",
    "stratified",
    "tabulate",
]
