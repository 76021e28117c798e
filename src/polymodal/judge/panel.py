"""Several judges as one, their agreement, and how many independent ones they are worth."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from polymodal.chat import Usage
from polymodal.judge.case import Case, Judge, Verdict, unjudged
from polymodal.metrics import Estimate, effective_judges, error_correlation, estimate_alpha
from polymodal.metrics.agreement import Level

if TYPE_CHECKING:
    from polymodal.judge.labels import Labels

How = Literal["majority", "mean"]
UNIT = ("subject", "item", "variant")


def panel(judges: Sequence[Judge], how: How = "majority") -> Panel:
    """Judges that vote (`majority`: the most frequent value) or are averaged (`mean`), score by score.

    A member without a verdict has no vote. Where more than half have none the panel has none either, for
    their most frequent reason; a majority's tie is `two_labels`.

    Raises:
        ValueError: no judge, or the same one twice.
    """
    names = [judge.name for judge in judges]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a panel needs judges, each once, got {names}")
    return Panel(tuple(judges), how)


@dataclass(frozen=True, slots=True)
class Panel:
    """See `panel`; its verdicts keep those of the members."""

    judges: tuple[Judge, ...]
    how: How

    @property
    def name(self) -> str:
        """How it decides, how many sit on it, and a digest of who."""
        told = "\0".join([self.how, *sorted(judge.name for judge in self.judges)])
        return f"{self.how}-of-{len(self.judges)}@{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    def __call__(self, case: Case, *, seed: int) -> Verdict:
        """Ask every member, then decide."""
        verdict = unjudged(case, self.name)
        if verdict is not None:
            return verdict
        members = tuple(judge(case, seed=seed) for judge in self.judges)
        usage = sum((member.usage for member in members), Usage())
        voters = [member for member in members if member.valid]
        reasons = Counter(member.reason for member in members if member.reason)
        if 2 * len(voters) < len(members):
            reason = max(sorted(reasons), key=lambda each: reasons[each])
            return Verdict({}, False, reason, judge=self.name, usage=usage, members=members)
        scores: dict[str, float] = {}
        for name in dict.fromkeys(name for voter in voters for name in voter.scores):
            value = _DECIDED[self.how]([voter.scores[name] for voter in voters if name in voter.scores])
            if value is None:
                return Verdict({}, False, "two_labels", judge=self.name, usage=usage, members=members)
            scores[name] = value
        with_winner = [voter for voter in voters if dict(voter.scores) == scores]
        told = (with_winner or voters)[0]
        return Verdict(
            scores, rationale=told.rationale, evidence=told.evidence, judge=self.name, usage=usage,
            members=members,
        )  # fmt: skip


def _majority(values: list[float]) -> float | None:
    (first, most), *rest = Counter(values).most_common(2)
    return None if rest and rest[0][1] == most else first


_DECIDED: Mapping[How, Callable[[list[float]], float | None]] = {"majority": _majority, "mean": fmean}


def agreement(
    labels: Labels,
    score: str,
    *,
    judges: Sequence[str] | None = None,
    level: Level = "nominal",
    seed: int = 0,
    draws: int = 1000,
) -> Estimate:
    """Krippendorff's alpha of any two or more judges: people, rules, models, panels.

    Args:
        labels: a unit is a subject's answer to an item in a variant; an invalid label is no rating.
        score: which one.
        judges: their names; all in the table when None.
        level: `nominal`, `ordinal` or `interval`.
        seed: of the bootstrap over units.
        draws: of the bootstrap.

    Raises:
        ValueError: no unit has two ratings.
    """
    chosen = labels if judges is None else labels.where(judge=judges)
    values = chosen.pivot(score, rows=UNIT, columns="judge").values
    if not values.size:
        raise ValueError(f"no label of {score!r}")
    return estimate_alpha(values, level=level, seed=seed, draws=draws)


def effective(labels: Labels, score: str, judges: Sequence[str], human: str | None = None) -> float:
    """How many independent judges these are worth, from the correlation of their errors.

    Args:
        labels: with all these judges on the same units; only units that all have rated count.
        score: which one.
        judges: two names or more.
        human: name of the judge that is right; None falls back to the correlation of the verdicts
            themselves, which is higher wherever the judges are any good.

    Returns:
        k / (1 + (k - 1) r); NaN where fewer than two judges ever err.

    Raises:
        ValueError: fewer than two judges.
    """
    wanted = [*judges, *([] if human is None else [human])]
    found = labels.where(judge=wanted).pivot(score, rows=UNIT, columns="judge")
    absent = sorted(set(wanted) - set(found.columns))
    if absent:
        raise ValueError(f"no label of {score!r} by {', '.join(absent)}")
    by_name = dict(zip(found.columns, found.values.T, strict=True))
    rows = [by_name[name] for name in judges]
    correlation = error_correlation(rows, None if human is None else by_name[human])
    return effective_judges(len(judges), correlation)
