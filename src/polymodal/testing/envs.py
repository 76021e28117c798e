"""Contracts of a place to act in, and of who acts there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium

    from polymodal.envs.play import Policy, Turn

EPISODES = 3


def check_env(make: Callable[[], gymnasium.Env[Any, Any]], *, limit: int = 30, seed: int = 0) -> list[Turn]:
    """An environment keeps Gymnasium's contract without a warning, and ours.

    Ours: the same seed and actions give the same episode, also from its trace, also after an episode that was
    left; an end and a cut never come together; no step before a reset or after an end; `null` is an action.

    Args:
        make: gives a fresh environment, each time the same.
        limit: of turns of an episode with drawn actions.
        seed: of the first episode and of the actions.

    Returns:
        The turns of the episodes that were played, for checks of the caller's own.

    Raises:
        AssertionError: saying which promise is broken.
    """
    from polymodal.envs.trace import replay

    env = make()
    _check_by_gymnasium(env)
    _check_refuses(make(), "before the first reset")
    _check_null(make(), seed=seed)
    for _ in _drawn(env, limit, seed):
        break
    turns = [turn for each in range(seed, seed + EPISODES) for turn in _drawn(env, limit, each)]
    fresh = make()
    again = [turn for each in range(seed, seed + EPISODES) for turn in _drawn(fresh, limit, each)]
    _check_same(turns, again, "the same seed and actions give another episode")
    replay([turn.line() for turn in turns], make())
    for turn in turns:
        assert turn.observation in env.observation_space, f"turn {turn.n}: outside the observation space"
    for each in range(seed, seed + EPISODES):
        _check_end(env, limit, each)
    env.close()
    env.close()
    return turns


def check_policy(
    make: Callable[[], gymnasium.Env[Any, Any]],
    policy: Policy[Any, Any],
    *,
    limit: int = 30,
    seed: int = 0,
) -> list[Turn]:
    """A policy gives actions of the space, never an error, and the same ones after another episode.

    Args:
        make: gives a fresh environment, each time the same.
        policy: who acts.
        limit: of turns of an episode.
        seed: of the episodes.

    Returns:
        The turns of the first episode.

    Raises:
        AssertionError: saying which promise is broken.
    """
    from polymodal.envs.play import play

    first, _, again = (list(play(make(), policy, seed=s, limit=limit)) for s in (seed, seed + 1, seed))
    for turn in first:
        assert turn.reason != "policy error", f"turn {turn.n}: {turn.info['error']}"
        assert turn.valid, f"turn {turn.n}: its answer is no action of {make().action_space}"
    _check_same(first, again, "an episode played before shows in the actions")
    return first


def _check_by_gymnasium(env: gymnasium.Env[Any, Any]) -> None:
    from gymnasium.utils.env_checker import check_env as check

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check(env.unwrapped, skip_render_check=env.spec is None)
        except Exception as error:  # a warning of Gymnasium's is a broken promise too
            raise AssertionError(f"Gymnasium's own check: {error}") from error


def _check_refuses(env: gymnasium.Env[Any, Any], when: str) -> None:
    """A step that is out of place raises RuntimeError."""
    action = getattr(env.unwrapped, "null", None)
    refused = False
    try:
        env.unwrapped.step(env.action_space.sample() if action is None else action)
    except RuntimeError:
        refused = True
    assert refused, f"a step {when} is not refused with RuntimeError"


def _check_null(env: gymnasium.Env[Any, Any], *, seed: int) -> None:
    null = getattr(env.unwrapped, "null", None)
    assert null is not None, "no attribute `null`: the action that stands for one that is not understood"
    assert null in env.action_space, f"null={null!r} is no action of {env.action_space}"
    env.reset(seed=seed)
    env.step(null)


def _drawn(env: gymnasium.Env[Any, Any], limit: int, each: int) -> Any:
    """An episode with actions drawn from the space, the same for an episode's seed."""
    from polymodal.envs.play import play

    env.action_space.seed(each)
    return play(env, lambda _: env.action_space.sample(), seed=each, limit=limit)


def _check_end(env: gymnasium.Env[Any, Any], limit: int, each: int) -> None:
    """Steps by hand, since `play` would not show that both are said."""
    env.action_space.seed(each)
    env.reset(seed=each)
    for n in range(limit):
        _, _, ended, cut, _ = env.step(env.action_space.sample())
        assert not (ended and cut), f"turn {n}: terminated and truncated at once"
        if ended or cut:
            _check_refuses(env, "after the end")
            return


def _check_same(first: list[Turn], again: list[Turn], what: str) -> None:
    from itertools import zip_longest

    for one, other in zip_longest(first, again):
        ours, theirs = (turn.line() if turn else "(no turn)" for turn in (one, other))
        assert ours == theirs, f"{what}:\n{ours}{theirs}"
