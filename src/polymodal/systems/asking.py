"""A person's question files, asked of any model: what they say, and whether it is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polymodal.chat import ChatError, ChatModel, Decoding, connect, user
from polymodal.chat.local import Local, Pocket
from polymodal.media import Invalid, Sample
from polymodal.media import read as read_samples
from polymodal.metrics import difference, mean
from polymodal.systems.benchmarks import answer_of, table

if TYPE_CHECKING:
    from polymodal.nn.decoder.knocked import Mode
    from polymodal.runs import Run
    from polymodal.training.study import Book

SHORT = Decoding(tokens=24)  # of an answer


def ask(number: int, model: str, samples: Sequence[Sample], store: Path) -> list[str | None]:
    """A job of a run: each sample's reply, None where a call failed; `number` is the seed.

    Args:
        number: see above.
        model: as `connect` takes it.
        samples: each with a `prompt`, and an `image` where there is one.
        store: file in which replies that cost something are kept.
    """
    from polymodal.runs import Cache

    asked = connect(model, decoding=SHORT, store=Cache(store))
    return [said(asked, sample, seed=number) for sample in samples]


def said(model: ChatModel, sample: Sample, *, seed: int) -> str | None:
    """The reply to a sample, None where the call failed."""
    parts = [sample.parts[name] for name in ("image", "prompt") if name in sample.parts]
    try:
        return model(user(*parts), seed=seed).text
    except ChatError:
        return None


def knocked_out(
    number: int, samples: Sequence[Sample], base: str | None, model: str, mode: Mode
) -> dict[str, NDArray[np.float64]]:
    """A job of a run: what each item loses when a module is knocked out, "layers items", by `MODULE|SET`.

    Args:
        number: the seed.
        samples: with a tag `set`.
        base: the common ancestor, a local model too, for the mode `revert`.
        model: a `local:` one.
        mode: of `nn.decoder.knocked`.

    Raises:
        ValueError: a model that does not run here, or one without layers to knock out.
    """
    from polymodal.nn.decoder.knocked import attribution

    asked = connect(model, decoding=SHORT)
    if not isinstance(asked, Local | Pocket):
        raise ValueError(f"{model}: only a local: model has modules to knock out")
    old: Any = connect(f"local:{base.removeprefix('local:')}") if base and mode == "revert" else None
    sets = {str(sample.tags["set"]) for sample in samples}

    def score() -> dict[str, NDArray[np.float64]]:
        return {
            name: np.nan_to_num(  # no reply is a wrong one
                [right(said(asked, s, seed=number), s) for s in samples if s.tags["set"] == name]
            )
            for name in sorted(sets)
        }

    found = attribution(asked.network(), score, modes=[mode], base=old and old.network())
    return {f"{module}|{name}": drops for (_, module, name), drops in found.items()}


def questions(files: Mapping[str, str | None], limit: int) -> tuple[list[Sample], list[Invalid]]:
    """The questions of files, `limit` a set at most, and rows that cannot be read.

    Args:
        files: by the set that a file's questions are; "" leaves their own tag `set`. Tables end in .tsv.
        limit: see above.

    Raises:
        ValueError: there is none.
        FileNotFoundError: no such file.
    """
    found: list[Sample | Invalid] = []
    for part, given in files.items():
        if given:
            path = Path(given)
            rows = table(path) if path.suffix == ".tsv" else read_samples(path)
            found += [tagged(row, part) if part and isinstance(row, Sample) else row for row in rows]
    kept: dict[str, list[Sample]] = {}
    for row in found:
        if isinstance(row, Sample):
            kept.setdefault(str(row.tags.get("set", "all")), []).append(row)
    if not kept:
        raise ValueError("no questions to ask: give -o data=FILE, or -o perception= and -o reasoning=")
    return [s for some in kept.values() for s in some[:limit]], [r for r in found if isinstance(r, Invalid)]


def right(reply: str | None, sample: Sample) -> float:
    """Whether a reply says the target; a reply that cannot be read is wrong, and none at all is invalid."""
    if reply is None:
        return float("nan")
    return float(
        answer_of(reply, str(sample.tags.get("choices", ""))) == answer_of(str(sample.target)).upper()
    )


def tagged(sample: Sample, part: str) -> Sample:
    """A sample of this set."""
    return replace(sample, id=f"{part}/{sample.id}", tags={**sample.tags, "set": part})


def compared(run: Run, book: Book, models: Mapping[str, str], samples: Sequence[Sample]) -> None:
    """Ask all models, and write down how often each is right by set, and by how much more than the first.

    Leaves answers.parquet. Samples of a group are resampled together.
    """
    jobs = {
        f"{name}/{at}": (book.seed, model, samples[at : at + 100], run.folder / "calls.sqlite")
        for name, model in models.items()
        for at in range(0, len(samples), 100)
    }
    said: dict[str, list[str | None]] = {name: [] for name in models}
    for key, texts in run.map(ask, jobs, name="asked").items():
        said[key.rpartition("/")[0]] += texts
    sets = np.array([str(sample.tags.get("set", "all")) for sample in samples])
    groups = np.array([sample.group or sample.id for sample in samples])
    columns: dict[str, list[Any]] = {"id": [one.id for one in samples], "set": sets.tolist()}
    columns |= {"group": groups.tolist(), "target": [str(one.target) for one in samples]}
    hits = {}
    for name, texts in said.items():
        hits[name] = np.array([right(text, one) for text, one in zip(texts, samples, strict=True)])
        columns |= {f"{name} reply": texts, f"{name} right": hits[name].tolist()}
    first = next(iter(models))
    for part in dict.fromkeys(sets.tolist()):
        here = sets == part
        for name, values in hits.items():
            found = mean(values[here], group=groups[here], seed=book.seed, better="higher")
            book.add(f"{name}/{part}", found)
            if name != first:
                gap = difference(None, values[here], hits[first][here], group=groups[here], seed=book.seed)
                book.add(f"{part}: {name} - {first}", gap, of=f"{first}/{part}")
    run.table("answers.parquet", columns)
