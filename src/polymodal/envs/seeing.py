"""Scenes as a Gymnasium environment: a picture and a question, one answer, reward 1 or 0."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from jaxtyping import UInt8

from polymodal.envs.questions import FAMILIES, Question, ask
from polymodal.envs.scenes import pixels

try:
    import gymnasium
    from gymnasium import spaces
except ModuleNotFoundError as error:
    hint = 'environments need gymnasium; install it with: pip install "gymnasium>=1,<2"'
    raise ModuleNotFoundError(hint, name="gymnasium") from error

NAME = "polymodal/Scenes-v0"
LONGEST = 200  # characters of a question or an answer
KNOWN = 1_000_000  # questions of a family that an episode draws from


class Seen(TypedDict):
    """An observation: the picture, "h w 3", and what is asked about it."""

    image: UInt8[np.ndarray, "h w 3"]
    question: str


class Scenes(gymnasium.Env[Seen, str]):
    """A question of a drawn family at each reset; the first answer ends the episode.

    `reset(options={"family": ..., "index": ...})` asks for a certain one. `info` holds family, index and the
    choices, and after the answer also the target.

    Args:
        families: those that are drawn from; all when empty.
        split: "train", "test" or any other word.
        seed: of the set of questions; the seed of `reset` says which of them are asked.
        size: side of the picture in pixels.
        render_mode: "rgb_array", or None.

    Raises:
        ValueError: an unknown family or render mode.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012 - the base class's form
    null = "?"  # stands for an answer that could not be understood

    def __init__(
        self,
        *,
        families: Sequence[str] = (),
        split: str = "train",
        seed: int = 0,
        size: int = 64,
        render_mode: str | None = None,
    ) -> None:
        unknown = [family for family in families if family not in FAMILIES]
        if unknown:
            raise ValueError(f"no family {unknown[0]!r}; known: {', '.join(FAMILIES)}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode={render_mode!r}: "rgb_array" or None')
        self.families, self.split, self.root, self.size = tuple(families or FAMILIES), split, seed, size
        self.render_mode = render_mode
        words = spaces.Text(LONGEST, charset=string.ascii_letters + string.digits + " .,:;?!'\"-+=")
        image = spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": image, "question": words})  # type: ignore[assignment]
        self.action_space = words
        self._image: UInt8[np.ndarray, "h w 3"] | None = None
        self._asked: Question | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """The next question, or that of the options.

        Raises:
            ValueError: an unknown family or option.
        """
        super().reset(seed=seed)
        options = options or {}
        if options.keys() - {"family", "index"}:
            raise ValueError(f"options={options}: family and index are known")
        family = self.families[int(self.np_random.integers(len(self.families)))]
        index = int(self.np_random.integers(KNOWN))
        family, index = options.get("family", family), int(options.get("index", index))
        scene, self._asked = ask(index, family=family, split=self.split, seed=self.root, size=self.size)
        self._image = pixels(scene)
        info = {"family": family, "index": index, "choices": self._asked.choices}
        return {"image": self._image.copy(), "question": self._asked.question}, info

    def step(self, action: str) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Reward 1 for the right answer, whatever its case and the blanks or full stop around it.

        Raises:
            RuntimeError: no question is open.
        """
        if self._asked is None or self._image is None:
            raise RuntimeError("no question is open: call reset before each answer")
        asked, self._asked = self._asked, None
        right = str(action).strip(" .").lower() == asked.answer
        seen: Seen = {"image": self._image.copy(), "question": asked.question}
        return seen, float(right), True, False, {"target": asked.answer, "choices": asked.choices}

    def render(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """The picture in question; None without a render mode."""
        return self._image if self.render_mode == "rgb_array" else None


def register() -> str:
    """Makes "polymodal/Scenes-v0" known to `gymnasium.make` and gives the name; an import does it too."""
    if NAME not in gymnasium.registry:
        gymnasium.register(NAME, entry_point="polymodal.envs.seeing:Scenes")
    return NAME


register()
