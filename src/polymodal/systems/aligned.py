"""How an encoder that aligns pictures and texts did: choices, classes, retrieval, by arm and seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.metrics import Estimate, over_seeds
from polymodal.systems import ranks
from polymodal.systems.pictures import Picture

if TYPE_CHECKING:
    from polymodal.nn.dual import Dual
    from polymodal.training.study import Book

Values = dict[str, Any]


def judged(dual: Dual, test: Sequence[Picture], gallery: int) -> Values:
    """What a run remembers of an encoder's scores, as arrays.

    Args:
        dual: in eval mode.
        test: pictures.
        gallery: pictures that a caption is looked for among.

    Returns:
        `own` and, by set, `set NAME` (regions by rivals, NaN behind the last); `classes`; for `long` and
        `short` captions, where every picture has one, ranks both ways and the owner of each text.
    """
    from polymodal.systems.scoring import scored

    found = scored(dual, test, classes(test))
    out: Values = {"own": found.own}
    for name, rivals in found.rivals.items():
        padded = np.full((len(rivals), max(map(len, rivals))), np.nan, np.float32)
        for row, each in zip(padded, rivals, strict=True):
            row[: len(each)] = each
        out[f"set {name}"] = padded
    if found.classes is not None:
        out["classes"] = found.classes
    for name, texts, of in (("long", found.longs, found.long_of), ("short", found.shorts, found.short_of)):
        if len(set(of.tolist())) == len(test):
            there, back = ranks.retrieved(found.images, texts, of, size=gallery)
            out |= {f"ranks {name}": there, f"back {name}": back, f"owner {name}": of}
    return out


def only(picture: Picture, name: str) -> Picture:
    """The picture with those regions that have a set of options, and no other set."""
    kept = [replace(r, options={name: r.options[name]}) for r in picture.regions if r.options.get(name)]
    return replace(picture, regions=tuple(kept))


def classes(test: Iterable[Picture]) -> list[str]:
    """Names that regions have."""
    return sorted({region.label for one in test for region in one.regions if region.label})


class Sheet:
    """Columns "s q" of every arm and measure.

    Attributes:
        flat: the group and the region of each row of region measures.
        names: classes.
        columns: by arm and measure; NaN where a region does not take part.
        groups: by measure, the picture's group of each query.
        chances: of a blind choice, by measure.
    """

    def __init__(self, test: Sequence[Picture], cells: Mapping[str, Sequence[Values]]) -> None:
        self.flat = [(one.group, region) for one in test for region in one.regions]
        self.names = classes(test)
        self.columns: dict[tuple[str, str], np.ndarray[Any, Any]] = {}
        self.groups: dict[str, list[str]] = {}
        self.chances: dict[str, float] = {}
        whole, mine = [one.group for one in test], [group for group, _ in self.flat]
        truth = np.array([self.names.index(r.label) if r.label else -1 for _, r in self.flat])
        for arm, seeds in cells.items():
            for name in [key.removeprefix("set ") for key in seeds[0] if key.startswith("set ")]:
                rivals = [~np.isnan(seeds[0][f"set {name}"])]
                self.chances[name] = ranks.chance(rivals[0].sum(1)[rivals[0].any(1)].tolist())
                for ties, label in (("strict", name), ("lenient", f"{name}, lenient")):
                    table = [choices(v["own"], v[f"set {name}"], ties) for v in seeds]
                    self.put(arm, label, np.array(table), mine)
            if "classes" in seeds[0]:
                for k in (1, 5):
                    hits = [top(v["classes"], truth, k) for v in seeds]
                    self.put(arm, "box" if k == 1 else f"box top-{k}", np.array(hits), mine)
                self.chances["box"] = 1 / len(self.names)
            for name in ("long", "short"):
                if f"ranks {name}" in seeds[0]:
                    hits = [v[f"ranks {name}"] == 1 for v in seeds]
                    self.put(arm, f"{name} R@1", np.array(hits, float), whole)
                    owner = [whole[i] for i in seeds[0][f"owner {name}"]]
                    back = [v[f"back {name}"] == 1 for v in seeds]
                    self.put(arm, f"{name} R@1, text to image", np.array(back, float), owner)

    def put(self, arm: str, name: str, table: np.ndarray[Any, Any], groups: list[str]) -> None:
        """Keep a column."""
        self.columns[arm, name], self.groups[name] = table, groups

    def estimate(
        self, arm: str, name: str, rows: np.ndarray[Any, Any] | None = None, *, seed: int
    ) -> Estimate:
        """Mean over seeds, then pictures; of some rows where given."""
        table, groups = self.columns[arm, name], self.groups[name]
        if rows is not None:
            table, groups = table[:, rows], [groups[i] for i in np.flatnonzero(rows)]
        return over_seeds(table, group=groups, seed=seed, better="higher")


def choices(own: np.ndarray[Any, Any], rivals: np.ndarray[Any, Any], ties: str) -> np.ndarray[Any, Any]:
    """Fine choices of all regions; NaN where a region has no rivals."""
    there = ~np.isnan(rivals)
    filled = np.where(there, rivals, -np.inf)
    level = (filled == own[:, None]).sum(1)
    right = np.where(filled.max(1) > own, 0.0, 1.0 / (1 + level) if ties == "strict" else 1.0)
    return np.where(there.any(1), right, np.nan)


def top(scores: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], k: int) -> np.ndarray[Any, Any]:
    """Whether the class is among the k best; NaN where there is none."""
    own = np.take_along_axis(scores, np.maximum(truth, 0)[:, None], 1)
    return np.where(truth < 0, np.nan, ((scores > own).sum(1) < k) * 1.0)


def strata(book: Book, sheet: Sheet, arm: str, *, seed: int) -> None:
    """An arm's choices by stratum, of tiny regions apart, and balanced over classes."""
    for name in [key for key in sheet.chances if key != "box"]:
        column = sheet.columns[arm, name]
        known = np.isfinite(column).all(0)
        for stratum in sorted({r.stratum for _, r in sheet.flat if r.stratum}):
            here = np.array([r.stratum == stratum for _, r in sheet.flat])
            if (here & known).any():
                book.add(f"{arm}/{name}, {stratum}", sheet.estimate(arm, name, here, seed=seed))
        small = np.array([r.tiny for _, r in sheet.flat])
        if (small & known).any():
            book.add(f"{arm}/{name}, tiny", sheet.estimate(arm, name, small, seed=seed))
        labels = np.array([r.label for _, r in sheet.flat])
        kinds = [here for label in sheet.names if (here := (labels == label) & known).any()]
        if len(kinds) > 1:
            weight = np.full(len(labels), np.nan)
            for here in kinds:
                weight[here] = known.sum() / (len(kinds) * here.sum())
            balanced = over_seeds(column * weight, group=sheet.groups[name], seed=seed, better="higher")
            book.add(f"{arm}/{name}, balanced", balanced)
