"""Playing: a policy meets an environment, turn by turn, with what each turn cost.

Only `play` cuts an episode. An end, a cut by the limit, the environment's own cut and a policy that failed
are told apart by `Turn.reason`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

from polymodal.chat.model import ChatModel, Schema, Usage, assistant, system, user
from polymodal.chat.scripted import uniform
from polymodal.chat.structured import ask
from polymodal.envs import trace
from polymodal.media import Image, Message, Part, Text

try:
    import gymnasium
except ModuleNotFoundError as error:
    hint = 'environments need gymnasium; install it with: pip install "gymnasium>=1,<2"'
    raise ModuleNotFoundError(hint, name="gymnasium") from error

Reason = Literal["", "limit", "env", "policy error", "invalid"]
Seen = TypeVar("Seen", contravariant=True)
Did = TypeVar("Did", covariant=True)


class Policy(Protocol[Seen, Did]):
    """Chooses actions; a plain function is one.

    It may have `start(*, seed, goal)`, called before each episode, where `goal` is what `reset` told in
    `info["goal"]`, else "". It may return a `Move` instead of a bare action.
    """

    def __call__(self, observation: Seen, /) -> Did | Move:
        """The action."""


@dataclass(frozen=True, slots=True)
class Move:
    """An action with what it took.

    Attributes:
        action: what to do; of no account where `valid` is False.
        valid: whether an action could be made of what the policy said.
        steps: what the policy said on the way, for the trace.
        usage: what it cost.
    """

    action: Any
    valid: bool = True
    steps: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Episode:
    """What an episode hangs on: the seed and the options of its reset."""

    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One action and what came of it.

    Attributes:
        episode: the seed and options that it began with.
        n: of the turn, from 0.
        observation: what the policy saw.
        action: what the environment was given: the null action where `valid` is False; None where the episode
            ended before a step.
        valid: whether the policy's answer was an action of the space.
        reward: of the step.
        terminated: the environment says that the episode is over.
        truncated: it was cut.
        reason: by what: "limit", "env", "policy error" (a failure), "invalid" (so many in a row, or an
            environment without a null action); "" for an end and for a turn between.
        info: the environment's; for a policy error also `error`.
        steps: what the policy said on the way.
        usage: what its models cost.
        seconds: thinking and stepping; differs between runs, so the trace leaves it out.
        after: what the environment showed then.
    """

    episode: Episode
    n: int
    observation: Any
    action: Any
    valid: bool
    reward: float
    terminated: bool
    truncated: bool
    reason: Reason
    info: Mapping[str, Any]
    steps: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    after: Any = None

    @property
    def over(self) -> bool:
        """Whether the episode ends here."""
        return self.terminated or self.truncated

    def line(self) -> str:
        """The turn as one line of JSON with its line break; see `envs.trace`."""
        return trace.line(self)

    def pictures(self) -> dict[str, Image]:
        """The pictures of the turn by the digests that its line names."""
        return trace.pictures(self)


def play(
    env: gymnasium.Env[Any, Any],
    policy: Policy[Any, Any],
    *,
    seed: int,
    limit: int,
    options: Mapping[str, Any] | None = None,
    invalid: int | None = None,
) -> Iterator[Turn]:
    """Play one episode. Leaving the loop early, or an error of the environment, closes the environment.

    An answer that is no action of the space is invalid: the environment is given its `null` action; where it
    has none, a bare action goes through as it is, and an invalid `Move` cuts the episode.

    Args:
        env: where to act.
        policy: who acts. An error of its own ends the episode with reason "policy error".
        seed: of the reset and of the policy.
        limit: of turns; the last one is cut with reason "limit".
        options: of the reset.
        invalid: so many invalid answers in a row cut the episode with reason "invalid"; None for no bound.

    Raises:
        ValueError: a limit below 1.
    """
    for name, bound in (("limit", limit), ("invalid", invalid)):
        if bound is not None and bound < 1:
            raise ValueError(f"{name}={bound}: at least 1 is needed")
    whole = False
    try:
        yield from _turns(env, policy, Episode(seed, dict(options or {})), limit, invalid)
        whole = True
    finally:
        if not whole:
            env.close()


def _turns(
    env: gymnasium.Env[Any, Any], policy: Policy[Any, Any], episode: Episode, limit: int, most: int | None
) -> Iterator[Turn]:
    observation, info = env.reset(seed=episode.seed, options=dict(episode.options) or None)
    null, wrong = getattr(env.unwrapped, "null", None), 0
    for n in range(limit):
        begun = time.perf_counter()
        given_up = partial(Turn, episode, n, observation, None, False, 0.0, False, True)
        try:
            if n == 0 and (start := getattr(policy, "start", None)) is not None:
                start(seed=episode.seed, goal=str(info.get("goal", "")))
            answer = policy(observation)
        except Exception as error:  # whatever a policy does wrong is its own failure, and the run goes on
            told = {**info, "error": f"{type(error).__name__}: {error}"}
            yield given_up("policy error", told, seconds=time.perf_counter() - begun)
            return
        move = answer if isinstance(answer, Move) else Move(answer)
        valid = move.valid and move.action in env.action_space
        wrong = 0 if valid else wrong + 1
        action = move.action if valid or (null is None and move.valid) else null
        if action is None and not valid:
            yield given_up("invalid", info, move.steps, move.usage, time.perf_counter() - begun)
            return
        after, reward, ended, cut, info = env.step(action)
        ended = bool(ended)
        reason = _reason(ended, cut=bool(cut), lost=wrong == most, last=n + 1 == limit)
        yield Turn(
            episode=episode,
            n=n,
            observation=observation,
            action=action,
            valid=valid,
            reward=float(reward),
            terminated=ended,
            truncated=bool(reason),
            reason=reason,
            info=info,
            steps=move.steps,
            usage=move.usage,
            seconds=time.perf_counter() - begun,
            after=after,
        )
        if ended or reason:
            return
        observation = after


def _reason(ended: bool, *, cut: bool, lost: bool, last: bool) -> Reason:
    """What cuts the episode at this turn; an end is an end, also at the limit."""
    if ended:
        return ""
    return "env" if cut else "invalid" if lost else "limit" if last else ""


class Acting:
    """A chat model as a policy; see `acting`."""

    def __init__(
        self,
        model: ChatModel,
        instruct: str,
        schema: Schema,
        *,
        act: Callable[[dict[str, Any]], Any],
        show: Callable[[Any], Sequence[Part | str]],
        memory: int | None,
    ) -> None:
        self.model, self.instruct, self.schema = model, instruct, schema
        self.act, self.show, self.memory = act, show, memory
        self.start(seed=0, goal="")

    def start(self, *, seed: int, goal: str = "") -> None:
        """Forget the last episode."""
        self._seed, self._n = seed, 0
        self._head = system(f"{self.instruct}\n\nGoal: {goal}" if goal else self.instruct)
        self._talk: list[Message] = []

    def __call__(self, observation: Any) -> Move:
        """The model's action on what is seen; not valid where two replies hold none."""
        now = user(*self.show(observation))
        past = self._talk if self.memory is None else self._talk[-2 * self.memory :] if self.memory else []
        seed = int(uniform("acting", self._seed, self._n) * 2**31)
        asked = ask(self.model, self._head, *past, now, schema=self.schema, seed=seed)
        self._n += 1
        self._talk += [now, assistant(asked.text or "(no reply)")]
        steps = (asked.text or asked.error,)
        if asked.data is None:
            return Move(None, False, steps, asked.usage)
        try:
            return Move(self.act(asked.data), True, steps, asked.usage)
        except (ValueError, TypeError, LookupError) as error:
            return Move(None, False, (*steps, str(error)), asked.usage)


def acting(
    model: ChatModel,
    instruct: str,
    schema: Schema,
    *,
    act: Callable[[dict[str, Any]], Any] = dict,
    show: Callable[[Any], Sequence[Part | str]] | None = None,
    memory: int | None = None,
) -> Acting:
    """A policy of a chat model: one call a turn, and one more where the first reply has not the form.

    Args:
        model: what chooses.
        instruct: what stands above the talk.
        schema: JSON schema of the object that says the action.
        act: makes the action of that object, such as `env.action_space.read`; its ValueError, TypeError or
            LookupError makes the turn invalid.
        show: what is put before the model of an observation; by default `shown`.
        memory: so many turns before this one stay in the talk; None for all.
    """
    return Acting(model, instruct, schema, act=act, show=show or shown, memory=memory)


def shown(observation: Any) -> list[Part | str]:
    """An observation as parts of a message: a line an entry, what is empty left out, pictures behind."""
    entries = observation if isinstance(observation, Mapping) else {"": observation}
    lines: list[str] = []
    parts: list[Part | str] = []
    for name, value in entries.items():
        if trace.is_picture(value):
            if value.size:
                parts.append(Image(value))
        elif hasattr(value, "digest"):
            parts.append(value)
        elif str(value):
            lines.append(f"{name}: {value}" if name else str(value))
    return [*(["\n".join(lines)] if lines else []), *parts] or [Text("")]
