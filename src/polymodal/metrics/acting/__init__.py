"""Scores of episodes: what a consultation found, asked and claimed."""
# ruff: isort: skip_file
# fmt: off

from polymodal.metrics.acting.diagnosis import (
    Overlap, calibrated, confirm, covered, differentials, explore, gtpa, matrix, overlap, progress,
    question_yield, rank, top_k, trajectory, unsupported,
)

__all__ = [
    "Overlap", "calibrated", "confirm", "covered", "differentials", "explore", "gtpa", "matrix", "overlap",
    "progress", "question_yield", "rank", "top_k", "trajectory", "unsupported",
]
