"""The verb `play`: sit down in an environment, or watch a system act in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polymodal.cli.group import pair
from polymodal.systems import shelf

if TYPE_CHECKING:
    from polymodal.cli.chairs import Chair
    from polymodal.envs.play import Turn

PLACES = {"clinic": "clinical_dialogue", "patient": "clinical_dialogue", "scenes": ""}
CLINIC = "For research, not for care."


def play(
    place: Annotated[
        str, typer.Argument(metavar="ENV[:SETTING]", help="clinic (also called patient) or scenes.")
    ],
    policy: Annotated[
        str | None, typer.Option(metavar="SYSTEM", help="Who acts; you, where none is named.")
    ] = None,
    chair: Annotated[str, typer.Option("--as", help="In the clinic: doctor, or patient.")] = "doctor",
    *,
    seed: Annotated[int, typer.Option(help="Of the episode.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Turns at most.")] = 40,
    case: Annotated[str | None, typer.Option(metavar="ID", help="A certain case.")] = None,
    o: Annotated[list[str] | None, typer.Option("-o", metavar="KEY=VALUE", help="Change one field.")] = None,
) -> None:
    """Play one episode in the terminal; /help says what can be typed, end of input leaves."""
    name, _, setting = place.partition(":")
    if name not in PLACES:
        raise LookupError(f"env {shelf.suggest(name, PLACES)}")
    if chair not in ("doctor", "patient"):
        raise LookupError(f"--as {shelf.suggest(chair, ['doctor', 'patient'])}")
    system = PLACES[name]
    if system:
        typer.echo(CLINIC)
    elif chair == "patient":
        raise ValueError(f"--as patient: there is no patient in {name}")
    if chair == "patient":
        policy = policy or system
    env, config = _env(system, setting or "tiny", o or ())
    actor = None if policy is None else _policy(policy, system, config)
    _play(env, actor, chair == "patient", seed=seed, limit=limit, options=_options(case, system))


def _options(case: str | None, system: str) -> dict[str, Any]:
    """What `reset` is told: a case's id or its index; a question's index."""
    if case is None:
        return {}
    if not system and not case.isdecimal():
        raise ValueError(f"--case {case}: a question is asked for by its index, a whole number")
    return {"case" if system else "index": int(case) if case.isdecimal() else case}


def _env(system: str, setting: str, o: Sequence[str]) -> tuple[Any, Any]:
    """The environment, and the Config of the system that keeps it."""
    options = dict(pair(text) for text in o)
    if not system:
        from polymodal.envs.seeing import Scenes

        if options.keys() - {"families", "split"}:
            raise LookupError(f"option {shelf.suggest(next(iter(options)), ['families', 'split'])}")
        families = tuple(filter(None, options.get("families", "").split(",")))
        return Scenes(families=families, split=options.get("split", "test")), None
    recipe: Any = shelf.load(system)
    config = shelf.configure(recipe, setting, options)
    return _hook(recipe, system, "env")(config), config


def _policy(name: str, keeper: str, config: Any) -> Any:
    """A system's policy, with the same Config as the environment where it keeps that one too."""
    system, _, setting = name.partition(":")
    system = shelf.resolve(system)
    recipe: Any = shelf.load(system)
    same = system == keeper and not setting
    return _hook(recipe, system, "policy")(config if same else shelf.configure(recipe, setting or "tiny", {}))


def _hook(recipe: Any, system: str, name: str) -> Any:
    """The recipe's function that makes an environment or a policy."""
    made = getattr(recipe, name, None)
    if made is None:
        raise LookupError(f"{system} has no {'policy' if name == 'policy' else 'environment'} to play with")
    return made


def _play(env: Any, actor: Any, patient: bool, *, seed: int, limit: int, options: dict[str, Any]) -> None:
    from polymodal.cli.chairs import Doctor, PatientsChair, Watching
    from polymodal.envs.play import play as turns_of

    chair: Chair = PatientsChair(env, actor) if patient else Watching(actor) if actor else Doctor(env)
    turn: Turn | None = None
    for turn in turns_of(env, chair, seed=seed, limit=limit, options=options):
        if chair.left:
            break
        chair.told(turn)
    _close(env, turn, chair)


def _close(env: Any, turn: Turn | None, chair: Chair) -> None:
    """How it ended, in one line, and what the matter was."""
    if turn is None or chair.left:
        typer.echo("\nLeft.")
        return
    how = f"cut: {turn.reason}" if turn.truncated else "ended"
    if turn.reason == "policy error":
        how += f" ({turn.info['error']})"
    typer.echo(f"\n{how}, after {turn.n + 1} turns; reward {chair.reward:g}")
    case = getattr(env.unwrapped, "case", None)
    target = case.diagnosis if case is not None else turn.info.get("target")
    if target is not None:
        typer.echo(f"It was: {target}")
