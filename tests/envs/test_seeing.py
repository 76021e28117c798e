import builtins
import importlib
import sys

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from polymodal.envs import seeing  # noqa: E402


def test_the_environment_keeps_gymnasium_s_contract():
    check_env(gymnasium.make(seeing.register(), render_mode="rgb_array").unwrapped)


def test_one_answer_ends_the_episode_with_one_or_nothing():
    env = gymnasium.make("polymodal.envs.seeing:polymodal/Scenes-v0", families=("sign",), split="test")
    for index in range(5):
        seen, info = env.reset(seed=3, options={"index": index})
        assert seen["image"].shape == (64, 64, 3)
        assert seen["image"].dtype == np.uint8
        assert info["family"] == "sign"
        target = env.step("0")[-1]["target"]
        for answer, reward in ((f" {target}. ", 1.0), ("stop", 0.0)):
            env.reset(options={"index": index})
            assert env.step(answer)[1:4] == (reward, True, False)


def test_the_seed_says_which_questions_are_asked():
    env = seeing.Scenes()
    asked = [
        [env.reset(seed=s)[0]["question"], *(env.reset()[0]["question"] for _ in range(5))] for s in (1, 1, 2)
    ]
    assert asked[0] == asked[1]
    assert asked[0] != asked[2]
    assert env.reset(seed=1, options={"family": "count"})[1]["choices"][0] == "1"
    assert env.render() is None


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="smell"):
        seeing.Scenes(families=("smell",))
    with pytest.raises(ValueError, match="human"):
        seeing.Scenes(render_mode="human")
    env = seeing.Scenes()
    with pytest.raises(RuntimeError, match="call reset"):
        env.step("red")
    with pytest.raises(ValueError, match="level"):
        env.reset(options={"level": 3})


def test_without_gymnasium_the_message_holds_the_pip_line(monkeypatch):
    plain = builtins.__import__

    def refused(name, *rest, **named):
        if name.partition(".")[0] == "gymnasium":
            raise ModuleNotFoundError("no module", name=name)
        return plain(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "polymodal.envs.seeing")
    monkeypatch.setattr(builtins, "__import__", refused)
    with pytest.raises(ModuleNotFoundError, match="pip install"):
        importlib.import_module("polymodal.envs.seeing")
