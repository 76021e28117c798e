"""Systems that judge and act as tasks of Inspect AI, and our runs as logs for its viewer."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from polymodal.chat import ChatModel
from polymodal.chat.inspected import data_url, incoming, outgoing, provider
from polymodal.chat.remote import TYPES
from polymodal.judge import Case, Judge
from polymodal.judge.grid import call_seed
from polymodal.runs import read_result
from polymodal.systems import shelf

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.scorer import Score, Scorer
    from inspect_ai.solver import Solver

SYSTEMS = ("harm_evaluation", "image_text_relation")  # whose recipes are Inspectable
OURS = ("item", "group", "variant")  # of a sample's metadata, with FIRST; the rest are the case's tags
FIRST = "first_turn"


class Inspectable(Protocol):
    """What a system's recipe adds to a Recipe to be a task of Inspect's.

    Attributes:
        SCRIPTS: its scripted models by name, for `--model polymodal/scripted:NAME`.
    """

    SCRIPTS: Mapping[str, Callable[..., ChatModel]]

    def inspection(self, config: Any) -> Iterator[Mapping[str, Any]]:
        """Items: id, item, group, variant, target, tags, the user's messages in order, and `first`.

        `first` is the number of the first turn (0 where not given): with the item it decides a turn's seed.
        """

    def judge_of(self, config: Any) -> Judge:
        """The judge of the whole conversation."""


def harm_evaluation(setting: str = "tiny", options: str | list[str] = "") -> Task:
    """Multi-turn, single-turn and text-only talks with a policy to keep, judged for defects and refusals."""
    return _task("harm_evaluation", setting, options)


def image_text_relation(setting: str = "tiny", options: str | list[str] = "") -> Task:
    """Posts of a picture and a text: does the text speak of the picture, or the picture of the text."""
    return _task("image_text_relation", setting, options)


def clinical_dialogue(setting: str = "tiny", options: str | list[str] = "", arm: str = "state") -> Task:
    """For research, not for care: the model is the doctor of simulated patients, a case a sample.

    Args:
        setting: tiny or full.
        options: as `-o` of `polymodal run`; of `doctor` only `bayes:OUT`, whose readers are used.
        arm: of the run's: state (with its options, `state?gap=eig`), plain, plain_matched, scrambled, …
    """
    from polymodal.systems.inspecting.consultations import consultations

    recipe: Any = _recipe("clinical_dialogue")
    config = shelf.configure(recipe, setting, _pairs(options))
    return consultations(recipe.before(config, None), arm)


def _scripts() -> dict[str, Callable[..., ChatModel]]:
    """What `polymodal/scripted:NAME` may be: the systems' scripts, and the mind of the generated clinic."""
    from polymodal.envs.clinic.scripted import scripted

    data: Any = importlib.import_module("polymodal.systems.clinical_dialogue.data")
    found = {name: make for system in SYSTEMS for name, make in _recipe(system).SCRIPTS.items()}
    return {**found, "clinic": partial(scripted, data.pocket())}


def _register() -> None:
    """Make tasks and the provider known; importing this module is what Inspect's entry point does."""
    from inspect_ai import task
    from inspect_ai.model import modelapi

    for made in (harm_evaluation, image_text_relation, clinical_dialogue):
        globals()[made.__name__] = task(made)

    @modelapi(name="polymodal")
    def connected() -> Any:
        return provider(_scripts())


def _recipe(system: str) -> Inspectable:
    return cast(Inspectable, importlib.import_module(f"polymodal.systems.{system}.recipe"))


def _task(system: str, setting: str, options: str | list[str]) -> Task:
    """A system's task.

    Args:
        system: its name.
        setting: tiny or full.
        options: KEY=VALUE,... laid over the setting, as `-o` of `polymodal run`; Inspect's own command line
            hands over a list where there are commas.
    """
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample

    recipe = _recipe(system)
    config = shelf.configure(cast(shelf.Recipe, recipe), setting, _pairs(options))
    samples = [
        Sample(
            id=row["id"],
            input=[outgoing(message) for message in row["messages"]],
            target=row["target"],
            metadata={
                **row["tags"],
                **{name: row[name] for name in OURS},
                FIRST: row.get("first", 0),
            },
        )
        for row in recipe.inspection(config)
    ]
    return Task(
        dataset=MemoryDataset(samples, name=system),
        solver=_talk(seed=config.seed),
        scorer=_judged(recipe.judge_of(config), seed=config.seed),
    )


def _pairs(options: str | list[str]) -> dict[str, str]:
    """Options by key; a piece without `=` belongs to the value before it."""
    pairs: dict[str, str] = {}
    for piece in options if isinstance(options, list) else options.split(","):
        key, sign, value = piece.partition("=")
        if sign:
            pairs[key.strip()] = value
        elif piece and not pairs:
            raise ValueError(f"options={piece}: expected KEY=VALUE,KEY=VALUE")
        elif piece:
            pairs[list(pairs)[-1]] += f",{piece}"
    return pairs


def _talk(*, seed: int) -> Solver:
    """Says the user's messages one by one and lets the model answer each, with the seeds of our own grid."""
    from inspect_ai.solver import solver

    @solver(name="talk")
    def made() -> Solver:
        async def solve(state: Any, generate: Any) -> Any:
            """Play the conversation."""
            asked, state.messages = state.messages, []
            turn = state.metadata[FIRST]
            for message in asked:
                state.messages.append(message)
                if message.role == "user":
                    drawn = call_seed(state.metadata["item"], turn, seed=seed)
                    state = await generate(state, tool_calls="none", seed=drawn)
                    turn += 1
            return state

        return solve

    return made()


def _judged(judge: Judge, *, seed: int) -> Scorer:
    """Our judge as a scorer: each score with its mean and the error of it, clustered by group."""
    from inspect_ai.scorer import mean, scorer, stderr

    @scorer(name="judge", metrics={"*": [mean(), stderr(cluster="group")]})
    def made() -> Scorer:
        async def score(state: Any, target: Any) -> Score:
            """Judge it, on a thread: a judge may wait for a model."""
            import anyio.to_thread

            about = state.metadata
            tags = {name: tag for name, tag in about.items() if name not in (*OURS, FIRST)}
            talk = tuple(incoming(message) for message in state.messages)
            case = Case(
                str(state.sample_id),
                about["item"],
                about["group"],
                "",
                about["variant"],
                talk,
                target.text,
                tags,
            )
            drawn = call_seed(about["item"], 0, seed=seed)
            return _score(await anyio.to_thread.run_sync(lambda: judge(case, seed=drawn)))

        return score

    return made()


def _score(verdict: Any) -> Score:
    """A verdict as Inspect's: what is invalid is unscored, with its reason."""
    from inspect_ai.scorer import Score

    about = {"judge": verdict.judge}
    if not verdict.valid:
        return Score.unscored(reason=verdict.reason, explanation=verdict.rationale or None, metadata=about)
    return Score(value=dict(verdict.scores), explanation=verdict.rationale or None, metadata=about)


def log_of(folder: Path) -> EvalLog:
    """A finished run as a log that `inspect view` shows: its conversations, their verdicts, its estimates.

    Args:
        folder: a run's folder.

    Raises:
        RunError: no finished run.
        ValueError: it kept no conversations.
    """
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalScore,
        EvalSpec,
        EvalStats,
    )

    result = read_result(folder)
    talks = result.sections.get("conversations")
    if not talks:
        raise ValueError(f"{folder} kept no conversations to look at")
    samples = [_sample(folder, talk) for talk in talks]
    metrics = {
        name: EvalMetric(name=name, value=one.mean, metadata=one.to_json())
        for name, one in result.estimates.items()
        if math.isfinite(one.mean)
    }
    done = datetime.fromtimestamp((folder / "result.json").stat().st_mtime, UTC).isoformat()
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=done,
            task=f"polymodal/{result.system}",
            task_display_name=result.title,
            dataset=EvalDataset(
                name=result.system, samples=len(samples), sample_ids=[one.id for one in samples]
            ),
            model=f"polymodal/{folder.resolve().name}",
            config=EvalConfig(),
            packages=dict(result.versions),
            metadata={"config": dict(result.config), "claims": [dict(claim) for claim in result.claims]},
        ),
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples),
            scores=[EvalScore(name="estimates", scorer="polymodal", metrics=metrics)],
        ),
        stats=EvalStats(started_at=done, completed_at=done),
        samples=samples,
    )


def write_log(folder: Path, to: Path) -> Path:
    """Write a run's log into Inspect's folder of logs `to`, and return its path. Raises as `log_of` does."""
    from inspect_ai.log import write_eval_log

    place = to / f"{folder.resolve().name}.eval"
    write_eval_log(log_of(folder), place)
    return place


def _sample(folder: Path, talk: Mapping[str, Any]) -> EvalSample:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Score

    messages = [_message(folder, turn) for turn in talk["turns"]]
    replies = [message for message in messages if message.role == "assistant"]
    scores = {}
    for verdict in talk.get("verdicts", ()):
        name, value = f"{verdict['score']} by {verdict['judge']}", verdict["value"]
        scores[name] = (
            Score.unscored(reason=verdict["reason"])
            if value is None
            else Score(value=value, explanation=verdict["reason"] or None)
        )
    return EvalSample(
        id=talk["id"],
        epoch=1,
        input=[message for message in messages if message.role != "assistant"],
        target="",
        messages=messages,
        output=ModelOutput.from_message(replies[-1]) if replies else ModelOutput(),
        scores=scores,
        metadata={"title": talk.get("title", ""), **talk.get("tags", {})},
    )


def _message(folder: Path, turn: Mapping[str, Any]) -> Any:
    """A turn as Inspect's message; whoever is neither model nor system speaks as the user, by name."""
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
        ContentImage,
        ContentText,
    )

    role = turn["role"]
    kinds: dict[str, Any] = {"assistant": ChatMessageAssistant, "system": ChatMessageSystem}
    prefix = "" if role in ("user", *kinds) else f"{role}: "
    path = folder / turn.get("path", "")
    if "path" not in turn:
        words = turn.get("text", f"(withheld: {turn.get('withheld', '')})")
        content: Any = ContentText(text=prefix + words)
    elif path.resolve().is_relative_to(folder.resolve()) and path.is_file() and path.suffix in TYPES:
        content = ContentImage(image=data_url(TYPES[path.suffix], path.read_bytes()))
    else:
        content = ContentText(text=f"{prefix}({turn['path']})")
    return kinds.get(role, ChatMessageUser)(content=[content])


_register()
