"""Playing, traces and chat models as policies, on a counter small enough to know by heart."""

import json
from dataclasses import dataclass, replace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from polymodal.chat import Reply, Scripted, Usage, assistant, said
from polymodal.envs import trace
from polymodal.envs.play import Move, acting, play, shown
from polymodal.envs.seeing import Scenes
from polymodal.envs.spaces import Records
from polymodal.media import Image, Text
from polymodal.runs import Run


@dataclass(frozen=True)
class Add:
    n: int


@dataclass(frozen=True)
class Wait:
    pass


class Counter(gymnasium.Env):
    """Counts to ten: reward 1 on the spot, an end; beyond it the env itself cuts."""

    observation_space = spaces.Dict({"count": spaces.Box(-99, 99, (), np.int64)})
    action_space = Records(Add, Wait)
    null = Wait()
    closed = 0
    drift = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = int(self.np_random.integers(3)) + (options or {}).get("from", 0)
        return self.seen(), {"goal": "ten"}

    def seen(self):
        return {"count": self.count, "image": np.full((2, 2, 3), self.count % 256, np.uint8)}

    def step(self, action):
        self.count += (action.n if isinstance(action, Add) else 0) + self.drift
        return self.seen(), float(self.count == 10), self.count == 10, self.count > 10, {}

    def close(self):
        self.closed += 1


def one(observation):
    return Add(1)


def test_an_end_a_cut_and_a_failure_are_told_apart():
    env = Counter()
    ended = list(play(env, lambda seen: Add(10 - seen["count"]), seed=1, limit=1))
    assert [(t.terminated, t.truncated, t.reason, t.reward) for t in ended] == [(True, False, "", 1.0)]
    cut = list(play(env, one, seed=1, limit=4))
    assert [t.reason for t in cut] == ["", "", "", "limit"]
    assert [t.n for t in cut] == [0, 1, 2, 3]
    assert [t.truncated for t in cut] == [False, False, False, True]
    own = list(play(env, lambda _: Add(50), seed=1, limit=1))
    assert [(t.terminated, t.truncated, t.reason) for t in own] == [(False, True, "env")]
    failed = list(play(env, lambda seen: Add(1 // (seen["count"] < 3)), seed=1, limit=99))
    assert (failed[-1].reason, failed[-1].truncated, failed[-1].action) == ("policy error", True, None)
    assert failed[-1].info["error"].startswith("ZeroDivisionError")
    assert all(t.valid for t in failed[:-1])
    assert env.closed == 0
    with pytest.raises(ValueError, match="limit=0"):
        next(play(env, one, seed=1, limit=0))


def test_leaving_early_and_an_error_of_the_env_close_it():
    env = Counter()
    for _ in play(env, one, seed=0, limit=9):
        break
    assert env.closed == 1
    env.seen = None
    with pytest.raises(TypeError):
        list(play(env, one, seed=0, limit=9))
    assert env.closed == 2


def test_what_is_no_action_becomes_the_null_action_and_so_many_in_a_row_cut():
    def babble(seen):
        return Add(1) if seen["count"] == 2 else "drop everything"

    turns = list(play(Counter(), babble, seed=0, limit=9, options={"from": -9}, invalid=3))
    assert [(t.action, t.valid, t.reason) for t in turns][-1] == (Wait(), False, "invalid")
    assert len(turns) == 3
    bare = gymnasium.make("CartPole-v1")
    assert not hasattr(bare.unwrapped, "null")
    turns = list(play(bare, lambda _: Move(None, valid=False), seed=0, limit=9))
    assert [(t.action, t.reason, t.truncated) for t in turns] == [(None, "invalid", True)]


def test_a_trace_repeats_to_the_byte_and_is_played_again(tmp_path):
    def policy(seen):
        return Add(4)

    env = Counter()
    turns = [
        turn for seed in (0, 1, 2) for turn in play(env, policy, seed=seed, limit=2, options={"from": 1})
    ]
    lines = [turn.line() for turn in turns]
    again = [t.line() for s in (0, 1, 2) for t in play(env, policy, seed=s, limit=2, options={"from": 1})]
    assert lines == again
    assert json.loads(lines[0])["action"] == {"act": "add", "n": 4}
    assert trace.replay(lines, Counter()) == len(lines) == 6
    with Run.create("counting", {}, tmp_path) as run:
        run.trace("trace.jsonl", turns)
        assert (run.folder / "trace.jsonl").read_text() == "".join(lines)
        for turn in turns:
            for digest in turn.pictures():
                assert digest in turn.line()
                assert (run.folder / "media" / f"{digest}.png").exists()


def test_a_trace_that_comes_out_otherwise_names_the_turn():
    lines = [turn.line() for turn in play(Counter(), one, seed=0, limit=3)]
    other = Counter()
    other.drift = 1
    with pytest.raises(trace.ReplayError, match="line 2, turn 1 of seed 0: observation count was"):
        trace.replay(lines, other)
    other.drift, other.count = 0, 0
    other.seen = lambda: {**Counter.seen(other), "image": np.zeros((2, 2, 3), np.uint8)}
    with pytest.raises(trace.ReplayError, match="line 1, turn 0 of seed 0: observation image picture"):
        trace.replay(lines, other)
    told = json.loads(lines[0]) | {"reward": 0.5}
    with pytest.raises(trace.ReplayError, match=r"line 1, turn 0 of seed 0 reward was '0\.5'"):
        trace.replay([json.dumps(told)], Counter())


def test_a_torn_or_mixed_trace_is_refused():
    lines = [turn.line() for turn in play(Counter(), one, seed=0, limit=3)]
    with pytest.raises(ValueError, match="line 2 is turn 2; turn 1 was to come"):
        trace.replay([lines[0], lines[2]], Counter())
    for torn in (lines[1][:40], "[]", "{}"):
        with pytest.raises(ValueError, match="line 2 is no turn"):
            trace.replay([lines[0], torn], Counter())


SCHEMA = {
    "type": "object",
    "properties": {"act": {"enum": ["add", "wait"]}, "n": {"type": "integer"}},
    "required": ["act"],
}


def test_a_chat_model_acts_is_asked_once_more_and_then_waits():
    calls = []

    def answer(messages, seed):
        calls.append((len(messages), seed))
        text = said(messages[-1])
        if "count: 0" in text:
            return 'I think {"act": "add", "n": 1}'
        if "count: 1" in text:
            return "no idea"
        if "could not be used" in text:
            return '{"act": "wait", "n": "many"}'
        return Reply(assistant('{"act": "add", "n": 1, "why": ""}'), Usage(calls=1, tokens_in=7))

    model = Scripted("counting", answer)
    policy = acting(model, "Count to ten.", SCHEMA, act=Counter.action_space.read)
    env = Counter()
    env.reset(seed=4)
    start = {"from": -env.count}
    turns = list(play(env, policy, seed=4, limit=3, options=start))
    assert [t.valid for t in turns] == [True, False, False]
    assert [t.action for t in turns] == [Add(1), Wait(), Wait()]
    assert [t.usage.calls for t in turns] == [1, 2, 2]
    assert [n for n, _ in calls] == [2, 4, 6, 6, 8]  # system, the talk so far, now; a repair has two more
    odd = policy({"count": 2})
    assert (odd.valid, odd.steps[1]) == (False, "add has no field 'why'; known: n")
    assert odd.usage == Usage(calls=1, tokens_in=7)
    assert json.loads(turns[1].line())["cost"]["calls"] == 2
    first = [t.line() for t in turns]
    assert first == [t.line() for t in play(env, policy, seed=4, limit=3, options=start)]
    short = acting(model, "Count.", SCHEMA, act=Counter.action_space.read, memory=0)
    calls.clear()
    list(play(env, short, seed=4, limit=1, options={"from": 9}))
    assert calls[0][0] == 2


def test_an_observation_is_shown_as_lines_and_pictures():
    picture, nothing = np.zeros((2, 3, 3), np.uint8), np.zeros((0, 0, 3), np.uint8)
    parts = shown({"said": "It hurts.", "value": "", "image": picture, "other": nothing, "n": np.int64(3)})
    assert parts[0] == "said: It hurts.\nn: 3"
    assert isinstance(parts[1], Image)
    assert parts[1].size() == (3, 2)
    assert len(parts) == 2
    assert shown("red") == ["red"]
    assert shown({}) == [Text("")]


def test_scenes_are_played_by_a_plain_function():
    turns = [t for seed in range(3) for t in play(Scenes(), lambda _: 7, seed=seed, limit=2)]
    assert [(t.action, t.valid, t.terminated) for t in turns] == [("?", False, True)] * 3
    assert trace.replay([t.line() for t in turns], Scenes()) == 3
    assert replace(turns[0], steps=("x",)).line() != turns[0].line()
