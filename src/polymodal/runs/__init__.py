"""Run records: everything a run writes, resumes from, is compared by and shows."""

from polymodal.runs.cache import Cache
from polymodal.runs.compare import Compared, Comparison, compare
from polymodal.runs.executor import JobError
from polymodal.runs.export.shards import write
from polymodal.runs.pages.report import report
from polymodal.runs.passing import passing
from polymodal.runs.record import Run
from polymodal.runs.result import Result, RunError, model_of, newest, read_result

__all__ = [
    "Cache",
    "Compared",
    "Comparison",
    "JobError",
    "Result",
    "Run",
    "RunError",
    "compare",
    "model_of",
    "newest",
    "passing",
    "read_result",
    "report",
    "write",
]
