"""The verbs of `polymodal study`: put before people what rules and models are asked."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polymodal.cli import drafts
from polymodal.cli.group import Verbs
from polymodal.cli.tables import cells, draw

if TYPE_CHECKING:
    from polymodal.judge.people.store import Store
    from polymodal.judge.people.study import Study

study = typer.Typer(cls=Verbs, help="Put cases before people.", no_args_is_help=True, rich_markup_mode=None)

File = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file.")]
Db = Annotated[
    str, typer.Option(help="sqlite:///FILE or postgresql+psycopg://…; by default a file beside the study's.")
]


@study.command("new")
def new(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New, or a finished run to ask about.")],
    sample: Annotated[int, typer.Option(min=1, help="Conversations of the run, at most.")] = 100,
    form: Annotated[
        str, typer.Option(metavar="NAME", help="Of the forms that the run brings, in study/osce.json.")
    ] = "",
    partner: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Who is talked to in a form with a room: state and plain, or patient."
        ),
    ] = None,
    *,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
) -> None:
    """Make a study file to start from; of a finished run, about its conversations or examples.

    A run that brings forms of its own is asked about with the first of them, or with the one that is named.
    In a form with a room the raters play the run's cases before partners, whom `serve --partner` names: in
    `live` the patients, before doctors, and in `live-doctor` the doctors.
    """
    from polymodal.runs.atomic import write_json

    if (folder / "result.json").exists():
        to = folder / "study" / f"{form or 'study'}.json"
        raw = drafts.of_run(folder, sample, form, partner or (), seed=seed)
    elif form:
        raise ValueError(f"--form is for a finished run, and {folder} has no result.json")
    else:
        to, raw = folder / "study.json", drafts.example()
    if to.exists():
        raise FileExistsError(f"{to} exists; give another folder, or remove it")
    write_json(to, raw)
    typer.echo(f"{len(raw['units'])} units in {to}; look at it with: polymodal study plan {to}")


@study.command("check")
def check(file: File) -> None:
    """Say what is wrong with a study file, each fault by path and key; exit code 1 where something is."""
    from polymodal.judge.people import study as people

    found = people.check(file)
    for line in found:
        typer.echo(line)
    typer.echo(f"{len(found)} faults" if found else "nothing found")
    if found:
        raise typer.Exit(1)


@study.command("plan")
def plan(file: File, *, seed: Annotated[int, typer.Option(help="Of the plan.")] = 0) -> None:
    """Deal the cases out and say how even it is; nothing is stored."""
    from polymodal.judge.people import design
    from polymodal.judge.people import study as people

    made = people.load(file)
    found = design.plan(made, seed=seed)
    sizes = [sum(not place.repeat for place in seat.places) for seat in found.seats]
    rows = [
        ("raters", f"{len(found.seats)}"),
        ("ratings", f"{found.places}"),
        ("units a rater", f"{min(sizes, default=0)} to {max(sizes, default=0)}"),
        ("raters two units share (lambda)", f"{found.low} to {found.high}"),
        ("every rater linked to every other", "yes" if found.connected else "no"),
        ("efficiency E", f"{found.efficiency:.4f}"),
        ("spread of subjects within a rater", f"{found.spread}"),
    ]
    draw(f"{made.title}: plan", "what,is", rows)


@contextmanager
def _opened(file: Path, db: str, *, seed: int = 0) -> Iterator[tuple[Study, Store]]:
    from polymodal.judge.people import study as people
    from polymodal.judge.people.store import Store

    made = people.load(file)
    store = Store(db or f"sqlite:///{file.resolve().parent / made.id}.db", made, seed=seed)
    try:
        yield made, store
    finally:
        store.close()


@study.command("serve")
def serve(
    file: File,
    db: Db = "",
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    invite: Annotated[int, typer.Option(min=0, help="So many new links are printed.")] = 0,
    stratum: Annotated[str, typer.Option(help="Of those invited.")] = "",
    partner: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MODEL", help="Who talks in rooms: a model, or SYSTEM:[ARM:]MODEL."),
    ] = None,
    *,
    seed: Annotated[int, typer.Option(help="Of the plan, when the study is first stored.")] = 0,
    certificate: Annotated[Path | None, typer.Option(help="PEM, for https.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM of the certificate's key.")] = None,
) -> None:
    """Serve a study until Ctrl-C; links are shown once, only their hashes are kept.

    A partner is a model, or a system's way to talk with one: `clinical_dialogue:openai:MODEL@URL` is its
    doctor, `clinical_dialogue:plain:openai:MODEL@URL` the same model with plain prompting,
    `"clinical_dialogue:state?gap=eig:openai:MODEL@URL"` one that asks by its own frequencies. Beside a
    run's study it has that run's tables and readers of pictures. `clinical_dialogue:patient` is the patient
    of each case, for raters who play doctors.
    """
    import uvicorn

    from polymodal.judge.people.app import app

    with _opened(file, db, seed=seed) as (made, store):
        partners = drafts.partners(partner or (), file.resolve().parent.parent, made)
        admin = secrets.token_urlsafe(32)
        base = f"{'https' if certificate else 'http'}://{host}:{port}"
        for _ in range(invite):
            typer.echo(f"{base}/s/{store.enrol(stratum)}")
        typer.echo(f"operator, from this machine: {base}/admin/enter/{admin}")
        uvicorn.run(
            app(made, store, partners, admin), host=host, port=port, log_level="warning", access_log=False,
            ssl_certfile=certificate, ssl_keyfile=key,
        )  # fmt: skip


@study.command("bots")
def bots(
    file: File,
    people: Annotated[int, typer.Option(min=1, help="Simulated raters.")] = 20,
    db: Db = "",
    *,
    seed: Annotated[int, typer.Option(help="Of their answers.")] = 0,
    stratum: Annotated[str, typer.Option(help="They are of.")] = "",
) -> None:
    """Let simulated raters work through a study, to try it; their rows are marked as simulated."""
    from polymodal.judge.people.bots import simulate

    with _opened(file, db, seed=seed) as (_, store):
        n = simulate(store, people, seed=seed, stratum=stratum)
        typer.echo(
            f"{people} simulated raters, {n} places submitted, {store.progress()['answers']} answers kept"
        )


@study.command("export")
def export(
    file: File,
    db: Db = "",
    to: Annotated[
        Path | None, typer.Option(help="Folder; by default `export` beside the study file.")
    ] = None,
) -> None:
    """Write verdicts, trials, ratings, messages, events and the codebook, by pseudonym."""
    from polymodal.judge.people import verdicts as rows
    from polymodal.runs.atomic import write_json
    from polymodal.runs.export.rows import write_lines, write_rows

    folder = to or file.parent / "export"
    with _opened(file, db) as (_, store):
        counts = {
            "verdicts.jsonl": write_lines(folder / "verdicts.jsonl", rows.verdict_rows(store)),
            "messages.jsonl": write_lines(folder / "messages.jsonl", rows.message_rows(store)),
            "trials.parquet": write_rows(folder / "trials.parquet", rows.trial_rows(store), rows.TRIALS),
            "ratings.parquet": write_rows(folder / "ratings.parquet", rows.rating_rows(store), rows.RATINGS),
            "events.parquet": write_rows(folder / "events.parquet", rows.event_rows(store), rows.EVENTS),
        }
        write_json(folder / "codebook.json", rows.codebook(store))
    draw(f"{folder}", "file,n", [(name, str(n)) for name, n in counts.items()])


@study.command("report")
def report(file: File, db: Db = "", *, seed: Annotated[int, typer.Option(help="Of intervals.")] = 0) -> None:
    """How far the study is, how much raters agree, with and without those flagged, and how answers drift."""
    from polymodal.judge.people import quality
    from polymodal.judge.people import verdicts as rows

    with _opened(file, db) as (made, store):
        progress = store.progress()
        simulated = sum(row["kind"] == "simulated" for row in store.rows("event"))
        found = quality.flags(store)
        out = quality.flagged(found, made.exclusions)
        draw(
            f"{made.title}: progress",
            "what,n",
            [(f"places {state}", str(n)) for state, n in sorted(progress["slots"].items())]
            + [(f"raters {state}", str(n)) for state, n in sorted(progress["raters"].items())]
            + [("answers", str(progress["answers"])), ("raters that are simulated", str(simulated))],
        )
        for title, gone in (("everybody", frozenset[str]()), (f"without {len(out)} flagged", out)):
            told = rows.agreement(store, leave_out=gone, seed=seed)
            draw(
                f"agreement (alpha), {title}",
                "question,mean,interval,n,units",
                [(k, *cells(v)) for k, v in told.items()],
            )
        draw("flags", "rater,rule,what", [(f.rater, f.rule, f.detail) for f in found])
        draw(
            "answers by time",
            "question,bin,n,mean",
            [
                (row["field"], str(i), str(row["n"]), f"{row['mean']:.3f}")
                for i, row in enumerate(rows.drift(store))
            ],
        )
