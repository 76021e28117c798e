"""Run records: everything a run writes, resumes from, is compared by and shows."""

from polymodal.runs.executor import EXECUTORS, JobError
from polymodal.runs.record import Run, passing
from polymodal.runs.result import Result, RunError, model_of, newest, read_result

__all__ = [
    "EXECUTORS",
    "JobError",
    "Result",
    "Run",
    "RunError",
    "model_of",
    "newest",
    "passing",
    "read_result",
]
