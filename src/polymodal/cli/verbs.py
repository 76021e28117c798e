"""The verbs: list, show, run, claims, report, compare, predict; others have own files."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polymodal.cli import bridge, chat, data, merge, play, study
from polymodal.cli.group import Verbs, pair
from polymodal.cli.tables import cells, draw, number, outcome, progress, rulings
from polymodal.systems import shelf

if TYPE_CHECKING:
    from polymodal.media import Invalid, Sample


app = typer.Typer(
    cls=Verbs,
    help="A workbench for models that see, read, listen and act: a number never travels alone.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(data.data, name="data")
app.add_typer(study.study, name="study")

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
    words = str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
    gone = re.search(r"No module named '(\w+)", words)  # also where it ended a job
    missing = error.name if isinstance(error, ModuleNotFoundError) else gone and gone[1]
    if missing not in EXTRAS:
        return words
    line = f'{missing} is not installed; install it with: pip install "polymodal[{EXTRAS[missing]}]"'
    return line if isinstance(error, ModuleNotFoundError) else f"{words}\n{line}"


EXTRAS = {
    "torch": "nn",
    "accelerate": "nn",
    "einops": "nn",
    "safetensors": "nn",
    "huggingface_hub": "nn",
    "tokenizers": "nn",
    "transformers": "nn",
    "fastapi": "study",
    "psycopg": "study",
    "sqlalchemy": "study",
    "uvicorn": "study",
    "inspect_ai": "inspect",
    "neurokit2": "signals",
    "onnxruntime": "ocr",
    "rapidocr": "ocr",
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
    options = dict(pair(text) for text in o or ())
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
        outcome(record.folder)
        typer.echo(f"\nreport: {page}")


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
    with progress() as bar:
        tasks: dict[str, Any] = {}

        def watch(event: Mapping[str, Any]) -> None:
            if event["kind"] == "note":
                bar.console.print(f"[dim]{event['text']}[/dim]")
            elif event["kind"] == "progress":
                name = str(event["name"])
                task = tasks.setdefault(name, bar.add_task(name, total=event["of"]))
                bar.update(task, completed=event["n"], description=f"{name} · {event.get('key', '')}")

        yield watch


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
        rulings(read_result(folder).claims if folder else waiting)


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
        (row.name, number(row.first), number(row.second), *cells(row.difference)[:3], number(row.p))
        for row in comparison.rows
    ]
    draw(
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


app.command("inspect-log")(bridge.inspect_log)
app.command("merge")(merge.merge)
app.command("chat")(chat.chat)
app.command("play")(play.play)
