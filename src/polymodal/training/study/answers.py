"""Predictions of a saved model for new samples, some parts of which may be missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from polymodal.media import Invalid, Sample
from polymodal.metrics.calibration import tempered
from polymodal.training.ready import Statistics
from polymodal.training.study.reading import reader
from polymodal.training.table import Table

if TYPE_CHECKING:
    from polymodal.nn import Joined

Missing = Literal["ok", "refuse"]
SIZE = 256  # samples read at a time


def answers(
    model: Path, samples: Iterable[Sample | Invalid], *, missing: Missing = "ok"
) -> Iterator[dict[str, Any]]:
    """Predict as the samples come; one may lack any part, not all of them.

    Args:
        model: a folder that `Joined.save_pretrained` made of a model from `final`.
        samples: with parts of the names that the model was trained on.
        missing: `ok` predicts from what is there; `refuse` raises.

    Yields:
        `id`, `present`, `prediction`, and for classes `probabilities` and `answered` (is the model as sure as
        it was for 80 % of val); or `id`, `invalid` and `detail` for what cannot be read.

    Raises:
        ValueError: a part that the model does not know or of another width; under `refuse` a sample without
            one.
    """
    from polymodal.nn import Joined

    net = Joined.from_pretrained(model)
    stream = iter(samples)
    while chunk := list(islice(stream, SIZE)):
        yield from _few(net, chunk, missing)


def _few(net: Joined, chunk: list[Sample | Invalid], missing: Missing) -> list[dict[str, Any]]:
    """One row for each of a few samples, in their order."""
    from polymodal.training.batches import predict

    good = [sample for sample in chunk if isinstance(sample, Sample)]
    for sample in good:
        if unknown := sorted(set(sample.parts) - set(net.names)):
            known = ", ".join(net.names)
            raise ValueError(f"sample {sample.id!r} has part {unknown[0]!r}; this model knows: {known}")
    if not good:
        return [_refused(row) for row in chunk if isinstance(row, Invalid)]
    bare = [replace(sample, target=None) for sample in good]
    table = Table.read(bare, {n: reader(*net.meta["ways"][n]) for n in net.names}, missing=missing)
    ready = table.ready(Statistics.from_json(net.meta["statistics"]))
    said = iter(zip(predict(net, ready, range(len(good))), ready.present.tolist(), strict=True))
    return [_refused(row) if isinstance(row, Invalid) else _answer(net, row, *next(said)) for row in chunk]


def _refused(row: Invalid) -> dict[str, Any]:
    return {"id": row.id, "invalid": row.reason, "detail": row.detail}


def _answer(net: Joined, sample: Sample, said: Any, present: list[bool]) -> dict[str, Any]:
    here = [name for name, there in zip(net.names, present, strict=True) if there]
    row: dict[str, Any] = {"id": sample.id, "present": here}
    classes = net.meta["statistics"]["classes"]
    if not here:
        return row | {"invalid": "empty", "detail": "no part that the model knows could be read"}
    if classes is None:
        return row | {"prediction": float(said)}
    chances = tempered(said[None], net.meta["temperature"])[0]
    sure = bool(chances.max() >= net.meta["threshold"])
    by_class = {name: float(p) for name, p in zip(classes, chances, strict=True)}
    return row | {"prediction": classes[int(chances.argmax())], "probabilities": by_class, "answered": sure}
