"""The verbs of `polymodal data`: look at a data set, or make one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.group import Verbs
from polymodal.cli.tables import draw

data = typer.Typer(
    cls=Verbs, help="Look at a data set, or make one.", no_args_is_help=True, rich_markup_mode=None
)


@data.command("check")
def data_check(
    path: Annotated[Path, typer.Argument(metavar="PATH")],
    columns: Annotated[str, typer.Option(help="Of feature tables: label:NAME,group:NAME.")] = "",
    quick: Annotated[bool, typer.Option(help="Leave out the checks that fit models.")] = False,
) -> None:
    """Audit a data set before anything trains; exit code 1 where something is an error."""
    from polymodal.envs import cases
    from polymodal.systems import sources

    if tables := cases.described(path):
        typer.echo(tables)
        if cases.detect(path) == "clinic":
            typer.echo("no cases: patients are drawn from the tables")
            return
    findings, summary = sources.check(path, columns, quick=quick)
    typer.echo(f"{summary.n} samples, {summary.invalid} invalid rows, {len(summary.groups)} groups")
    typer.echo(f"targets: {', '.join(f'{n} {kind}' for kind, n in summary.targets.items())}")
    if summary.classes:
        typer.echo(f"classes: {', '.join(f'{name} {n}' for name, n in summary.classes.most_common(20))}")
    for name, about in summary.parts.items():
        spans = [f"{key} {low:g} to {about.high[key]:g}" for key, low in about.low.items()]
        typer.echo(f"{name}: {about.readable} of {about.n} readable, {', '.join([*about.kinds, *spans])}")
    rows = [(f.severity, f.kind, f.where, str(f.n), "; ".join(f.evidence[:3])) for f in findings]
    draw(f"{len(rows)} findings" if rows else "nothing found", "severity,kind,where,n,evidence", rows)
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


@data.command("convert")
def data_convert(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A pickle in MMSA's or IEMOCAP_features' layout.")
    ],
    to: Annotated[Path, typer.Argument(metavar="TO", help="The folder to make.")],
) -> None:
    """Read NumPy arrays and plain containers out of a pickle (and nothing else); write a data set folder."""
    from polymodal.media import pickles
    from polymodal.runs.export.shards import write

    n = write(pickles.samples_of(pickles.load(file)), to, form="parquet")
    typer.echo(f"{n} samples in {to}; look at them with: polymodal data check {to}")
