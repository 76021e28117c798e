"""Which tensor of one model is which of another, and the plan that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from polymodal.nn.weights.families import (
    BUFFERS,
    EMBEDDINGS,
    HEADS,
    SETTINGS,
    Decoder,
    fused_in,
    prefix_by_table,
    setting,
    stacks,
)
from polymodal.nn.weights.headers import FLOATS, Checkpoint, View, WeightsError, read_checkpoint
from polymodal.nn.weights.plan import Merge, Plan
from polymodal.nn.weights.recipe import BASED, Recipe
from polymodal.nn.weights.vocabulary import shared_rows

Model = str | Path | Checkpoint


def plan(target: Model, donors: Sequence[Model], recipe: Recipe, *, base: Model | None = None) -> Plan:
    """Reads headers and configurations, pairs tensors, and says what would be done with each.

    Args:
        target: the model whose layout the result has; a folder, a hub name, or a checkpoint that was read.
        donors: one or more models with the same text decoder.
        recipe: how to merge.
        base: the common ancestor, for all methods but linear, slerp and layer_swap.

    Raises:
        WeightsError: a model cannot be read, or its decoder not be found.
        ValueError: the recipe does not fit the models: no base, weights, a rule that matches nothing.
    """
    notes = recipe.warnings(len(donors))
    if recipe.method in BASED and base is None:
        raise ValueError(f"{recipe.method} needs the model that target and donors come from: --base MODEL")
    if base is not None and recipe.method not in BASED:
        notes.append(f"{recipe.method} never reads the base")
        base = None
    models = [
        model if isinstance(model, Checkpoint) else read_checkpoint(model) for model in (target, *donors)
    ]
    ground = base if isinstance(base, Checkpoint) or base is None else read_checkpoint(base)
    return _Pairing(models[0], models[1:], ground, recipe, notes).plan()


class _Pairing:
    """Collects what becomes of each tensor."""

    def __init__(
        self,
        target: Checkpoint,
        donors: list[Checkpoint],
        base: Checkpoint | None,
        recipe: Recipe,
        notes: list[str],
    ) -> None:
        self.order = sorted(range(len(donors)), key=lambda i: donors[i].fingerprint)
        self.target, self.donors, self.base = target, [donors[i] for i in self.order], base
        if len({donor.fingerprint for donor in donors}) < len(donors):
            raise ValueError("the same donor is given twice: give it once, with the sum of its weights")
        self.recipe, self.notes = recipe, notes
        self.others = [*self.donors, *([base] if base else [])]
        self.kept: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.merges: list[Merge] = []

    def plan(self) -> Plan:
        """The account of all tensors."""
        decoders = self._decoders()
        self._settings(decoders)
        split = _differing(decoders)
        views = [decoder.views(split) for decoder in decoders]
        if self.recipe.embeddings == "merge":
            self._embeddings(views)
        self._pair(views, decoders[0].depth)
        self._unused(views, decoders)
        self._rest(decoders[0])
        bad = {merge.name for merge in self.merges} & {*self.refused, *self.kept}
        merges = [merge for merge in self.merges if merge.name not in bad]
        place = {name: i for i, name in enumerate(self.target.entries)}
        merges.sort(key=lambda merge: place[merge.name])
        self._rules({merge.name for merge in merges})
        return Plan(
            self.target,
            tuple(self.donors),
            self.base,
            self.recipe,
            tuple(merges),
            {name: self.kept[name] for name in place if name in self.kept},
            self.refused,
            tuple(dict.fromkeys(self.notes)),
        )

    def _refuse(self, name: str, why: str) -> None:
        """Stops the merge, or keeps the target's where the recipe allows it."""
        if not self.recipe.allows(name):
            self.refused.setdefault(name, why)
        elif name in self.target.entries:
            self.kept.setdefault(name, f"allowed: {why}")
        else:
            self.notes.append(f"allowed: {name}: {why}")

    def _decoders(self) -> list[Decoder]:
        """The text decoder of the target, each donor and the base."""
        own, prefixes = prefix_by_table(self.target), []
        for other in self.others:
            theirs = prefix_by_table(other)
            if own is None or theirs is None:
                own, theirs = _inferred(self.target, own, other, theirs)
            prefixes.append(theirs)
        if self.target.unread:
            self.notes.append(f"not copied, weights outside the checkpoint: {', '.join(self.target.unread)}")
        self.notes.append(f"decoder: {own}layers.N of {self.target.name}")
        others = [Decoder(other, prefix) for other, prefix in zip(self.others, prefixes, strict=True)]
        return [Decoder(self.target, own or ""), *others]

    def _settings(self, decoders: Sequence[Decoder]) -> None:
        first, *others = decoders
        for other in others:
            for name in SETTINGS:
                a, b = (setting(decoder.checkpoint.config, name) for decoder in (first, other))
                if name == "num_hidden_layers":
                    a, b = first.depth, other.depth
                if a is not None and b is not None and a != b:
                    self._refuse(
                        f"config.{name}",
                        f"{a} in {first.checkpoint.name}, {b} in {other.checkpoint.name}",
                    )

    def _pair(self, views: Sequence[dict[str, View]], depth: int) -> None:
        own, *others = views
        for key, view in own.items():
            name = view.entry.name
            wrong = self._fault(key, view, others)
            if wrong and key.startswith("cross.") and "no partner" in wrong:
                self.kept.setdefault(name, "cross-attention layer, which a language model does not have")
            elif wrong:
                self._refuse(name, wrong)
            else:
                self._add(key, view, [other[key] for other in others], depth)

    def _fault(self, key: str, view: View, others: Sequence[dict[str, View]]) -> str | None:
        """Why a tensor cannot be merged."""
        for model, other in zip(self.others, others, strict=True):
            if key not in other:
                return f"no partner in {model.name} (as {key})"
            partner = other[key]
            if partner.shape != view.shape:
                return f"shape {list(view.shape)}, but {list(partner.shape)} in {model.name}"
            for one in (view, partner):
                if one.entry.dtype not in FLOATS:
                    return f"type {one.entry.dtype}, of which no sums are taken: give full-precision weights"
        return None

    def _add(self, key: str, view: View, others: list[View], depth: int) -> None:
        name, n = view.entry.name, len(self.donors)
        merge = Merge(name, key, view, tuple(others[:n]), others[n] if self.base else None, ())
        own, *rest = self.recipe.weights_of(name, merge.layer, depth, n)
        weights = (own, *(rest[i] for i in self.order))
        if own == 1 and not any(rest):
            self.kept.setdefault(name, "weight 1 on the target")
            return
        self.merges.append(Merge(name, key, view, merge.donors, merge.base, weights))

    def _embeddings(self, views: Sequence[dict[str, View]]) -> None:
        """Adds the rows of embedding and head whose tokens all models know."""
        made, notes = shared_rows(self.target, self.others)
        self.notes += notes
        for key, rows in made.items():
            for model, view in zip(views, rows, strict=True):
                model[key] = view

    def _unused(self, views: Sequence[dict[str, View]], decoders: Sequence[Decoder]) -> None:
        for decoder, other in zip(decoders[1:], views[1:], strict=True):
            for key, view in other.items():
                if key not in views[0] and not key.startswith("cross."):
                    self._refuse(
                        view.entry.name,
                        f"of {decoder.checkpoint.name} has no partner in the target (as {key})",
                    )
            used = {view.entry.name for view in other.values()}
            rest = [name for name in decoder.checkpoint.entries if name not in used]
            if rest:
                shown = ", ".join(rest[:3]) + (", …" if len(rest) > 3 else "")
                self.notes.append(f"not read from {decoder.checkpoint.name}: {len(rest)} tensors ({shown})")

    def _rest(self, decoder: Decoder) -> None:
        """Everything of the target that is not its text decoder."""
        done = {merge.name for merge in self.merges} | {*self.kept, *self.refused}
        for name in self.target.entries:
            if name in done:
                continue
            if any(mark in name for mark in BUFFERS):
                why = "buffer"
            elif name.endswith(EMBEDDINGS) and name.startswith(decoder.prefix):
                why = "token embedding"
            elif name.endswith(HEADS):
                why = "language head"
            else:
                why = "not the text decoder"
            self.kept[name] = why

    def _rules(self, merged: set[str]) -> None:
        one = {name for name, why in self.kept.items() if why.startswith("weight 1")}
        used = {self.recipe.rule_of(name) for name in merged | one}
        for i, (glob, weight) in enumerate(self.recipe.rules):
            if i not in used:
                raise ValueError(
                    f"the rule {glob}={weight:g} matches no tensor that is merged (or an earlier rule takes "
                    f"them all); names look like {next(iter(merged), 'nothing: all is kept')}"
                )


def _differing(decoders: Sequence[Decoder]) -> frozenset[str]:
    """Fused names that not all models have, which must be read as their parts."""
    every = {key for decoder in decoders for key in decoder.entries if fused_in(key)}
    return frozenset(key for key in every if not all(key in decoder.entries for decoder in decoders))


def _inferred(target: Checkpoint, own: str | None, donor: Checkpoint, theirs: str | None) -> tuple[str, str]:
    """The one pair of prefixes under which every decoder tensor of the donor has an equal in the target."""
    ours = [own] if own is not None else list(stacks(target))
    others = [theirs] if theirs is not None else list(stacks(donor))
    pairs = [(a, b) for a, b in product(ours, others) if _fits(Decoder(target, a), Decoder(donor, b))]
    if len(pairs) != 1:
        what = "no prefix fits" if not pairs else "several prefixes fit"
        raise WeightsError(
            f"cannot tell where the text decoder is ({what}).\n"
            f"  {target.name} ({target.config.get('model_type')}) has layers under: {_listed(ours)}\n"
            f"  {donor.name} ({donor.config.get('model_type')}) has layers under: {_listed(others)}"
        )
    return pairs[0]


def _listed(prefixes: Sequence[str]) -> str:
    return ", ".join(f"{prefix}layers.N" for prefix in prefixes) or "nothing"


def _fits(target: Decoder, donor: Decoder) -> bool:
    split = _differing([target, donor])
    try:
        ours, theirs = target.views(split), donor.views(split)
    except WeightsError:
        return False
    return bool(theirs) and all(key in ours and ours[key].shape == view.shape for key, view in theirs.items())
