"""The one form in which a pocket model is asked, in training and in chat.

    <start> + a slot <image> a patch + question + a line's end + answer + <end>

Language models have the same form without slots. Texts are lower case, as the models know no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

if TYPE_CHECKING:
    from polymodal.nn.pocket import Tokens

BREAK = "\n"
TEMPLATE = (  # the same for transformers, whose processor gives a picture as many slots as it has patches
    "{{ '<start>' }}{% for m in messages %}{% if m['content'] is not string %}{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m['content'] is string %}{{ m['content'] | trim | lower + '\n' }}{% else %}"
    "{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] | trim | lower + '\n' }}{% endif %}"
    "{% endfor %}{% endif %}{% endfor %}"
)


def plain(text: str) -> str:
    """A text as the pocket models know texts."""
    return text.strip().lower()


def question(words: Tokens, text: str | Sequence[str], patches: int = 0) -> list[int]:
    """The ids of one prompt, of a text or of lines; `patches` slots where it goes with a picture."""
    lines = [text] if isinstance(text, str) else text
    said = "".join(plain(line) + BREAK for line in lines)
    return [words.start, *[words.image] * patches, *words.ids(said)]


def answer(words: Tokens, text: str) -> list[int]:
    """The ids of one answer, its end included."""
    return [*words.ids(plain(text)), words.end]


def asked(
    words: Tokens, questions: Sequence[str], patches: int = 0
) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """Prompts that end together, padded on the left, and which of their tokens are real."""
    return level([question(words, text, patches) for text in questions], words.pad)


def lesson(
    words: Tokens, questions: Sequence[str], answers: Sequence[str], patches: int = 0
) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """Prompts with their answers, padded on the right, and which tokens are an answer's: those to count.

    Raises:
        ValueError: not as many answers as questions.
    """
    pairs = [
        (question(words, text, patches), answer(words, said))
        for text, said in zip(questions, answers, strict=True)
    ]
    ids, real = level([asks + says for asks, says in pairs], words.pad, left=False)
    starts = torch.tensor([[len(asks)] for asks, _ in pairs])
    return ids, real & (torch.arange(ids.shape[1]) >= starts)


def answered(words: Tokens, choices: Sequence[Any], rows: int) -> list[list[list[int]]]:
    """The ids of each row's answers; a flat list of answers is every row's."""
    flat = all(isinstance(choice, str) for choice in choices)
    lists: Sequence[Sequence[str]] = [choices] * rows if flat else choices
    return [[answer(words, text) for text in row] for row in lists]


def level(
    rows: Sequence[Sequence[int]], pad: int, *, left: bool = True
) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """Rows of one length, padded on the left or the right, and which tokens are real."""
    length = max(map(len, rows), default=0)
    fill = [[pad] * (length - len(row)) for row in rows]
    real = [[False] * len(gap) + [True] * (length - len(gap)) for gap in fill]
    ids = [[*gap, *row] if left else [*row, *gap] for gap, row in zip(fill, rows, strict=True)]
    shown = real if left else [row[::-1] for row in real]
    flat = (torch.tensor(ids, dtype=torch.long), torch.tensor(shown, dtype=torch.bool))
    return flat[0].reshape(len(rows), length), flat[1].reshape(len(rows), length)
