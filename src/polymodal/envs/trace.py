"""A trace: one JSON line a turn, pictures by digest; and playing it again to see the same.

Texts stand in the line, pictures and long arrays by digest, so that a trace is small and two traces of one
seed are equal to the byte. Seconds are not in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.chat.ledger import COLUMNS
from polymodal.envs.spaces import as_json
from polymodal.media import Image
from polymodal.media.part import digest_of

if TYPE_CHECKING:
    import gymnasium

    from polymodal.envs.play import Turn

SHORT = 64  # numbers of an array that stand in the line


class ReplayError(AssertionError):
    """A recorded episode came out otherwise; the message names the first turn and what differs."""


def line(turn: Turn) -> str:
    """A turn as one line of JSON, line break included; what came after stands in an episode's last line."""
    usage = turn.usage
    told = {
        "episode": {"seed": turn.episode.seed, "options": told_as(turn.episode.options)},
        "n": turn.n,
        "observation": told_as(turn.observation),
        "action": told_as(as_json(turn.action)),
        "valid": turn.valid,
        "reward": turn.reward,
        "terminated": turn.terminated,
        "truncated": turn.truncated,
        "reason": turn.reason,
        "info": told_as(turn.info),
        "steps": list(turn.steps),
        "cost": {"calls": usage.calls + usage.cached, **{name: getattr(usage, name) for name in COLUMNS}},
    }
    if turn.over:
        told["after"] = told_as(turn.after)
    return json.dumps(told, ensure_ascii=False, allow_nan=False) + "\n"


def pictures(turn: Turn) -> dict[str, Image]:
    """The pictures that the turn's line names, by digest; empty ones are not among them."""
    shown = [turn.observation, turn.after] if turn.over else [turn.observation]
    found = [Image(value) for value in _leaves(shown) if is_picture(value) and value.size]
    return {picture.digest(): picture for picture in found}


def is_picture(value: Any) -> bool:
    """Whether it is an array of uint8, "h w 3"."""
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.shape[2:] == (3,)


def told_as(value: Any) -> Any:
    """What is seen as JSON: pictures, long arrays and media parts by digest, the rest as it is."""
    if is_picture(value):
        return {"picture": Image(value).digest(), "size": [value.shape[1], value.shape[0]]}
    if isinstance(value, np.ndarray) and (value.size > SHORT or value.dtype.hasobject):
        return {"array": digest_of("series", value), "shape": list(value.shape)}
    if isinstance(value, np.ndarray | np.generic):
        return told_as(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): told_as(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [told_as(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if hasattr(value, "digest"):
        return {"part": value.digest()}
    return told_as(as_json(value)) if is_dataclass(value) else {"type": type(value).__name__}


def replay(lines: Iterable[str], env: gymnasium.Env[Any, Any]) -> int:
    """Do the recorded actions again, and give the number of turns that came out the same.

    Compared are what was seen, the rewards, and whether the environment ended or cut the episode; not what
    `info` says or what models cost. Episodes may follow one another.

    Args:
        lines: of a trace, in order.
        env: made as the one that was recorded.

    Raises:
        ReplayError: naming the first turn that differs, with what was and what is.
        ValueError: a line that is none of a trace, or is missing.
    """
    done, due, observation = 0, 0, None
    for number, text in enumerate(lines, 1):
        was = _read(text, number, due)
        at = f"line {number}, turn {was['n']} of seed {was['episode']['seed']}"
        if was["n"] == 0:
            observation, _ = env.reset(seed=was["episode"]["seed"], options=was["episode"]["options"] or None)
        _compare(f"{at}: observation", was["observation"], told_as(observation))
        due = was["n"] + 1
        done += 1
        if was["reason"] == "policy error" or was["action"] is None:
            continue
        action = env.action_space.from_jsonable([was["action"]])[0]
        observation, reward, ended, cut, _ = env.step(action)
        now = {"reward": float(reward), "terminated": bool(ended), "cut": bool(cut) and not ended}
        then = {key: was[key] for key in ("reward", "terminated")}
        _compare(at, {**then, "cut": was["reason"] == "env"}, now)
        if "after" in was:
            _compare(f"{at}: after", was["after"], told_as(observation))
    return done


def _read(text: str, number: int, due: int) -> dict[str, Any]:
    """A line's fields; it begins an episode or is the turn that is due."""
    try:
        was: dict[str, Any] = json.loads(text)
        n, episode, _ = (
            was["n"],
            was["episode"],
            [was[k] for k in ("observation", "action", "reward", "reason")],
        )
        episode["seed"], episode["options"], was["terminated"]
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"line {number} is no turn of a trace: {type(error).__name__}: {error}") from None
    if n not in (0, due):
        raise ValueError(f"line {number} is turn {n}; turn {due} was to come")
    return was


def _compare(at: str, was: Any, now: Any) -> None:
    """The first place where two JSON values differ."""
    if isinstance(was, dict) and isinstance(now, dict) and was.keys() == now.keys():
        for key in was:
            _compare(f"{at} {key}", was[key], now[key])
    elif was != now:
        raise ReplayError(f"{at} was {str(was)[:200]!r}, is now {str(now)[:200]!r}")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
