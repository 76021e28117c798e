"""Pictures of any known layout as samples, for `polymodal data check`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from polymodal.media import Invalid, Sample
from polymodal.systems.alignment.annotated import pictures
from polymodal.systems.alignment.pictures import Picture


def read(path: Path, columns: str = "") -> Iterator[Sample | Invalid]:
    """Each picture as a sample; `columns` changes nothing.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no known layout, with those that are known.
    """
    del columns
    return (row.sample() if isinstance(row, Picture) else row for row in pictures(path))
