"""The verb `polymodal merge`: weights of several models into one folder, the plan first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polymodal.cli.tables import draw, progress

if TYPE_CHECKING:
    from polymodal.nn.weights import Distance, Plan

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="TARGET DONOR...", help="Folders or hub names; the result is a copy of the first."
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="W",
        help="The target's, the donors share the rest; or one a model, target first; or W,W,… over depth.",
    ),
]


def merge(
    models: Models,
    to: Annotated[Path | None, typer.Option(metavar="OUT", help="The folder to make.")] = None,
    base: Annotated[str | None, typer.Option(metavar="BASE", help="What all of them come from.")] = None,
    method: Annotated[
        str, typer.Option(help="linear, task_arithmetic, ties_weight, ties_count, …")
    ] = "linear",
    weight: Weights = None,
    density: Annotated[float, typer.Option(help="Share of each delta that is kept (ties, dare).")] = 0.2,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB=W", help="The target's weight by name; the first match wins."),
    ] = None,
    swap: Annotated[int, typer.Option(help="Last layer that stays the target's (layer_swap).")] = 5,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Keep the target's where the plan refuses.")
    ] = None,
    embeddings: Annotated[str, typer.Option(help="keep, or merge rows by token text.")] = "keep",
    *,
    seed: Annotated[int, typer.Option(help="Of dare's random masks.")] = 0,
    chunk: Annotated[int, typer.Option(min=1, help="Bytes of a piece; changes no byte.")] = 8 << 20,
    threads: Annotated[int, typer.Option(min=1, help="Tensors at once; changes no byte.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; write nothing.")] = False,
    diagnose: Annotated[bool, typer.Option("--diagnose", help="Show distances by layer and module.")] = False,
) -> None:
    """Merge the text decoders of models into a copy of the first; run again, a stopped merge goes on."""
    if len(models) < 2:
        raise ValueError("merge takes a target and at least one donor")
    if to is None and not dry_run:
        raise ValueError("where to? give --to OUT, or --dry-run to see the plan only")
    from polymodal.nn.weights import Recipe, plan

    own, depth = _weights(weight or ["0.9"])
    rules = tuple(_rule(text) for text in rule or ())
    recipe = Recipe(
        method, own, depth, density, rules, swap, embeddings=embeddings, allow=tuple(allow or ()), seed=seed
    )
    found = plan(models[0], models[1:], recipe, base=base)
    for line in found.lines():
        typer.echo(line)
    if diagnose:
        _diagnose(found)
    found.ready()
    if to is not None and not dry_run:
        _write(found, to, chunk, threads)


def _weights(texts: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Weights of models, and weights over depth."""
    listed = [tuple(_number(part, f"--weight {text}") for part in text.split(",")) for text in texts]
    if len(listed) == 1 and len(listed[0]) > 1:
        return (listed[0][-1],), listed[0]
    if any(len(one) > 1 for one in listed):
        raise ValueError("--weight takes one list over depth, or one number a model, not both")
    return tuple(one[0] for one in listed), ()


def _rule(text: str) -> tuple[str, float]:
    glob, sign, weight = text.rpartition("=")
    if not sign or not glob:
        raise ValueError(f"--rule {text}: expected GLOB=WEIGHT, such as '*.mlp.*=0.8'")
    return glob, _number(weight, f"--rule {text}")


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{where}: {text!r} is not a number") from None


def _diagnose(found: Plan) -> None:
    from polymodal.nn.weights import diagnosis, strangers

    rows = diagnosis(found)
    heads = ",layer,module,|τ_r|/|τ_v|,cos τ,sign conflict,distance,cos θ"
    draw("distance of each donor from the target", heads, _cells(rows))
    for warning in strangers(rows):
        typer.echo(f"warning: {warning}")


def _cells(rows: Iterable[Distance]) -> Iterable[tuple[str, ...]]:
    for row in rows:
        numbers = (row.ratio, row.cosine, row.conflict, row.distance, row.likeness)
        layer = "" if row.layer is None else str(row.layer)
        yield row.donor, layer, row.module, *("" if n != n else f"{n:.4f}" for n in numbers)


def _write(found: Plan, to: Path, chunk: int, threads: int) -> None:
    import torch

    from polymodal.runs.checkpoints import write_checkpoint

    torch.set_num_threads(1)  # one a tensor: `threads` says how many tensors
    with progress() as bar:
        task = bar.add_task("merging", total=len(found.merges))
        made = write_checkpoint(
            found,
            to,
            chunk=chunk,
            threads=threads,
            watch=lambda name, n, of: bar.update(task, completed=n, description=name),
        )
    typer.echo(f"\n{made}: the merged model, with the account of it in merge.json")
    typer.echo(f'try it: polymodal chat local:{made} "…" picture.png')
