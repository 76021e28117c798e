"""The scene world: shapes and signs drawn from a key, their pixels and their boxes."""

from polymodal.envs.scenes.drawing import draw, moved, pixels, video
from polymodal.envs.scenes.streams import Stream
from polymodal.envs.scenes.world import (
    COLOURS,
    PLACES,
    SHAPES,
    SIZES,
    TEXTURES,
    VERSION,
    WORDS,
    Box,
    CrowdedError,
    Key,
    Look,
    Object,
    Scene,
    Sign,
    World,
    arranged,
    place,
    scene,
)

__all__ = [
    "COLOURS", "PLACES", "SHAPES", "SIZES", "TEXTURES", "VERSION", "WORDS", "Box", "CrowdedError", "Key",
    "Look", "Object", "Scene", "Sign", "Stream", "World", "arranged", "draw", "moved", "pixels", "place",
    "scene", "video",
]  # fmt: skip
