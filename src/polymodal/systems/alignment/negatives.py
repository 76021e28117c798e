"""Texts that are false of a region: words of a lexicon swapped, or written by a chat model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.chat import ChatModel, Decoding, Ledger, Scripted, ask, connect, metered, ordered, said, user
from polymodal.judge.grid import call_seed
from polymodal.systems.alignment.pictures import Option, Picture, distinct, lines, plain

if TYPE_CHECKING:
    from polymodal.runs import Run
    from polymodal.training.study import Book

LEXICON = {
    "colour": "red green blue yellow purple orange cyan white black brown grey pink",
    "material": "wooden metal plastic glass stone leather cotton paper",
    "pattern": "plain striped dotted checked floral",
    "size": "tiny small medium large huge",
    "count": "one two three four five six",
    "transparency": "transparent translucent opaque",
    "place": "left right top bottom",
}  # words of a line may stand for one another
KIND = {word: kind for kind, line in LEXICON.items() for word in line.split()}

FILE, THREADS = "negatives.jsonl", 8
Written = Mapping[tuple[str, int, str], tuple[Option, ...]]  # by picture, region and phrase
PROMPT = """What is true of a part of a picture, as a JSON string: {phrase}
Write {n} phrases that are false of it. In each, change one attribute (such as colour, material, pattern, \
size, count, place or state) by putting other words in its place. Keep all else, the object above all. \
No phrase may be another way to say the same. Reply with one JSON object: "object", the words that name the \
object, and "negatives", a list of objects with "phrase" and "changed", the kind of attribute."""
TEXT = {"type": "string"}
ONE = {"type": "object", "properties": {"phrase": TEXT, "changed": TEXT}, "required": ["phrase", "changed"]}
FORM = {
    "type": "object",
    "properties": {"object": TEXT, "negatives": {"type": "array", "items": ONE}},
    "required": ["object", "negatives"],
}


def swapped(phrase: str, n: int, others: Iterable[str] = (), *, seed: int) -> tuple[Option, ...]:
    """Negatives of a real phrase: one word of `LEXICON` exchanged for another of its kind.

    Args:
        phrase: what is true of a region.
        n: at most so many; a phrase without such a word has none.
        others: phrases that are true elsewhere in the picture, and so are no negatives.
        seed: of the draw.
    """
    words, made = re.findall(r"\w+|\W+", phrase), []
    for i, word in enumerate(words):
        kind = KIND.get(word.lower())
        for other in LEXICON[kind].split() if kind else ():
            if other != word.lower():
                made.append(Option("".join([*words[:i], other, *words[i + 1 :]]), str(kind)))
    known = {plain(other) for other in others}
    kept = [option for option in distinct(phrase, made) if plain(option.text) not in known]
    order = np.random.default_rng(seed).permutation(len(kept))[:n]
    return tuple(kept[i] for i in sorted(order))


def negated(picture: Picture, n: int, written: Written | None = None) -> Picture:
    """The picture with negatives for regions that have none: written ones where given, else `swapped`."""
    phrases = [region.phrase for region in picture.regions]
    regions = []
    for i, region in enumerate(picture.regions):
        if not region.options:
            if written is None:
                options = swapped(region.phrase, n, phrases, seed=i)
            else:
                options = written.get((picture.id, i, region.phrase), ())
            region = replace(region, options={"hard": options} if options else {})
        regions.append(region)
    return replace(picture, regions=tuple(regions))


def words(text: str) -> list[str]:
    """A text as lower-case words."""
    return re.findall(r"\w+", text.lower())


def holds(text: Sequence[str], part: Sequence[str]) -> bool:
    """Whether words stand in others, in order and side by side."""
    return bool(part) and any(list(text[i : i + len(part)]) == list(part) for i in range(len(text)))


def change(phrase: Sequence[str], other: Sequence[str]) -> str:
    """`old -> new` where words were put in the place of others, once; else "".

    What is left out or added makes a text more general or more special, which does not make it false.
    """
    steps = [s for s in SequenceMatcher(None, phrase, other, autojunk=False).get_opcodes() if s[0] != "equal"]
    if len(steps) != 1 or steps[0][0] != "replace":
        return ""
    _, a, b, c, d = steps[0]
    return f"{' '.join(phrase[a:b])} -> {' '.join(other[c:d])}"


def valid(
    reply: Mapping[str, Any], phrase: str, others: Iterable[str], label: str = ""
) -> tuple[list[tuple[str, str, str]], Counter[str]]:
    """What a writer's reply is worth: (text, attribute, change) of good negatives, and bad ones by reason.

    A negative is good that differs from the phrase in one place, where words stand for words, that keeps the
    words of the object, and that equals neither a phrase of the picture nor an earlier negative; case and
    marks do not count. The object is the region's class where the phrase names it; else what the reply says,
    if it is in the phrase and more than attributes of `LEXICON`.

    Args:
        reply: valid by `FORM`.
        phrase: what is true of the region.
        others: phrases that are true elsewhere in the picture.
        label: the region's class, "" where it has none.
    """
    mine, true = words(phrase), {tuple(words(other)) for other in others}
    thing = words(label) if holds(mine, words(label)) else words(reply["object"])
    kept: list[tuple[str, str, str]] = []
    lost: Counter[str] = Counter()
    if not holds(mine, thing) or all(word in KIND for word in thing):
        return [], Counter({"no object": max(1, len(reply["negatives"]))})
    seen: set[tuple[str, ...]] = set()
    for one in reply["negatives"]:
        text, theirs = " ".join(one["phrase"].split()), words(one["phrase"])
        made, key = change(mine, theirs), tuple(theirs)
        reason = (
            "same" if theirs == mine
            else "true elsewhere" if key in true
            else "said before" if key in seen
            else "other object" if not holds(theirs, thing)
            else "" if made
            else "not one change"
        )  # fmt: skip
        if reason:
            lost[reason] += 1
        else:
            seen.add(key)
            kept.append((text, " ".join(words(one["changed"])[:3]), made))
    return kept, lost


def written(
    model: ChatModel, pictures: Sequence[Picture], n: int, *, seed: int, threads: int = THREADS
) -> dict[str, Any]:
    """At most n negatives a region that has none; each phrase is asked about once, however often it stands.

    Args:
        model: the writer; what it says is data, and a call that fails is counted.
        pictures: with regions.
        n: of a region at most.
        seed: of the calls.
        threads: calls at once.

    Returns:
        `rows` (sample, region, phrase, negative, changed, change), `asked` (phrases) and `lost`: number of
        bad negatives, or of phrases without a usable reply, by reason.
    """
    bare = [(p, i, r) for p in pictures for i, r in enumerate(p.regions) if not r.options]
    phrases = list(dict.fromkeys(region.phrase for _, _, region in bare))

    def reply(phrase: str) -> tuple[dict[str, Any] | None, str]:
        told = user(PROMPT.format(phrase=json.dumps(phrase, ensure_ascii=False), n=n))
        asked = ask(model, told, schema=FORM, seed=call_seed(phrase, 0, seed=seed))
        return asked.data, asked.reason

    replies = dict(zip(phrases, ordered(reply, phrases, threads=threads), strict=True))
    lost: Counter[str] = Counter(reason for data, reason in replies.values() if data is None)
    rows = []
    for picture, i, region in bare:
        data, _ = replies[region.phrase]
        if data is None:
            continue
        kept, bad = valid(data, region.phrase, [r.phrase for r in picture.regions], region.label)
        lost += bad
        about = {"sample": picture.id, "region": i, "phrase": region.phrase}
        rows += [about | {"negative": t, "changed": c, "change": made} for t, c, made in kept[:n]]
    return {"rows": rows, "asked": len(phrases), "lost": dict(sorted(lost.items()))}


def recorded(spec: str, pictures: Sequence[Picture], n: int, run: Run, book: Book, *, seed: int) -> str:
    """Has a model write negatives, once a run; their file is given, what was lost is in the book.

    Args:
        spec: for `chat.connect`.
        pictures: as in `written`.
        n: as in `written`.
        run: keeps replies, and the file.
        book: takes the cost, counts and a note.
        seed: of the calls.

    Raises:
        LookupError: no such model.
    """
    ledger = Ledger()
    with run.replies() as store:
        model = connect(spec, decoding=Decoding(tokens=1000 + 60 * n), scripts=SCRIPTS, store=store)
        pen = metered(model, ledger, "writer")
        found = run.once("written", lambda: written(pen, pictures, n, seed=seed) | {"cost": ledger.rows()})
    run.table(FILE, found["rows"])
    for row in found["cost"]:
        book.row("cost", **row)
    for reason, count in found["lost"].items():
        book.row("invalid", reason=f"written negative: {reason}", n=count, first="")
    book.sections.setdefault("notes", []).append(
        f"{len(found['rows'])} negatives of {found['asked']} different phrases were written by {model.name}; "
        f"{sum(found['lost'].values())} were left out, by reason under what was invalid"
    )
    return str(run.folder / FILE)


def read(file: str) -> Written:
    """Written negatives from a run's file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a row that lacks a field; the message names it.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such file; writer= is a chat model, or {FILE} of an earlier run")
    found: dict[tuple[str, int, str], list[Option]] = {}
    for number, row in lines(Path(file)):
        try:
            if isinstance(row, str):
                raise ValueError(row)
            key = str(row["sample"]), int(row["region"]), str(row["phrase"])
            found.setdefault(key, []).append(Option(str(row["negative"]), str(row["changed"])))
        except (KeyError, TypeError, ValueError) as error:
            wanted = "sample, region, phrase, negative and changed"
            raise ValueError(f"{file}:{number}: {error!r}; a row has {wanted}") from None
    return {key: tuple(options) for key, options in found.items()}


def lexicon(n: int = 10) -> ChatModel:
    """A writer that swaps words of `LEXICON`, n at most."""

    def answer(messages: tuple[Any, ...], number: int) -> str:
        phrase = json.loads(said(messages[0]).splitlines()[0].partition(": ")[2])
        thing = next((word for word in reversed(words(phrase)) if word not in KIND), "")
        told = [{"phrase": o.text, "changed": o.changed} for o in swapped(phrase, n, seed=number % 2**32)]
        return json.dumps({"object": thing, "negatives": told})

    return Scripted(f"scripted:lexicon?n={n}", answer)


SCRIPTS = {"lexicon": lexicon}
