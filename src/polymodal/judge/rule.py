"""Judges that are code: any function of a case, and rules for words, patterns and choices."""

from __future__ import annotations

import hashlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from polymodal.chat import said
from polymodal.judge.case import Case, Span, Verdict, invalid, unjudged
from polymodal.media import MediaError

Check = Callable[[Case], Mapping[str, float] | Verdict]
_TOLD = (str, int, float, bool, type(None), tuple, frozenset, re.Pattern)


@dataclass(frozen=True, slots=True)
class Rule:
    """A judge made of a function.

    Attributes:
        title: what it is called.
        check: a case to its scores by name, or to a whole verdict where there is evidence to show.
        version: all that `check` depends on, in words; "" takes the function's source text and the plain
            values that it closes over.

    Raises:
        ValueError: no version, and the function cannot be told by its source.
    """

    title: str
    check: Check
    version: str = ""
    name: str = field(init=False)

    def __post_init__(self) -> None:
        told = self.version or source(self.check)
        digest = hashlib.sha256(f"{self.title}\0{told}".encode()).hexdigest()[:12]
        object.__setattr__(self, "name", f"{self.title}@{digest}")

    def __call__(self, case: Case, *, seed: int) -> Verdict:
        """Judge a case; the seed changes nothing."""
        verdict = unjudged(case, self.name)
        if verdict is not None:
            return verdict
        try:
            found = self.check(case)
        except MediaError as error:
            return invalid("no_output", self.name, str(error))
        if isinstance(found, Verdict):
            return replace(found, judge=self.name)
        return Verdict({name: float(value) for name, value in found.items()}, judge=self.name)


def source(function: Callable[..., Any]) -> str:
    """A function's source text and what it closes over.

    Raises:
        ValueError: no source, or it closes over more than plain values.
    """
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        raise ValueError(f"{function!r} has no source text to tell it by: give a version") from None
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    for value in cells:
        if not isinstance(value, _TOLD):
            raise ValueError(f"{function!r} closes over {type(value).__name__}: give a version")
    return f"{text}\0{cells!r}"


def contains(*words: str, score: str = "contains", role: str = "assistant") -> Rule:
    """1 where one of the words stands anywhere in what a role said, whatever its case; with every place.

    Args:
        words: what to look for; none takes the case's reference.
        score: name of the score.
        role: whose messages.
    """

    def check(case: Case) -> Verdict:
        wanted = words or (case.reference,)
        if not all(wanted):
            return invalid("missing_tag", "", "the case has no reference to look for")
        pattern = re.compile("|".join(re.escape(word) for word in wanted), re.IGNORECASE)
        return _found(case, pattern, score, role)

    return Rule(score, check, f"contains {words!r} {role}")


def regex(pattern: str, *, score: str = "regex", role: str = "assistant") -> Rule:
    """1 where a regular expression matches anywhere in what a role said, with every place.

    Args:
        pattern: as Python's `re` has it; flags stand in it.
        score: name of the score.
        role: whose messages.

    Raises:
        re.error: no regular expression.
    """
    compiled = re.compile(pattern)
    return Rule(score, lambda case: _found(case, compiled, score, role), f"regex {pattern!r} {role}")


def equals(*, score: str = "correct") -> Rule:
    """1 where the last reply is the case's reference, but for letter case, outer spaces and a full stop."""

    def check(case: Case) -> Verdict:
        if not case.reference:
            return invalid("missing_tag", "", "the case has no reference")
        reply = last(case)
        if not _bare(reply):
            return invalid("no_output", "", "an empty reply")
        return Verdict({score: float(_bare(reply) == _bare(case.reference))})

    return Rule(score, check, "equals")


def choice(options: Sequence[str], *, score: str = "correct") -> Rule:
    """1 where the last reply names the case's reference among the options, as a word, and no other.

    A reply that names none is invalid (`missing_tag`), one that names several too (`two_labels`): neither is
    a wrong answer. Of options inside each other, such as `no` in `no idea`, the longest counts.

    Args:
        options: two or more.
        score: name of the score.

    Raises:
        ValueError: fewer than two options.
    """
    if len({_bare(option) for option in options}) < 2:
        raise ValueError(f"two options or more are needed, got {list(options)}")
    longest = sorted(options, key=len, reverse=True)
    pattern = re.compile(
        rf"(?<!\w)({'|'.join(re.escape(option) for option in longest)})(?!\w)", re.IGNORECASE
    )

    def check(case: Case) -> Verdict:
        named = {_bare(match[0]) for match in pattern.finditer(last(case))}
        if not named:
            return invalid("missing_tag" if last(case).strip() else "no_output", "")
        if len(named) > 1:
            return invalid("two_labels", "", ", ".join(sorted(named)))
        return Verdict({score: float(named == {_bare(case.reference)})})

    return Rule(score, check, f"choice {list(options)!r}")


def last(case: Case) -> str:
    """The words of the last assistant message; "" where there is none."""
    return next((said(message) for message in reversed(case.messages) if message.role == "assistant"), "")


def _found(case: Case, pattern: re.Pattern[str], score: str, role: str) -> Verdict:
    places = tuple(_places(case, pattern, role))
    return Verdict({score: float(bool(places))}, evidence=places)


def _places(case: Case, pattern: re.Pattern[str], role: str) -> Iterator[Span]:
    for turn, message in enumerate(case.messages):
        if message.role == role:
            yield from (Span(turn, *match.span()) for match in pattern.finditer(said(message)))


def _bare(text: str) -> str:
    return text.strip().rstrip(".").strip().casefold()
