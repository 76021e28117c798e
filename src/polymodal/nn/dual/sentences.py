"""Texts with more tokens than a tower has positions end with their last sentence that fits."""

import re
from bisect import bisect_right
from collections.abc import Callable

END = re.compile(r"""[.!?…]+["'”’)\]]*(?=\s)|[。！？]+""")  # a full stop inside a number ends nothing


def fitting(text: str, length: int, count: Callable[[str], int]) -> str:
    """The sentences at the start of a text that fit; all of it where it fits, or where not even one does.

    Args:
        text: any; what stands behind the last mark of a sentence counts as one too.
        length: tokens that there is room for.
        count: tokens of a text, with its marks.
    """
    if count(text) <= length:
        return text
    ends = [found.end() for found in END.finditer(text)]
    fit = bisect_right(ends, length, key=lambda end: count(text[:end]))
    return text[: ends[fit - 1]] if fit else text
