"""Where texts are cut, against a slow search and by hand."""

import re

import pytest

from polymodal.nn.dual.sentences import fitting


def words(text: str) -> int:
    return len(re.findall(r"[\w.]+", text)) + 2


def slow(text: str, length: int) -> str:
    """The longest start that fits and behind which a sentence ends."""
    if words(text) <= length:
        return text
    fit = [
        text[: i + 1]
        for i, mark in enumerate(text[:-1])
        if mark in ".!?" and text[i + 1].isspace() and words(text[: i + 1]) <= length
    ]
    return max(fit, key=len, default=text)


def test_every_length_gives_the_last_sentence_that_fits() -> None:
    text = "A star. Two rings are blue! Is it 3.5 wide? It lies on the left of the sign. The end"
    for length in range(1, 30):
        assert fitting(text, length, words) == slow(text, length)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a b c. d e f g h", "a b c."),
        ("a 3.5 b c d e f g h", "a 3.5 b c d e f g h"),  # not even one sentence fits
        ('a "b." c d e f g', 'a "b."'),
        ("星。 a b c d e f g", "星。"),
        ("a. b", "a. b"),
    ],
)
def test_by_hand(text: str, kept: str) -> None:
    assert fitting(text, 6, words) == kept
