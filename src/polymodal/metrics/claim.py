"""Claims as code: a sentence, the paper's figure, and a check on estimates."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from polymodal.metrics.estimate import Estimate

Verdict = Literal["reproduced", "not reproduced", "undetermined"]


class Checked(NamedTuple):
    """A verdict and the numbers behind it, in one short sentence."""

    verdict: Verdict
    evidence: str


Check = Callable[[Mapping[str, Estimate]], Checked]


@dataclass(frozen=True, slots=True)
class Claim:
    """Something a paper says, and how we look whether it holds.

    Attributes:
        text: the claim in a sentence.
        paper: the paper's figure, or "-" where it gives none.
        check: estimates by name to a verdict with its evidence; any function will do.
    """

    text: str
    paper: str
    check: Check

    def judge(self, estimates: Mapping[str, Estimate]) -> Checked:
        """Run the check; an estimate that it asks for and nobody made leaves the claim undetermined."""
        try:
            return self.check(_Asked(estimates))
        except _MissingError as missing:
            return Checked("undetermined", f"no estimate named {missing.args[0]!r}")


class _MissingError(KeyError):
    """A check asked for an estimate that is not there."""


class _Asked(dict[str, Estimate]):
    def __missing__(self, name: str) -> Estimate:
        raise _MissingError(name)


def _shown(x: float | int) -> str:
    return f"{x:.3f}" if abs(x) < 10 else f"{x:.4g}"


def evidence(name: str, estimate: Estimate) -> str:
    """An estimate in words: name, mean, interval and count."""
    return (
        f"{name} {_shown(estimate.mean)} [{_shown(estimate.low)}, {_shown(estimate.high)}], "
        f"n {estimate.n_valid}"
    )


def _on(name: str, rule: Callable[[Estimate], tuple[Verdict, str]]) -> Check:
    """A check of one estimate; one that is missing or has no interval is undetermined."""

    def check(estimates: Mapping[str, Estimate]) -> Checked:
        if name not in estimates:
            return Checked("undetermined", f"no estimate named {name!r}")
        found = estimates[name]
        if math.isnan(found.low) or math.isnan(found.high):
            why = found.reason or "no interval"
            return Checked("undetermined", f"{name} {_shown(found.mean)}: {why}")
        verdict, words = rule(found)
        return Checked(verdict, f"{evidence(name, found)}: {words}")

    return check


def above(name: str, x: float | int) -> Check:
    """Reproduced where the whole interval lies above x, not reproduced where none of it does."""

    def rule(found: Estimate) -> tuple[Verdict, str]:
        if found.low > x:
            return "reproduced", f"all above {_shown(x)}"
        if found.high <= x:
            return "not reproduced", f"none above {_shown(x)}"
        return "undetermined", f"interval holds {_shown(x)}"

    return _on(name, rule)


def below(name: str, x: float | int) -> Check:
    """Reproduced where the whole interval lies below x, not reproduced where none of it does."""

    def rule(found: Estimate) -> tuple[Verdict, str]:
        if found.high < x:
            return "reproduced", f"all below {_shown(x)}"
        if found.low >= x:
            return "not reproduced", f"none below {_shown(x)}"
        return "undetermined", f"interval holds {_shown(x)}"

    return _on(name, rule)


def inside(name: str, x: float | int) -> Check:
    """Reproduced where the interval covers the paper's figure x, else not reproduced."""

    def rule(found: Estimate) -> tuple[Verdict, str]:
        if found.low <= x <= found.high:
            return "reproduced", f"covers {_shown(x)}"
        return "not reproduced", f"does not cover {_shown(x)}"

    return _on(name, rule)


def every(*checks: Check) -> Check:
    """Reproduced where all are, not reproduced where one is not, else undetermined.

    Raises:
        ValueError: if there is no check.
    """
    if not checks:
        raise ValueError("every() needs at least one check")

    def check(estimates: Mapping[str, Estimate]) -> Checked:
        results = [one(estimates) for one in checks]
        verdicts = {result.verdict for result in results}
        words = "; ".join(result.evidence for result in results)
        if verdicts == {"reproduced"}:
            return Checked("reproduced", words)
        return Checked("not reproduced" if "not reproduced" in verdicts else "undetermined", words)

    return check
