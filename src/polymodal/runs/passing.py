"""A run that nobody keeps, for processes that only take part."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from polymodal.runs.atomic import PARTIAL


@contextmanager
def passing(earlier: Path | None = None) -> Iterator[tuple[Path, Path | None]]:
    """Give a root for a run that nobody keeps, such as those of torchrun's ranks other than 0.

    Args:
        earlier: a run that is being resumed; the passing one knows the same finished work.

    Yields:
        The temporary root, and the passing copy of `earlier` in it.
    """
    with TemporaryDirectory() as folder:
        copy = None
        if earlier is not None:
            copy = Path(folder) / Path(earlier).name
            shutil.copytree(
                earlier, copy, ignore=shutil.ignore_patterns(PARTIAL + "*", "media", "report", "model")
            )
        yield Path(folder), copy
