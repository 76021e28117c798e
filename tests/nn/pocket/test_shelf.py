"""Pocket weights that came with the package."""

import pytest

from polymodal.nn.dual import Dual
from polymodal.nn.pocket import folder, names
from polymodal.nn.pocket.shelf import HOME

FILES = {"config.json", "model.safetensors", "tokenizer.json", "README.md"}


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match="no pocket model 'pocket-cat'; known: "):
        folder("pocket-cat")


def test_every_folder_is_whole() -> None:
    for name in names():
        assert {path.name for path in folder(name).iterdir()} >= FILES, name


def test_all_weights_together_are_small() -> None:
    assert sum(path.stat().st_size for path in HOME.rglob("*.safetensors")) <= 20e6


def test_pocket_clip_loads_by_name() -> None:
    if "pocket-clip" in names():  # trained by a system's recipe, which may not have run yet
        assert Dual.from_pretrained("pocket-clip").dim == 128
