"""Planted posts whose relation is known, their concepts; the balanced subset of any posts."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from polymodal.chat import said, uniform
from polymodal.envs.posters import FOODS, MEANT, THINGS, blurred, named, other, poster, spoken
from polymodal.media import Message, Part, Sample, Text

STATED = {
    "en": ("{} and {}.", "A {} stands here, {} too.", "This is a {}; there is {} as well.", "{}. Also {}."),
    "lv": ("{} un {}.", "Te ir {}, arī {}.", "Lūk, {}; vēl ir {}.", "{}. Arī {}."),
}
COMMENTED = {"en": "What a day, {} and {}, I love it!", "lv": "Kas par dienu, {} un {}, man patīk!"}
EVEN, SKEWED = (0.25, 0.25, 0.25, 0.25), (0.60, 0.10, 0.25, 0.05)


def planted(
    n: int,
    languages: Sequence[str] = ("lv", "en"),
    *,
    shares: Sequence[float] = EVEN,
    prior: float = 0.0,
    translate: float = 0.1,
    seed: int,
) -> list[Sample]:
    """Posts of known relation, each in every language, with one poster whose sign is in the first one.

    The class is 2 (does not add) + (not represented). Named, drawn and written words are uniform in every
    class, so that neither side alone says anything; `prior` gives the text away.

    Args:
        n: posts.
        languages: `en`, `lv`, and with `-mt` behind it a machine translation, which takes each named thing
            for another one with probability `translate`.
        shares: of the four classes.
        prior: comments stand for statements with probability (1 + prior) / 2 where the text is not
            represented, (1 - prior) / 2 where it is; a text-only rule is right on that in (1 + prior) / 2.
        translate: see above.
        seed: of all draws.

    Raises:
        ValueError: a language without templates.
    """
    if unknown := [one for one in languages if one.removesuffix("-mt") not in STATED]:
        raise ValueError(f"posts are planted in {', '.join(STATED)} and their -mt, not in {unknown[0]!r}")
    ends = np.round(np.cumsum(shares) / sum(shares) * n).astype(int)
    out = []
    for i in range(n):
        relation, key = int(np.searchsorted(ends, i, side="right")), (seed, "post", i)
        thing, food = (words[int(uniform(*key, len(words)) * len(words))] for words in (THINGS, FOODS))
        drawn = other(thing, THINGS, *key, "drawn") if relation % 2 else thing
        written = food if relation // 2 else other(food, FOODS, *key, "written")
        sign = spoken(written, languages[0][:2])
        chance = (1 + (prior if relation % 2 else -prior)) / 2 if prior else 0.0
        pair, comment = f"{seed}-{i:05d}", uniform(*key, "comment") < chance
        for tag in languages:
            language, wrong = tag.removesuffix("-mt"), translate if tag.endswith("-mt") else 0.0
            meant = (blurred(w, kinds, wrong, *key, tag, w) for w, kinds in ((thing, THINGS), (food, FOODS)))
            frame = COMMENTED[language] if comment else STATED[language][int(uniform(*key, "frame") * 4)]
            words = frame.format(*(spoken(word, language) for word in meant))
            parts: dict[str, Part] = {
                "text": Text(words[0].upper() + words[1:], language),
                "image": poster(drawn, sign),
            }
            tags = {"language": tag, "pair": pair, "seen": spoken(drawn, languages[0][:2]), "sign": sign}
            out.append(Sample(f"{pair}-{tag}", parts, str(relation), pair, tags))
    return out


def balanced(samples: Iterable[Sample], n: int, *, seed: int) -> list[str]:
    """Ids of a benchmark of n posts: the two smallest classes whole, the two largest sharing the rest.

    The odd one goes to the larger. Each class is drawn from its ids in order by a stream of its own, so that
    the order of the input changes nothing.

    Raises:
        ValueError: not four classes, n below the two smallest, or a class too small for its share.
    """
    classes: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        classes[str(sample.target)].append(sample.id)
    order = sorted(classes, key=lambda name: (len(classes[name]), name))
    sizes = [len(classes[name]) for name in order]
    rest = n - sum(sizes[:2])
    wanted = [*sizes[:2], rest // 2, rest - rest // 2]
    if len(order) != 4 or rest < 0 or any(a > b for a, b in zip(wanted, sizes, strict=True)):
        found = ", ".join(f"{name}: {size}" for name, size in zip(order, sizes, strict=True))
        raise ValueError(f"no balanced subset of {n} posts from four classes; their sizes are {found}")
    chosen: list[str] = []
    for name, size in zip(order, wanted, strict=True):
        key = int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8])
        drawn = np.random.default_rng(key).permutation(len(classes[name]))[:size]
        chosen += [sorted(classes[name])[i] for i in drawn]
    return sorted(chosen)


def concepts(samples: Sequence[Sample], noise: float = 0.3, *, seed: int) -> dict[str, Any]:
    """What planted texts name and posters show, as one-hot columns with normal noise, "n 28" each."""
    columns = {word: i for i, word in enumerate((*THINGS, *FOODS))}
    rng = np.random.default_rng(seed)
    found = {name: rng.normal(0, noise, (len(samples), len(columns))) for name in ("text", "image")}
    for row, sample in enumerate(samples):
        words = {"text": said(Message("user", (sample.parts["text"],)))}
        words["image"] = f"{sample.tags['seen']} {sample.tags['sign']}"
        for name, text in words.items():
            found[name][row, [columns[MEANT[word]] for word in named(text)]] += 1
    return found
