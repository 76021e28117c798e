"""Probes of subjects that answer in a word: languages, rivals, form, bias, text priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from polymodal.media import Sample
from polymodal.metrics import Checked, Estimate, above, balanced_accuracy, below, estimate, mean
from polymodal.metrics.metric import Metric
from polymodal.training.study.sheet import DRAWS, Column, Sheet, text_prior

if TYPE_CHECKING:
    from polymodal.runs import Run
    from polymodal.training.study import Book

PROBES = ("negated", "other order", "swapped", "blank", "picture alone", "text alone", "orders")
BEATS, ROUTES = "first subject - best text-only baseline", "two questions - one"


class Answers(Sheet):
    """Answers by subject, language, question and probe; a system says what its questions say together.

    Attributes:
        posts: what was asked about.
        subjects: in order of release; the first is the one that is probed.
        languages: the first is the one that probes are made in.
        truth: by question, and of `top`.
        top: the answer that counts.
        yes: the questions whose answer is a yes or a no.
        options: the question whose answer is a letter, where there is one.
    """

    posts: Sequence[Sample]
    subjects: Sequence[str]
    languages: Sequence[str]
    truth: Mapping[str, Column]
    top: str
    yes: tuple[str, ...]
    options: str = ""

    @property
    def main(self) -> tuple[str, str]:
        """The subject and the language of probes."""
        return self.subjects[0], self.languages[0]

    def answers(self, subject: str, language: str, probe: str = "", by: str = "") -> dict[str, Column]:
        """Columns by question, and `top`, which follows from several questions or, `by` options, from one."""
        raise NotImplementedError

    def by_post(self, column: Column) -> dict[str, float]:
        """A column's values by post."""
        return dict(zip(self.place, column.tolist(), strict=True))

    def hits(
        self, subject: str, language: str, probe: str = "", by: str = "", *, question: str = ""
    ) -> Column:
        """1 where an answer is right, 0 where wrong or invalid, NaN where the truth is not known."""
        question = question or self.top
        return self.right(self.answers(subject, language, probe, by)[question], self.truth[question])


def label(subject: str) -> str:
    """A subject in figures."""
    return subject.removeprefix("scripted:")


def compared(book: Book, sheet: Answers) -> None:
    """Languages, subjects and routes to an answer, paired post by post, with exact McNemar tests."""
    (main, first), names = sheet.main, sheet.languages
    pairs = [(first, other) for other in names[1:]]
    pairs += [(a, b) for a in names[1:] for b in names[1:] if b.startswith(f"{a}-")]  # a manual translation
    for a, b in pairs:
        book.add(f"{a} - {b}", sheet.gap(sheet.hits(main, a), sheet.hits(main, b)), page=True)
        sides = [sheet.answers(main, language)[sheet.top] for language in (a, b)]
        book.add(f"macro-F1, {a} - {b}", sheet.macro_gap(sides[0], sides[1], sheet.truth[sheet.top]))
    for other in sheet.subjects[1:]:
        gap = sheet.gap(sheet.hits(main, first), sheet.hits(other, first))
        book.add(f"{label(main)} - {label(other)}", gap)
    real = [subject for subject in sheet.subjects if "scripted:" not in subject]
    if real:
        rates = [sheet.rate(sheet.hits(subject, first)) for subject in real]
        book.add("best subject", max(rates, key=lambda found: found.mean))
    if len(real) > 1:
        gap = sheet.gap(sheet.hits(real[-1], first), sheet.hits(real[0], first))
        book.add("newest - oldest", gap, page=True)
    if sheet.options:
        two, one = (sheet.hits(main, first, "", by) for by in ("questions", "options"))
        book.add("one question", sheet.rate(one))
        book.add(ROUTES, sheet.gap(two, one), page=True)


def probed(book: Book, sheet: Answers, *, chance: float | None = None, bias: float | None = None) -> None:
    """What becomes of the answers when only their form changes, and of the score without text or picture.

    Args:
        book: takes the estimates.
        sheet: the answers, with those under all of `PROBES` for `sheet.main`.
        chance: the score that is expected without text or picture, where it is known.
        bias: the share of forced yes that is expected, where it is known: one less the share of answers that
            turn when the question is negated.
    """
    about = {"role": "control", "page": True}
    plain = sheet.answers(*sheet.main, "", "questions")
    for probe in ("swapped", "blank", "picture alone", "text alone"):
        found = sheet.rate(sheet.hits(*sheet.main, probe, "questions"))
        book.add(f"probe/{probe}", found, expected=chance, **about)
    other, turned = (sheet.answers(*sheet.main, probe, "questions") for probe in ("other order", "negated"))
    kept = np.stack([sheet.same(plain[question], turned[question]) for question in sheet.yes])
    forced = mean(kept.mean(axis=0), group=sheet.groups, seed=sheet.seed, better="lower")
    book.add("probe/yes-bias by negation", forced, expected=bias, **about)
    for name, question in (("picture and text", sheet.top), ("options", sheet.options)):
        if question in other:
            found = sheet.rate(sheet.same(plain[question], other[question]))
            book.add(f"probe/same with {name} in another order", found, role="control")
    ordered = sheet.answers(*sheet.main, "orders", "questions")[sheet.yes[-1]]
    no = sheet.same(ordered, np.zeros(len(sheet.posts)))
    obeyed = sheet.rate(np.where(plain[sheet.yes[-1]] == 1, no, np.nan))
    book.add("probe/orders in the text obeyed", obeyed, **about)


def _flattery(target: Column, prediction: Column) -> float:
    return float((target == prediction).mean()) - balanced_accuracy(target, prediction)


def flattered(book: Book, skewed: Answers, balanced: Answers, *, expected: float | None = None) -> None:
    """How far accuracy stands above balanced accuracy on a skewed set, less that on a balanced one.

    Args:
        book: takes the estimates.
        skewed: all valid answers of a subject to a set with a common class.
        balanced: the same subject's to another set.
        expected: the first, where it is known.
    """
    metric, found = Metric("accuracy - balanced accuracy", _flattery, "lower", -1.0, 1.0, "classes"), []
    for name, sheet, known in (("skewed", skewed, expected), ("balanced", balanced, 0.0)):
        told = sheet.answers(*sheet.main)[sheet.top].astype(int)
        found.append(estimate(metric, sheet.truth[sheet.top].astype(int), told, seed=book.seed, draws=DRAWS))
        book.add(f"flattery/{name} set", found[-1], expected=known)
    much, less = found[0], found[1].mean
    gap = replace(much, mean=much.mean - less, low=much.low - less, high=much.high - less)
    book.add("flattery, skewed - balanced set", gap, page=True, expected=expected)


def routes_differ(estimates: Mapping[str, Estimate]) -> Checked:
    """Reproduced where one route to an answer is better than the other, whichever; else undetermined."""
    found = above(ROUTES, 0.0)(estimates), below(ROUTES, 0.0)(estimates)
    sure = [one for one in found if one.verdict == "reproduced"]
    return sure[0] if sure else Checked("undetermined", found[0].evidence)


def prior(run: Run, book: Book, sheet: Answers, texts: Sequence[str]) -> None:
    """What the text alone gives away, and whether the first subject beats it; the report opens with a no.

    Args:
        run: keeps the baselines' predictions.
        book: takes the estimates.
        sheet: the answers.
        texts: of the posts.
    """
    right = sheet.hits(*sheet.main)
    here = np.flatnonzero(np.isfinite(right)).tolist()
    kept = [
        replace(sheet.posts[i], group=str(sheet.groups[i]), target=str(sheet.posts[i].target)) for i in here
    ]
    told = run.once("text prior", lambda: text_prior(kept, [texts[i] for i in here], seed=book.seed))
    scores = {name: np.full(len(right), np.nan) for name in told}
    for name, words in told.items():
        scores[name][here] = [word == post.target for word, post in zip(words, kept, strict=True)]
        book.add(name, sheet.rate(scores[name]), role="baseline", page=True)
    best = max(scores, key=lambda name: float(np.nanmean(scores[name])))
    book.add(BEATS, sheet.gap(right, scores[best]), of=best, page=True)
    if not book.estimates[BEATS].low > 0:
        words = f"{label(sheet.main[0])} does not beat what the text alone gives away ({best})."
        book.sections.setdefault("about", {})["warning"] = words
