"""The verbs. The only file that prints."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polymodal.systems import shelf

if TYPE_CHECKING:
    from polymodal.media import Finding, Invalid, Sample
    from polymodal.metrics import Estimate

app = typer.Typer(
    help="A workbench for models that see, read, listen and act: a number never travels alone.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Look at a data set, or make one.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data, name="data")

Options = Annotated[list[str] | None, typer.Option("-o", metavar="KEY=VALUE", help="Change one field.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="A run's folder, as `run` named it.")]


def main() -> None:
    """The entry point: what a person did wrong is one line on stderr and exit code 2."""
    # a wrong word, path or file is the person's to mend; anything else keeps its traceback
    try:
        app()
    except (LookupError, ValueError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("POLYMODAL_TRACEBACK"):
            raise
        typer.echo(f"polymodal: {_said(error)}", err=True)
        sys.exit(2)


def _said(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return f'{error.name} is not installed; install it with: pip install "polymodal[{EXTRAS[error.name]}]"'
    return str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)


EXTRAS = {
    "torch": "nn",
    "accelerate": "nn",
    "einops": "nn",
    "safetensors": "nn",
    "huggingface_hub": "nn",
    "transformers": "nn",
    "ray": "scale",
}


@app.command("list")
def list_systems() -> None:
    """The systems on the shelf."""
    for name in shelf.known():
        page = shelf.page(name)
        typer.echo(f"{page.job:<6} {name:<22} {page.title}")


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """A system's page, and what can be turned."""
    page = shelf.page(name)
    typer.echo(f"{page.name} ({', '.join(page.aliases) or 'no alias'})\n\n{page.text}\n\nOptions (-o KEY=VALUE):")
    recipe = shelf.load(name)
    tiny, full = vars_of(recipe.tiny()), vars_of(recipe.full())
    for key in tiny:
        typer.echo(f"  {key:<12} tiny {tiny[key]!s:<12} full {full[key]!s}")


def vars_of(config: Any) -> dict[str, Any]:
    """A Config as a plain dict."""
    return {field: getattr(config, field) for field in config.__dataclass_fields__}


@app.command()
def run(
    name: Annotated[str, typer.Argument(metavar="NAME[:tiny|full]")],
    o: Options = None,
    resume: Annotated[Path | None, typer.Option(metavar="OUT", help="Go on with a killed run.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds (the field `seeds`).")] = None,
    accept: Annotated[list[str] | None, typer.Option(metavar="KIND", help="Go on past this audit error.")] = None,
    executor: Annotated[str | None, typer.Option(help="inline, process or ray; by default the cores decide.")] = None,
    out: Annotated[Path, typer.Option(help="Where run folders are made.")] = Path("out"),
) -> None:
    """Run a system; print its estimates and claims, and where the report is."""
    from polymodal.runs import Run, report

    system, _, setting = name.partition(":")
    options = dict(_pair(text) for text in o or ())
    if seeds is not None:
        options["seeds"] = str(seeds)
    system = shelf.resolve(system)
    recipe = shelf.load(system)
    with live() as watch, ranked(out, resume) as (root, earlier):
        if earlier is not None:
            record = Run.resume(earlier, watch=watch)
            if record.system != system:
                raise ValueError(f"{resume} is a run of {record.system}, not of {system}")
            config = shelf.override(recipe.Config(**record.config), options)
        else:
            config = shelf.configure(recipe, setting or "tiny", options)
            record = Run.create(system, vars_of(config), root=root, watch=watch)
        record.executor = executor or ("process" if (os.cpu_count() or 1) > 1 and "RANK" not in os.environ else "inline")
        record.accept = tuple(accept or ())
        record.matches(vars_of(config))
        recipe.run(config, record)
        page = report(record.folder)
    if int(os.environ.get("RANK", "0")) == 0:
        _result(record.folder)
        typer.echo(f"\nreport: {page}")


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"-o {text}: expected KEY=VALUE")
    return key, value
