"""What a run leaves beside its figures: scores of regions, vectors, heat, cut captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polymodal.systems.alignment.pictures import Picture

if TYPE_CHECKING:
    from polymodal.nn.dual import Dual
    from polymodal.runs import Run
    from polymodal.training.study import Book

SHOWN = 6  # pictures in the report


def shown(run: Run, book: Book, dual: Dual, test: Sequence[Picture]) -> None:
    """Where the encoder sees a phrase: pictures of the report with the heat of one of their phrases."""
    from polymodal.systems.alignment.scoring import heat

    for one in [picture for picture in test if picture.regions][:SHOWN]:
        region = one.regions[0]
        parts = {
            "picture": {"kind": "image", "path": run.media(one.image)},
            "heat": {"kind": "image", "path": run.media(heat(dual, one.image, region.phrase))},
            "phrase": {"kind": "text", "text": region.phrase},
        }
        book.row(
            "examples", id=one.id, group=one.group, parts=parts, target=region.label or None,
            prediction=None, probability=None, present=list(parts),
        )  # fmt: skip


def write(run: Run, test: Sequence[Picture], value: Mapping[str, Any]) -> None:
    """Tables of an encoder: every region's scores, every picture's vector; `value` is of `aligned.judged`."""
    rows = []
    flat = [(one.id, i, region) for one in test for i, region in enumerate(one.regions)]
    for k, (name, i, region) in enumerate(flat):
        own = float(value["own"][k])
        for key, options in region.options.items():
            scores = [own, *value[f"set {key}"][k][: len(options)].tolist()]
            for text, score in zip([region.phrase, *(o.text for o in options)], scores, strict=True):
                rank = 1 + sum(other > score for other in scores)
                about = {"sample": name, "region": i, "set": key}
                rows.append(about | {"text": text, "score": score, "rank": rank})
    if rows:
        run.table("regions.parquet", rows)
    vectors = {"id": [one.id for one in test], "vector": value["images"].tolist()}
    run.table("embeddings/images.parquet", vectors)


def cut(dual: Dual, pictures: Sequence[Picture], split: str) -> list[str]:
    """Notes of a report on captions that are longer than the text tower reads; none where all fit.

    Args:
        dual: whose positions count.
        pictures: of the split.
        split: what to call them.
    """
    from polymodal.systems.alignment.scoring import PREFIX, dual_long

    notes = []
    long = dual_long(dual)
    shorts = [PREFIX + text for one in pictures for text in one.short]
    for kind, texts, far in (
        ("long", [one.long for one in pictures if one.long], long),
        ("short", shorts, False),
    ):
        if n := dual.shortened(texts, far)[1]:
            most = dual.net.positions(far)
            notes.append(
                f"{n} of {len(texts)} {kind} captions ({split}) have more than the {most} tokens that the "
                "text tower reads: they are cut after the last sentence that fits, or at the last token"
            )
    return notes
