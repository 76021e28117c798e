"""What a merge will do, tensor by tensor: merged, kept or refused, and why."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polymodal.nn.weights.headers import Checkpoint, View, WeightsError, read_checkpoint
from polymodal.nn.weights.recipe import Recipe


@dataclass(frozen=True)
class Merge:
    """One tensor (or part of a fused one) of the target and its partners.

    Args:
        name: its name in the target.
        key: its name in any family: `layers.3.mlp.up_proj.weight`.
        view: its place in the target.
        donors: its place in each donor.
        base: its place in the base, None where that is not read.
        weights: of the target and each donor.
    """

    name: str
    key: str
    view: View
    donors: tuple[View, ...]
    base: View | None
    weights: tuple[float, ...]

    @property
    def layer(self) -> int | None:
        """Number of the decoder layer; None for the final norm and embeddings."""
        words = self.key.split(".")
        return int(words[1]) if words[0] == "layers" else None

    @property
    def module(self) -> str:
        """attention, mlp, norm or embedding."""
        for mark, module in (("attn", "attention"), ("mlp", "mlp"), ("norm", "norm")):
            if mark in self.key and not (mark == "attn" and "norm" in self.key):
                return module
        return "embedding" if "embed" in self.key or "head" in self.key else "mlp"


@dataclass(frozen=True)
class Job:
    """One tensor to write: `ranges` are (file, first, after last) bytes, `run` makes them."""

    name: str
    ranges: tuple[tuple[str, int, int], ...]
    run: Callable[[], Iterator[tuple[str, int, memoryview, str]]] = field(compare=False)


@dataclass(frozen=True)
class Plan:
    """The whole account of a merge: every tensor of the target is exactly one of merged, kept, refused.

    Args:
        target: whose layout the result has.
        donors: in an order of their own, by content.
        base: what deltas are taken from, if anything.
        recipe: how.
        merges: what is merged, in the order of the target's files.
        kept: the target's other tensors by name, with the reason.
        refused: what stops the merge by name (a tensor, or `config.SETTING`), with the reason.
        notes: what else a person should know.
    """

    target: Checkpoint
    donors: tuple[Checkpoint, ...]
    base: Checkpoint | None
    recipe: Recipe
    merges: tuple[Merge, ...]
    kept: Mapping[str, str]
    refused: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The target's folder, which the result is a copy of."""
        return self.target.folder

    @property
    def files(self) -> tuple[str, ...]:
        """The target's weight files."""
        return self.target.files

    def ready(self) -> Plan:
        """The plan itself, if nothing is refused.

        Raises:
            WeightsError: with the first five refusals, both configurations' sizes, and what to do.
        """
        if self.refused:
            first = [f"  {name}: {why}" for name, why in list(self.refused.items())[:5]]
            more = [f"  … and {len(self.refused) - 5} more"] if len(self.refused) > 5 else []
            sizes = [f"  {model.name}: {sized(model)}" for model in (self.target, *self.donors)]
            raise WeightsError(
                "\n".join(
                    (
                        f"{len(self.refused)} refusals; nothing was written.",
                        *first,
                        *more,
                        *sizes,
                        "--allow NAME (or a glob) keeps a tensor from the target, or accepts a setting.",
                    )
                )
            )
        return self

    def read_by(self, merge: Merge) -> list[tuple[Checkpoint, View]]:
        """The models that a merge reads, with its place in each: target, donors, base."""
        models = [*self.donors, *([self.base] if merge.base is not None and self.base else [])]
        views = [*merge.donors, *([merge.base] if merge.base is not None else [])]
        return [(self.target, merge.view), *zip(models, views, strict=True)]

    @property
    def companions(self) -> tuple[str, ...]:
        """The target's other files that the result has too: configuration, tokenizer, processor."""
        return self.target.companions

    def jobs(self, chunk: int) -> list[Job]:
        """One job a merged tensor, for a writer.

        Args:
            chunk: bytes of a piece at most.

        Raises:
            WeightsError: something is refused.
        """
        from polymodal.nn.weights.stream import pieces

        self.ready()
        made = []
        for merge in self.merges:
            view = merge.view
            ranges = tuple((view.entry.file, *place) for place in view.places(0, view.size))
            made.append(Job(merge.key, ranges, lambda merge=merge: pieces(self, merge, chunk)))  # type: ignore[misc]
        return made

    @property
    def digest(self) -> str:
        """Tells this merge from any other: recipe, contents of all models, plan."""
        told = {key: value for key, value in self.to_json().items() if key != "notes"}
        text = json.dumps(told, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def check(self, folder: Path) -> None:
        """Compares the headers of a finished folder with the plan.

        Raises:
            WeightsError: a tensor is missing, or has another type, shape or place.
        """
        made = read_checkpoint(f"local:{folder}")
        if dict(made.entries) != dict(self.target.entries):
            differing = [n for n, entry in self.target.entries.items() if made.entries.get(n) != entry]
            raise WeightsError(
                f"{folder}: differs from the plan in {', '.join(differing[:5]) or 'extra tensors'}"
            )

    def lines(self) -> Iterator[str]:
        """The plan as text: counts first, then kept by reason, refusals, notes."""
        yield (
            f"{self.recipe.method}: {len(self.merged_names())} merged, {len(self.kept)} kept, "
            f"{len(self.refused)} refused of {len(self.target.entries)} tensors"
        )
        for weights, n in Counter(merge.weights for merge in self.merges).items():
            yield f"  merged {n} with weights {', '.join(f'{weight:g}' for weight in weights)}"
        groups = Counter(self.kept.values())
        for why, n in groups.items():
            yield f"  kept {n}: {why} ({next(name for name, w in self.kept.items() if w == why)})"
        for name, why in self.refused.items():
            yield f"  refused {name}: {why}"
        for note in self.notes:
            yield f"  note: {note}"

    def merged_names(self) -> tuple[str, ...]:
        """Names of the target's tensors that are merged, wholly or in part."""
        return tuple(dict.fromkeys(merge.name for merge in self.merges))

    def to_json(self) -> dict[str, Any]:
        """The plan as strict JSON, the same for equal models wherever they lie."""
        models = {"target": [self.target], "donors": self.donors, "base": [self.base] if self.base else []}
        return {
            "recipe": self.recipe.to_json(),
            "models": {
                role: [{"fingerprint": m.fingerprint, "files": list(m.files)} for m in some]
                for role, some in models.items()
            },
            "merged": [
                {
                    "name": merge.name,
                    "key": merge.key,
                    "donors": [view.entry.name for view in merge.donors],
                    "weights": list(merge.weights),
                    "shape": list(merge.view.shape),
                    "dtype": merge.view.entry.dtype,
                }
                for merge in self.merges
            ],
            "kept": dict(self.kept),
            "refused": dict(self.refused),
            "notes": list(self.notes),
        }

    def record(self, notes: Mapping[str, str]) -> dict[str, Any]:
        """What goes into merge.json: names of the models, the plan, and what writing found out.

        Args:
            notes: by tensor, as given with its pieces.
        """
        names = {"target": self.target.name, "donors": [donor.name for donor in self.donors]}
        return {
            "made_by": "polymodal merge",
            "names": names | {"base": self.base.name if self.base else None},
            "spared": dict(sorted(notes.items())),
            **self.to_json(),
        }


def sized(model: Checkpoint) -> str:
    """The settings of a model's text decoder in a line."""
    from polymodal.nn.weights.families import SETTINGS, setting

    told = {name: setting(model.config, name) for name in SETTINGS}
    return ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
