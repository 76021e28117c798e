"""Short replies: asked of any subject, read as yes, no or a letter in five languages."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.chat import ChatModel, Decoding, Schema, Usage, connect, said
from polymodal.judge import Case, Judge, Rule, Verdict, answers, call_seed, invalid
from polymodal.judge.case import Reason
from polymodal.judge.rule import last
from polymodal.media import Message, Sample

if TYPE_CHECKING:
    from polymodal.training.study import Book

_JOINS = "(?:or|and|vai|un|oder|und|ou|et|или|и)"
THREADS = 16  # calls to a service at once


@cache
def words() -> dict[str, dict[str, list[str]]]:
    """Words that mean yes, no, neither; by language. The first yes and no are those to ask for."""
    text = (Path(__file__).parent / "reply.json").read_text(encoding="utf-8")
    known: dict[str, dict[str, list[str]]] = json.loads(text)
    return known


@cache
def _pattern(kinds: tuple[str, ...], languages: tuple[str, ...]) -> re.Pattern[str]:
    found = {word for language in languages for kind in kinds for word in words()[language][kind]}
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(found, key=len, reverse=True)))})(?!\w)")


def _known(languages: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(one for one in languages if one in words()))
    if not found:
        raise ValueError(f"no words for replies in {', '.join(languages)}; known: {', '.join(words())}")
    return found


def parse(reply: str, *languages: str, options: Sequence[str] = ()) -> tuple[str, str]:
    """What a reply says: ("yes", ""), ("no", ""), or ("", why it says neither).

    A reply says what its only yes or no word says, whole and in one of the languages. Both words, a hedge or
    a denied word (`not yes`) are no answer and are never coerced. A JSON object counts as its `answer`.

    Args:
        reply: the model's words.
        languages: of the prompt and of what it is about; those without words are passed over.
        options: letters, where one was asked for; what is returned is then the position of the one named.

    Returns:
        The reason is `two_labels`, `unparsable`, `refused` or `no_output`.

    Raises:
        ValueError: none of the languages has words.
    """
    known = _known(languages)
    text = _unwrapped(reply.strip()).casefold().replace("’", "'")
    if not text:
        return "", "no_output"
    if _pattern(("refused",), tuple(sorted({*known, "en"}))).search(text):  # services refuse in English
        return "", "refused"
    if options:
        return _letter(text, [option.casefold() for option in options])
    text, denied = _pattern(("denied",), known).subn("", text)
    yes, no = (bool(_pattern((kind,), known).search(text)) for kind in ("yes", "no"))
    if yes and (no or denied):
        return "", "two_labels"
    turned = rf"{_pattern(('negators',), known).pattern}\s+{_pattern(('yes', 'no'), known).pattern}"
    if re.search(turned, text) or _pattern(("hedges",), known).search(text) or not (yes or no or denied):
        return "", "unparsable"
    return ("yes" if yes else "no"), ""


def _letter(text: str, options: list[str]) -> tuple[str, str]:
    """The only option that stands alone; before a word that is no `or` or `and`, an `a` is an article."""
    found = re.findall(rf"(?<!\w)({'|'.join(map(re.escape, options))})(?!\w)(?! (?!{_JOINS}\b)\w)", text)
    if len(set(found)) == 1:
        return str(options.index(found[0])), ""
    return "", "two_labels" if found else "unparsable"


def _unwrapped(reply: str) -> str:
    """The `answer` of a JSON object, fenced or bare; any other reply as it is."""
    found = re.search(r"\{[^{}]*\}", reply)
    try:
        value = json.loads(found[0])["answer"] if found else reply
    except (ValueError, KeyError, TypeError):
        return reply
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def probability(first: Mapping[str, float] | None, *languages: str) -> float:
    """P(yes) from log-probabilities of the first token, over all spellings of yes and no; NaN for neither.

    Raises:
        ValueError: none of the languages has words.
    """
    sums = dict.fromkeys(("yes", "no"), 0.0)
    for token, chance in (first or {}).items():
        for kind in sums:
            if _pattern((kind,), _known(languages)).fullmatch(token.strip(" ▁Ġ\n").casefold()):
                sums[kind] += math.exp(chance)
    total = sum(sums.values())
    return sums["yes"] / total if total else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One or more questions in a talk, each with a short reply.

    Attributes:
        item: what is asked about; it decides the seed, so that all subjects and variants share it.
        variant: the condition; unique within the item.
        turns: what is said before each reply.
        names: of the questions, one a turn.
        languages: that a reply may be in.
        options: letters, where one is asked for.
        schema: of the reply as JSON, for services that hold a model to it.
        row: whatever else the rows should tell.
    """

    item: str
    variant: str
    turns: Sequence[tuple[Message, ...]]
    names: Sequence[str]
    languages: Sequence[str]
    options: Sequence[str] = ()
    schema: Schema | None = None
    row: Mapping[str, Any] = field(default_factory=dict)


def ask(
    target: str,
    questions: Sequence[Question],
    scripts: Mapping[str, Callable[..., ChatModel]],
    decoding: Decoding,
    store: Path,
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """A row for every reply: what was said, what that means, how likely a yes was, what it cost.

    Args:
        target: the subject, as `connect` takes it.
        questions: what to ask.
        scripts: factories of scripted subjects.
        decoding: how replies are drawn.
        store: file in which replies that cost something are kept.
        seed: of the run.
    """
    from polymodal.runs import Cache

    free = "scripted:" in target
    model = connect(target, scripts=scripts, decoding=decoding, store=None if free else Cache(store))
    known = {(question.item, question.variant): question for question in questions}
    firsts: dict[tuple[str, str, int], Mapping[str, float] | None] = {}

    run_seed = seed

    def subject(sample: Sample, *, seed: int) -> tuple[tuple[Message, ...], Usage]:
        question = known[sample.id, str(sample.tags["variant"])]
        talk: tuple[Message, ...] = ()
        usage = Usage()
        for at, before in enumerate(question.turns):
            talk = (*talk, *before)
            schema = None if free else question.schema
            reply = model(*talk, seed=call_seed(sample.id, at, seed=run_seed), schema=schema)
            talk, usage = (*talk, reply.message), usage + reply.usage
            firsts[question.item, question.variant, at] = reply.first
        return talk, usage

    items = (Sample(item, {}, tags={"variant": variant}) for item, variant in known)
    rows = []
    for answer in answers({target: subject}, items, seed=seed, threads=1 if free else THREADS):
        question = known[answer.item, answer.variant]
        replies = [said(message) for message in answer.messages if message.role == "assistant"]
        for at, name in enumerate(question.names):
            reply = "" if answer.error else replies[at - len(question.names)]
            parsed, reason = parse(reply, *question.languages, options=question.options)
            sure = probability(firsts.get((answer.item, answer.variant, at)), *question.languages)
            spent = answer.usage if at == 0 else Usage()
            rows.append(
                {"subject": target, "item": answer.item, **question.row, "question": name, "reply": reply}
                | {"parsed": parsed, "p_yes": sure, "valid": not reason, "reason": answer.error or reason}
                | {"calls": spent.calls + spent.cached, "tokens": spent.tokens_in + spent.tokens_out}
            )
    return rows


def shots(posts: Sequence[Sample], post: Sample, n: int, *, seed: int) -> tuple[Sample, ...]:
    """Up to n posts to show before another: classes in turn, none of its group or pair."""
    if not n:
        return ()
    own = {post.group, post.tags.get("pair", post.id)}
    far = [one for one in posts if not own & {one.group, one.tags.get("pair", one.id)}]
    order = np.random.default_rng([seed, *post.id.encode()]).permutation(len(far))
    classes = sorted({str(one.target) for one in far})
    queues = [[far[i] for i in order if str(far[i].target) == name][:n] for name in classes]
    return tuple([queue[k] for k in range(n) for queue in queues if k < len(queue)][:n])


def account(book: Book, rows: Sequence[Mapping[str, Any]], *by: str) -> None:
    """Into a report: what each subject cost, why replies were invalid, and how often each answer came.

    Args:
        book: of the study.
        rows: as `ask` gives them.
        by: columns by which answers are counted.
    """
    for target in dict.fromkeys(row["subject"] for row in rows):
        mine = [row for row in rows if row["subject"] == target]
        sums = {name: sum(row[name] for row in mine) for name in ("calls", "tokens")}
        book.row("cost", name=target, samples=len({row["item"] for row in mine}), **sums)
    for reason, n in sorted(Counter(row["reason"] for row in rows if not row["valid"]).items()):
        first = next(row["item"] for row in rows if row["reason"] == reason)
        book.row("invalid", reason=reason, n=n, first=first)
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for row in rows:
        counts.setdefault(tuple(row[name] for name in by), Counter())[row["parsed"] or "invalid"] += 1
    words = sorted({word for found in counts.values() for word in found}, key=lambda w: (w == "invalid", w))
    lines = [[*key, *(found[word] for word in words)] for key, found in counts.items()]
    book.row("tables", title="Answers", note="how often", columns=[*by, *words], rows=lines)


def ask_job(
    number: int,
    target: str,
    questions: Sequence[Question],
    scripts: Mapping[str, Callable[..., ChatModel]],
    decoding: Decoding,
    store: Path,
) -> list[dict[str, Any]]:
    """`ask` as a job of a run, whose seed is `number`."""
    return ask(target, questions, scripts, decoding, store, seed=number)


def right_reply(title: str) -> Judge:
    """A judge of short replies: `correct` is whether the last one says what the case's reference does.

    The case's tag `languages` names those that a reply may be in, with commas.
    """

    def check(case: Case) -> Verdict:
        parsed, reason = parse(last(case), *str(case.tags["languages"]).split(","))
        if reason:
            return invalid(_REASONS[reason], "", reason)
        return Verdict({"correct": float(parsed == case.reference)})

    return Rule(title, check, version="1")


_REASONS: Mapping[str, Reason] = {
    "two_labels": "two_labels",
    "unparsable": "unparsable",
    "refused": "refused_to_judge",
    "no_output": "no_output",
}
