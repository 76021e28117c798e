"""The verbs. The only file that prints."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from polymodal.systems import shelf

if TYPE_CHECKING:
    from polymodal.media import Invalid, Sample
    from polymodal.metrics import Estimate


class Verbs(TyperGroup):
    """Verbs, and for a wrong one the verbs that are known."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb; a wrong one is answered with what is known."""
        if self.get_command(ctx, args[0]) is None:
            raise LookupError(f"verb {shelf.suggest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Verbs,
    help="A workbench for models that see, read, listen and act: a number never travels alone.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data = typer.Typer(
    cls=Verbs, help="Look at a data set, or make one.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data, name="data")

Options = Annotated[list[str] | None, typer.Option("-o", metavar="KEY=VALUE", help="Change one field.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="A run's folder, as `run` named it.")]


def main() -> None:
    """The entry point: what a person did wrong is one line on stderr and exit code 2."""
    try:
        app()
    except Exception as error:
        if os.environ.get("POLYMODAL_TRACEBACK") or not _theirs(error):
            raise
        typer.echo(f"polymodal: {_said(error)}", err=True)
        sys.exit(2)


def _theirs(error: Exception) -> bool:
    """A wrong word, path or file is the person's to mend; anything else is ours and keeps its traceback."""
    if type(error) is LookupError or isinstance(error, ValueError | OSError | ModuleNotFoundError):
        return True
    from polymodal.runs import JobError

    return isinstance(error, JobError)


def _said(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return (
            f'{error.name} is not installed; install it with: pip install "polymodal[{EXTRAS[error.name]}]"'
        )
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
    typer.echo(
        f"{page.name} ({', '.join(page.aliases) or 'no alias'})\n\n{page.text}\n\nOptions (-o KEY=VALUE):"
    )
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
    accept: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Go on past this audit error.")
    ] = None,
    executor: Annotated[
        str | None, typer.Option(help="inline, process or ray; by default the cores decide.")
    ] = None,
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
            config = shelf.override(shelf.restored(recipe, record.config), options)
        else:
            config = shelf.configure(recipe, setting or "tiny", options)
            record = Run.create(system, vars_of(config), root=root, watch=watch, accept=accept or ())
        record.executor = executor or (
            "process" if (os.cpu_count() or 1) > 1 and "RANK" not in os.environ else "inline"
        )
        record.accept = tuple(accept or record.accept)
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


@contextmanager
def ranked(out: Path, resume: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """The run's places; under torchrun rank 0 keeps what it writes, the others write to a passing folder."""
    if int(os.environ.get("RANK", "0")) == 0:
        yield out, resume
        return
    from polymodal.runs import passing

    with passing(resume) as places:
        yield places


@contextmanager
def live() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A line of live progress on a terminal; plain lines, one a minute at most, elsewhere."""
    if int(os.environ.get("RANK", "0")):
        yield lambda event: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<46.46}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def watch(event: Mapping[str, Any]) -> None:
            if event["kind"] == "note":
                console.print(f"[dim]{event['text']}[/dim]")
            elif event["kind"] == "progress":
                name = str(event["name"])
                task = tasks.setdefault(name, bar.add_task(name, total=event["of"]))
                bar.update(task, completed=event["n"], description=f"{name} · {event.get('key', '')}")

        yield watch


def _draw(title: str, headings: str, rows: Iterable[Iterable[str]]) -> None:
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


def _result(folder: Path) -> None:
    """The tables of a finished run: estimates, claims, and what the audit found."""
    from polymodal.runs import read_result

    result = read_result(folder)
    legend = result.sections.get("legend", {})
    rows = [
        (
            name,
            *_cells(found),
            legend.get(name, {}).get("role", ""),
            _number(legend.get(name, {}).get("expected")),
        )
        for name, found in result.estimates.items()
    ]
    _draw(f"{result.system}: estimates, 95 % intervals", ",mean,interval,n,groups,role,expected", rows)
    _claims(result.claims)
    found = result.sections.get("findings", [])
    if found:
        _draw(
            "audit",
            "severity,kind,where,n",
            [(f["severity"], f["kind"], f["where"], str(f["n"])) for f in found],
        )


def _cells(estimate: Estimate) -> tuple[str, str, str, str]:
    groups = "" if estimate.n_groups is None else str(estimate.n_groups)
    valid = str(estimate.n) if estimate.n == estimate.n_valid else f"{estimate.n_valid} of {estimate.n}"
    return _number(estimate.mean), f"[{_number(estimate.low)}, {_number(estimate.high)}]", valid, groups


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _claims(rulings: Iterable[Mapping[str, str]]) -> None:
    rows = [(one["verdict"], one["text"], one["paper"], one["evidence"]) for one in rulings]
    _draw("claims", "verdict,claim,paper,evidence", rows)


@app.command()
def claims(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None, out: Path = Path("out")
) -> None:
    """The claims of a system (or all), with the verdicts of its newest finished run."""
    from polymodal.runs import newest, read_result

    for system in [shelf.resolve(name)] if name else shelf.known():
        folder = newest(system, out)
        typer.echo(f"{system}: " + (f"verdicts of {folder}" if folder else f"not run yet under {out}/"))
        waiting = [
            {"verdict": "not run", "text": claim.text, "paper": claim.paper, "evidence": ""}
            for claim in shelf.load(system).CLAIMS
        ]
        _claims(read_result(folder).claims if folder else waiting)


@app.command()
def report(folder: Out) -> None:
    """Make a run's report again; prints where it is."""
    from polymodal.runs import report as make

    typer.echo(make(folder))


@app.command()
def compare(first: Out, second: Out, metric: str = "") -> None:
    """Two runs, sample by sample: paired differences (second - first) with intervals and tests."""
    from polymodal.runs import compare as pair

    comparison = pair(first, second, metric=metric)
    rows = [
        (row.name, _number(row.first), _number(row.second), *_cells(row.difference)[:3], _number(row.p))
        for row in comparison.rows
    ]
    _draw(
        f"{comparison.metric}: second - first, paired",
        ",first,second,difference,interval,pairs,p (Holm)",
        rows,
    )
    for note in comparison.notes:
        typer.echo(note)


@app.command()
def predict(
    folder: Out,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="A data set, or media; one stem is one sample.")
    ],
    missing: Annotated[str, typer.Option(help="ok or refuse a sample without some part.")] = "ok",
) -> None:
    """Predict with a run's model: one JSON line a sample, on stdout."""
    from polymodal.runs import model_of

    if missing not in ("ok", "refuse"):
        raise ValueError(f"--missing {shelf.suggest(missing, ['ok', 'refuse'])}")
    system, model = model_of(folder)
    recipe: Any = shelf.load(system)
    for row in recipe.predict(model, _samples(files), missing=missing):
        typer.echo(json.dumps(row, ensure_ascii=False, allow_nan=False))


def _samples(files: Iterable[Path]) -> Iterator[Sample | Invalid]:
    """Samples of data set folders, then of single media files, those with one stem together."""
    from polymodal.media import Invalid, MediaError, Sample, part_of, read

    loose: dict[str, dict[str, Any]] = {}
    for path in files:
        if path.is_dir() or path.name == "samples.jsonl":
            yield from read(path)
            continue
        try:
            part = part_of(path)
            loose.setdefault(path.stem, {})[part.kind] = part
        except MediaError as error:
            yield Invalid(path.stem, str(path), error.reason, str(error))
    for stem, parts in loose.items():
        yield Sample(stem, parts)


@data.command("check")
def data_check(
    path: Annotated[Path, typer.Argument(metavar="PATH")],
    columns: Annotated[str, typer.Option(help="Of feature tables: label:NAME,group:NAME.")] = "",
    quick: Annotated[bool, typer.Option(help="Leave out the checks that fit models.")] = False,
) -> None:
    """Audit a data set before anything trains; exit code 1 where something is an error."""
    from polymodal.systems import sources

    findings, summary = sources.check(path, columns, quick=quick)
    typer.echo(f"{summary.n} samples, {summary.invalid} invalid rows, {len(summary.groups)} groups")
    typer.echo(f"targets: {', '.join(f'{n} {kind}' for kind, n in summary.targets.items())}")
    if summary.classes:
        typer.echo(f"classes: {', '.join(f'{name} {n}' for name, n in summary.classes.most_common(20))}")
    for name, about in summary.parts.items():
        spans = [f"{key} {low:g} to {about.high[key]:g}" for key, low in about.low.items()]
        typer.echo(f"{name}: {about.readable} of {about.n} readable, {', '.join([*about.kinds, *spans])}")
    rows = [(f.severity, f.kind, f.where, str(f.n), "; ".join(f.evidence[:3])) for f in findings]
    _draw(f"{len(rows)} findings" if rows else "nothing found", "severity,kind,where,n,evidence", rows)
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
    from polymodal.runs.shards import write

    n = write(pickles.samples_of(pickles.load(file)), to, form="parquet")
    typer.echo(f"{n} samples in {to}; look at them with: polymodal data check {to}")
