"""A small dual encoder and its tokenizer."""

import pytest

from polymodal.nn.dual import Dual
from polymodal.nn.pocket import Tokens

TEXTS = [
    "a small striped red star in the upper left. there are 12 circles.",
    "what number is on the sign? 27",
    "two large blue rings and a heart",
]


@pytest.fixture(scope="session")
def tokens() -> Tokens:
    return Tokens.trained(TEXTS, size=352)


@pytest.fixture
def dual(tokens: Tokens) -> Dual:
    return Dual.pocket(tokens, dim=32, layers=3, heads=2, patch=8, size=32, length=40)
