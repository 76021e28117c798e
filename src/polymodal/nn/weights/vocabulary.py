"""Rows of embeddings and heads that mean the same token in several models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from polymodal.nn.weights.families import EMBEDDINGS, HEADS
from polymodal.nn.weights.headers import Checkpoint, Entry, View, WeightsError, rows


def tokens(model: Checkpoint) -> dict[str, int]:
    """Row of each token's text, from the model's tokenizer.json.

    Raises:
        WeightsError: there is no such file, or it has no vocabulary.
    """
    path = model.folder / "tokenizer.json"
    if not path.exists():
        raise WeightsError(
            f"embeddings=merge pairs rows by token text, and {model.name} has no tokenizer.json"
        )
    table = json.loads(path.read_text(encoding="utf-8"))
    known = table.get("model", {}).get("vocab")
    if isinstance(known, list):  # unigram: pairs of text and score, in the order of rows
        known = {str(pair[0]): i for i, pair in enumerate(known)}
    if not isinstance(known, dict):
        raise WeightsError(f"{path} has no vocabulary that maps texts to rows")
    added = {str(one["content"]): int(one["id"]) for one in table.get("added_tokens", ())}
    return {str(text): int(row) for text, row in known.items()} | added


def shared_rows(target: Checkpoint, others: Sequence[Checkpoint]) -> tuple[dict[str, list[View]], list[str]]:
    """Views of the rows whose token all models know, for embedding and head.

    Args:
        target: whose rows are merged.
        others: donors, and the base where one is read.

    Returns:
        Views of target and others by key, and a note on each tensor: how many rows have no partner.

    Raises:
        WeightsError: a tokenizer is missing.
    """
    models = [target, *others]
    vocabularies = [tokens(model) for model in models]
    made, notes = {}, []
    for key, names in (("embed_tokens.weight", EMBEDDINGS), ("lm_head.weight", HEADS)):
        entries = [_stored(model, names) or _tied(model, key) for model in models]
        own, *theirs = entries
        if own is None or _stored(target, names) is None:
            continue
        if any(entry is None or entry.shape[1:] != own.shape[1:] for entry in theirs):
            raise WeightsError(f"embeddings=merge: {own.name} has no partner of its width in every model")
        found = [entry for entry in entries if entry is not None]
        spans = _matched(vocabularies, found)
        made[key] = [
            rows(entry, [(row, row + 1) for row in taken]) for entry, taken in zip(found, spans, strict=True)
        ]
        notes.append(
            f"{own.name}: {len(spans[0])} of {own.shape[0]} rows merged by token text, the rest kept"
        )
    return made, notes


def _stored(model: Checkpoint, names: Sequence[str]) -> Entry | None:
    found = [entry for name, entry in model.entries.items() if name.endswith(tuple(names))]
    return found[0] if len(found) == 1 else None


def _tied(model: Checkpoint, key: str) -> Entry | None:
    """A head that is not stored is the embedding."""
    return _stored(model, EMBEDDINGS) if key.startswith("lm_head") else None


def _matched(vocabularies: Sequence[Mapping[str, int]], entries: Sequence[Entry]) -> list[list[int]]:
    """Rows of each model for the tokens that all of them know, by the target's row."""
    first = sorted(vocabularies[0].items(), key=lambda item: item[1])
    shared = []
    for text, row in first:
        places = [row, *(vocabulary.get(text, -1) for vocabulary in vocabularies[1:])]
        if all(0 <= place < entry.shape[0] for place, entry in zip(places, entries, strict=True)):
            shared.append(places)
    return [list(column) for column in zip(*shared, strict=True)] if shared else [[] for _ in entries]
