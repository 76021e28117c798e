"""The verbs of `polymodal study`: put before people what rules and models are asked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
EXAMPLE = {
    "id": "plain", "version": "1", "source": "polymodal", "licence": "CC0", "rater": "any",
    "items": [
        {"id": "good", "kind": "likert", "levels": 7, "text": "How good is the answer? (1 bad, 7 good)"},
        {"id": "wrong", "kind": "binary", "text": "Is anything in it wrong?"},
        {"id": "why", "kind": "text", "required": False, "text": "Anything to add?"},
    ],
}  # fmt: skip
PAGES = [
    {"kind": "consent", "title": "Before you begin"},
    {"kind": "block", "rubric": "plain", "title": "Please rate"},
    {"kind": "debrief", "title": "Thank you"},
]
CONSENT = (
    "You will rate what programs answered. Your ratings are kept under a pseudonym. You may stop at any time."
)


@study.command("new")
def new(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New, or a finished run to ask about.")],
    sample: Annotated[int, typer.Option(min=1, help="Conversations of the run, at most.")] = 100,
    form: Annotated[
        str, typer.Option(metavar="NAME", help="Of the forms that the run brings, in study/osce.json.")
    ] = "",
    *,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
) -> None:
    """Make a study file to start from; of a finished run, about its conversations or examples.

    A run that brings forms of its own is asked about with the first of them, or with the one that is named.
    """
    from polymodal.runs.atomic import write_json

    if (folder / "result.json").exists():
        to, raw = folder / "study" / f"{form or 'study'}.json", _of_run(folder, sample, form, seed=seed)
    elif form:
        raise ValueError(f"--form is for a finished run, and {folder} has no result.json")
    else:
        asked = {"role": "user", "parts": ["What colour is the sky at noon?"]}
        said = {"first": "It is blue.", "second": "It is green."}
        units = [
            {"id": f"sky-{name}", "item": f"sky-{name}", "subject": name,
             "messages": [asked, {"role": "assistant", "parts": [text]}]}
            for name, text in said.items()
        ]  # fmt: skip
        to, raw = folder / "study.json", _raw("example", "Which answers are good?", units, raters=2)
    if to.exists():
        raise FileExistsError(f"{to} exists; give another folder, or remove it")
    write_json(to, raw)
    typer.echo(f"{len(raw['units'])} units in {to}; look at it with: polymodal study plan {to}")


def _raw(name: str, title: str, units: list[Any], *, raters: int) -> dict[str, Any]:
    items = len({unit["item"] for unit in units})
    design = {"ratings_per_case": raters, "cases_per_rater": min(max(items, 2), 40)}
    return {
        "id": name, "version": "1", "title": title, "language": "en", "consent": CONSENT,
        "rubrics": [EXAMPLE], "units": units, "design": design, "pages": PAGES,
        "quality": {"minimum_seconds": 2}, "exclusions": ["straight_line"],
        "retention": {"on_withdrawal": "ask"}, "seed": 0,
    }  # fmt: skip


def _of_run(folder: Path, sample: int, form: str, *, seed: int) -> dict[str, Any]:
    """Units from what a run's report shows; its media are copied beside the study file."""
    from polymodal.runs import read_result

    result = read_result(folder)
    shown = result.sections.get("conversations") or [
        {"id": one["id"], "turns": [{"role": name, **part} for name, part in one.get("parts", {}).items()]}
        for one in result.sections.get("examples") or ()
    ]
    if not shown:
        raise ValueError(f"{folder} kept no conversations and no examples to ask about")
    shown = [one for one in shown if not any("withheld" in turn for turn in one["turns"])]
    if not shown:
        raise ValueError(
            f"{folder} kept replies as digests, which nobody can rate: run it with -o store=full, then ask"
        )
    picked = _drawn([_item(one) for one in shown], sample, seed=seed)
    units = [_unit(folder, number, shown[number]) for number in picked]
    forms = _forms(folder)
    if not (form or forms):
        return _raw(f"{result.system}-study", result.title, units, raters=2)
    if form and form not in forms:
        known = f"it brings {', '.join(forms)}" if forms else "it brings none (no study/osce.json)"
        raise ValueError(f"--form {form}: {folder} brings no such form; {known}")
    return _fitted({**forms[form or next(iter(forms))], "units": units}, folder / "study")


def _item(one: Mapping[str, Any]) -> str:
    return str(one.get("tags", {}).get("item", one["id"]))


def _drawn(items: Sequence[str], sample: int, *, seed: int) -> list[int]:
    """Which conversations: whole items in a seeded order, so that all who met one are compared on it."""
    import numpy as np

    names, taken = list(dict.fromkeys(items)), list[int]()
    for i in np.random.default_rng(seed).permutation(len(names)):
        rows = [row for row, item in enumerate(items) if item == names[i]]
        if not taken or len(taken) + len(rows) <= sample:
            taken += rows[:sample]
    return sorted(taken)


def _unit(folder: Path, number: int, one: Mapping[str, Any]) -> dict[str, Any]:
    tags = {k: v for k, v in one.get("tags", {}).items() if isinstance(v, str | int | float)}
    about = {key: str(tags[key]) for key in ("subject", "variant", "group") if key in tags}
    messages = [{"role": turn.get("role", "shown"), "parts": _parts(folder, turn)} for turn in one["turns"]]
    name = f"{number}-{one['id']}"[:200]
    return {"id": name, "item": _item(one), **about, "messages": messages, "tags": tags}


def _forms(folder: Path) -> dict[str, dict[str, Any]]:
    """Study files without units that a run brings; what else lies in that file is not for people."""
    file = folder / "study" / "osce.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {name: one for name, one in found.items() if isinstance(one, dict) and "pages" in one}


def _fitted(raw: dict[str, Any], root: Path) -> dict[str, Any]:
    """A form with the fewest ratings a case, from its own number on, that link all raters to each other.

    Few cases make short blocks, since nobody sees a case twice, and short blocks need more of them.

    Raises:
        ValueError: no such number; the message says what would help.
    """
    from polymodal.judge.people import design
    from polymodal.judge.people import study as people

    wanted = raw["design"]["ratings_per_case"]
    for ratings in range(wanted, wanted + 4):
        made = {**raw, "design": {**raw["design"], "ratings_per_case": ratings}}
        try:
            design.plan(people.parse(made, root))
        except design.PlanError:
            continue
        if ratings > wanted:
            typer.echo(f"so few cases link raters with {ratings} ratings each, not with {wanted}")
        return made
    items = len({unit["item"] for unit in raw["units"]})
    raise ValueError(
        f"{len(raw['units'])} consultations of {items} cases cannot be dealt out so that raters are linked:"
        " hold the run on more cases (-o cases=), or with fewer doctors and arms"
    )


def _parts(folder: Path, turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A turn of a report as parts of a study: words, and a copied medium."""
    from polymodal.media import part_of
    from polymodal.runs.export.rows import copy

    path, text = turn.get("path") or turn.get("media"), str(turn.get("text", ""))
    if path is None:
        return [{"text": text}]
    source = folder / str(path)
    if not source.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} is not in {folder}")
    copy(source, folder / "study" / "media" / source.name)
    return [*([{"text": text}] if text else []), {part_of(source).kind: f"media/{source.name}"}]


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
        list[str] | None, typer.Option(metavar="NAME=MODEL", help="Who talks in rooms.")
    ] = None,
    *,
    seed: Annotated[int, typer.Option(help="Of the plan, when the study is first stored.")] = 0,
    certificate: Annotated[Path | None, typer.Option(help="PEM, for https.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM of the certificate's key.")] = None,
) -> None:
    """Serve a study until Ctrl-C; links are shown once, only their hashes are kept."""
    import uvicorn

    from polymodal.chat import connect
    from polymodal.judge.people.app import app

    with _opened(file, db, seed=seed) as (made, store):
        partners = {name: connect(spec) for name, _, spec in (one.partition("=") for one in partner or ())}
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
