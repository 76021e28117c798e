"""Contracts of samples: parts and splits."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polymodal.media import Part, Sample
    from polymodal.training import Split


def check_part(part: Part) -> None:
    """A part is frozen and has one digest.

    Raises:
        AssertionError: saying which promise is broken.
    """
    assert part.digest() == part.digest(), "digest() changes between calls"
    assert len(part.digest()) == 32, "digest() is not 32 hex digits"
    field = dataclasses.fields(part)[0].name
    try:
        setattr(part, field, None)
    except dataclasses.FrozenInstanceError:
        return
    raise AssertionError(f"{type(part).__name__}.{field} can be set: parts are frozen")


def check_split(split: Split, samples: Sequence[Sample]) -> None:
    """Hold a split against what every split promises.

    Sides are ascending, disjoint and inside the samples; train is not empty and has every class that occurs
    in val or test (classes with one member apart); what `split.by` names is whole; the digest belongs to
    the sides; without groups the stamp says so.

    Raises:
        AssertionError: naming what is broken and where.
    """
    sides = {"train": split.train, "val": split.val, "test": split.test}
    for name, side in sides.items():
        assert list(side) == sorted(set(side)), f"{name} is not ascending or repeats a row"
        assert not side or 0 <= side[0] <= side[-1] < len(samples), f"{name} points outside the samples"
    assert split.train, "train is empty"
    rows = [row for side in sides.values() for row in side]
    assert len(rows) == len(set(rows)), "a row is on two sides"
    counts = Counter(samples[row].target for row in rows)
    lost = {name for name, n in counts.items() if isinstance(name, str) and n > 1} - {
        samples[row].target for row in split.train
    }
    assert not lost, f"train lacks classes {sorted(lost)}"
    if split.by != "sample" and not split.by.startswith("official:"):
        owner: dict[object, str] = {}
        for name, side in sides.items():
            for row in side:
                group = samples[row].group if split.by == "group" else samples[row].tags[split.by]
                if group is not None:
                    assert owner.setdefault(group, name) == name, f"{group!r} is in {owner[group]} and {name}"
    lone = sum(sample.group is None for sample in samples)
    if split.by == "group" and lone:
        said = "ungrouped" if lone == len(samples) else f"ungrouped: {lone} of {len(samples)}"
        assert said in split.stamp, f"no stamp {said!r}"
    assert len(split.digest) == 32, "the digest is 32 hex characters"
    assert int(split.digest, 16) >= 0, "the digest is 32 hex characters"
