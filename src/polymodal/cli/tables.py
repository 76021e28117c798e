"""Tables that people read: estimates, claims, findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from polymodal.metrics import Estimate


def draw(title: str, headings: str, rows: Iterable[Iterable[str]]) -> None:
    """A table; cells are text, never markup, because data and models write some of them."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console.width = 160
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in headings.split(","):
        table.add_column(heading, overflow="fold", justify="right" if heading in NUMBERS else "left")
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    console.print(table)


NUMBERS = ("mean", "n", "groups", "expected", "first", "second", "difference", "pairs", "p (Holm)")
COLOURS = {
    "reproduced": "green",
    "not reproduced": "red",
    "undetermined": "yellow",
    "error": "red",
    "warning": "yellow",
}


def outcome(folder: Path) -> None:
    """The tables of a finished run: estimates, claims, and what the audit found."""
    from polymodal.runs import read_result

    result = read_result(folder)
    legend = result.sections.get("legend", {})
    rows = [
        (
            name,
            *cells(found),
            legend.get(name, {}).get("role", ""),
            number(legend.get(name, {}).get("expected")),
        )
        for name, found in result.estimates.items()
        if not legend.get(name, {}).get("minor")
    ]
    draw(f"{result.system}: estimates, 95 % intervals", ",mean,interval,n,groups,role,expected", rows)
    if folded := len(result.estimates) - len(rows):
        typer.echo(f"{folded} more scores are in result.json and in the report's tables")
    rulings(result.claims)
    found = result.sections.get("findings", [])
    if found:
        draw(
            "audit",
            "severity,kind,where,n",
            [(f["severity"], f["kind"], f["where"], str(f["n"])) for f in found],
        )


def cells(estimate: Estimate) -> tuple[str, str, str, str]:
    """Mean, interval, count and groups of an estimate, as text."""
    groups = "" if estimate.n_groups is None else str(estimate.n_groups)
    valid = str(estimate.n) if estimate.n == estimate.n_valid else f"{estimate.n_valid} of {estimate.n}"
    return number(estimate.mean), f"[{number(estimate.low)}, {number(estimate.high)}]", valid, groups


def number(value: float | None) -> str:
    """Four decimals; nothing for None."""
    return "" if value is None else f"{value:.4f}"


def rulings(given: Iterable[Mapping[str, str]]) -> None:
    """The table of claims with their verdicts."""
    rows = [(one["verdict"], one["text"], one["paper"], one["evidence"]) for one in given]
    draw("claims", "verdict,claim,paper,evidence", rows)


def progress() -> Progress:
    """A bar on a terminal's stderr, a context; silent elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    wide = TextColumn("{task.description:<46.46}")
    columns = wide, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=console, disable=not console.is_terminal)
