"""A run as a page: sections, charts, media and the static report."""

from polymodal.runs.pages.exhibit import exhibit, read_back
from polymodal.runs.pages.report import report

__all__ = ["exhibit", "read_back", "report"]
