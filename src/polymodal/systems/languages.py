"""The same posts in several languages: reposts out, translations scored, answers compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polymodal.media import Invalid, MediaError, Part, Sample, Text
from polymodal.media.likeness import near_texts

if TYPE_CHECKING:
    from polymodal.runs import Run

Texts = Mapping[str, Mapping[str, str]]  # by language, then by post


def language_of(post: Sample) -> str:
    """The tag `language`; English where there is none."""
    return str(post.tags.get("language", "en"))


def pair_of(post: Sample) -> str:
    """What a post and its translations share."""
    return str(post.tags.get("pair", post.id))


def text_of(post: Sample) -> str:
    """The words of a post, "" where it has none."""
    return part.read() if isinstance(part := post.parts.get("text"), Text) else ""


def distinct(samples: Iterable[Sample]) -> tuple[list[Sample], list[Invalid]]:
    """Without reposts and all but the first of near-equal texts; what left, with its twin.

    A repost starts with RT or is cut by an ellipsis. Texts of one language are compared, but not inside a
    group, which no split cuts anyway; a post that leaves takes its translations with it.
    """
    posts = sorted(samples, key=lambda sample: sample.id)
    texts = [text_of(post) for post in posts]
    out: dict[str, str] = {}
    for post, text in zip(posts, texts, strict=True):
        if text.startswith("RT ") or text.rstrip().endswith(("…", "...")):
            out[pair_of(post)] = "repost"
    for i, j, _ in near_texts(texts):
        a, b = posts[i], posts[j]
        apart = (a.group or pair_of(a)) != (b.group or pair_of(b))
        if language_of(a) == language_of(b) and apart and pair_of(a) not in out:
            out.setdefault(pair_of(b), f"near-duplicate of {a.id}")
    lost = [
        Invalid(post.id, "corpus", "excluded", out[pair_of(post)]) for post in posts if pair_of(post) in out
    ]
    return [post for post in posts if pair_of(post) not in out], lost


def translations(texts: Texts, right: Mapping[str, Mapping[str, float]], manual: str) -> dict[str, Any]:
    """A table: BLEU and chrF of each translation against the manual one, and accuracy beside them.

    Both scores are sacrebleu's; the accuracy is told apart by whether a post's own chrF is 100.

    Args:
        texts: of the manual translation and of others of the same language, `en` and `en-mt`, say.
        right: 1 or 0 by language and post; NaN where not known.
        manual: name of the manual translation.
    """
    from sacrebleu import corpus_bleu, corpus_chrf, sentence_chrf

    rows = []
    for name in [name for name in texts if name.startswith(f"{manual}-") and manual in texts]:
        posts = [post for post in texts[name] if post in texts[manual]]
        said, meant = ([texts[side][post] for post in posts] for side in (name, manual))
        equal = np.array([sentence_chrf(a, [b]).score >= 100 for a, b in zip(said, meant, strict=True)])
        hits = np.array([right[name][post] for post in posts])
        shares = [_share(hits[equal]), _share(hits[~equal])]
        rows.append(
            [name, len(posts), corpus_bleu(said, [meant]).score, corpus_chrf(said, [meant]).score, *shares]
        )
    columns = ["translation", "posts", "BLEU", "chrF", "accuracy at chrF 100", "accuracy below"]
    return {"title": "Translations", "note": f"against {manual}", "columns": columns, "rows": rows}


def _share(hits: NDArray[np.float64]) -> float | None:
    return float(np.nanmean(hits)) if np.isfinite(hits).any() else None


def disagreements(
    run: Run,
    texts: Texts,
    answers: Mapping[str, Mapping[str, float]],
    pictures: Mapping[str, Part | None],
    targets: Mapping[str, object],
    most: int = 8,
) -> list[dict[str, Any]]:
    """Posts that are answered otherwise in another language, as the report shows them.

    Args:
        run: keeps the pictures.
        texts: by language and post.
        answers: the same; NaN is invalid.
        pictures: by post.
        targets: by post.
        most: how many.
    """
    out: list[dict[str, Any]] = []
    for post, target in targets.items():
        said = {name: found[post] for name, found in answers.items() if post in texts.get(name, {})}
        if len(out) == most or len({str(value) for value in said.values()}) < 2:
            continue
        turns: list[dict[str, Any]] = [{"role": name, "text": texts[name][post]} for name in said]
        picture = pictures.get(post)
        try:
            turns += [{"role": "picture", "path": run.media(picture)}] if picture is not None else []
        except MediaError as error:
            turns.append({"role": "picture", "text": f"cannot be shown: {error.what}"})
        verdicts = [
            {"judge": name, "score": "answer", "value": None if np.isnan(x) else x, "reason": ""}
            for name, x in said.items()
        ]
        out.append(
            {"id": post, "title": f"target {target}", "tags": {}, "turns": turns, "verdicts": verdicts}
        )
    return out
