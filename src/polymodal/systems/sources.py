"""Any data set that some system can read, by path: its samples, and the whole check of it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from polymodal.systems import shelf

if TYPE_CHECKING:
    from polymodal.media import Invalid, Sample
    from polymodal.media.check import Finding, Summary


def read(path: Path, columns: str = "") -> Iterator[Sample | Invalid]:
    """Samples of whatever lies at `path`: cases of patients, or what the first system's readers know.

    Args:
        path: a folder or file.
        columns: which columns of feature tables are what, `label:NAME,group:NAME`.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no system knows the layout; the message lists the known ones.
    """
    from polymodal.envs.cases import found

    try:
        return found.samples(path)  # first: it knows its layouts by their files' names
    except ValueError:
        refusal: ValueError | None = None
    for name in shelf.known():
        if importlib.util.find_spec(f"polymodal.systems.{name}.readers") is None:
            continue
        reader = getattr(importlib.import_module(f"polymodal.systems.{name}.readers"), "read", None)
        if reader is None:  # readers of something else than data sets
            continue
        try:
            rows: Iterator[Sample | Invalid] = reader(path, columns)
        except ValueError as error:
            refusal = refusal or error
        else:
            return rows
    more = "".join(f"\n  {layout}" for layout in (*found.LAYOUTS.values(), *found.PICTURES.values()))
    raise ValueError(f"{refusal or f'{path}: no system reads data'}{more}") from refusal


def check(path: Path, columns: str = "", *, quick: bool = False) -> tuple[list[Finding], Summary]:
    """Everything that can be said of a data set before it trains.

    Media and duplicates (`media.check`), columns and classes (`training.leaks.columns`), and where the
    samples name an official split, the leak audit of that split, or why it is none.

    Args:
        path: a folder or file that `read` knows.
        columns: as for `read`.
        quick: leave out the checks that fit forests and regressions.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no known layout.
    """
    from polymodal.media import Sample
    from polymodal.media.check import Finding
    from polymodal.media.check import check as look_through
    from polymodal.training import official
    from polymodal.training.leaks import audit
    from polymodal.training.leaks.columns import columns as look

    kept: list[Sample] = []

    def passing() -> Iterator[Sample | Invalid]:
        for row in read(path, columns):
            if isinstance(row, Sample):
                kept.append(row)
            yield row

    findings, summary = look_through(passing())
    findings += look(kept)
    if any("split" in sample.tags for sample in kept):
        try:
            split = official(kept, seed=0)
        except ValueError as error:  # such as a set that has no test side
            findings.append(Finding("official split", "warning", "split", 1, (str(error),)))
        else:
            findings += audit(kept, split, seed=0, costly=not quick)
    rank = ("error", "warning", "note")
    once = {(one.kind, one.where): one for one in findings}  # the audit repeats some of the columns' checks
    return sorted(once.values(), key=lambda one: rank.index(one.severity)), summary
