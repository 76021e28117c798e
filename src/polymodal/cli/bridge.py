"""The verb `inspect-log`: a run as a log for Inspect's viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect_log(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A run's folder, as `run` named it.")],
    to: Annotated[Path, typer.Argument(metavar="TO", help="The folder of Inspect's logs.")],
) -> None:
    """Write a run's conversations, verdicts and estimates as a log of Inspect's."""
    from polymodal.systems.inspection import write_log

    typer.echo(f"log: {write_log(folder, to)}\nlook at it with: inspect view start --log-dir {to}")
