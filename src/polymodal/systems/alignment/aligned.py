"""How encoders of pictures and texts did: choices, classes, retrieval, by arm and seed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.metrics import Estimate, difference, estimate, exact, isotonic, over_seeds, tempered
from polymodal.metrics.calibration import ECE, reliability
from polymodal.systems.alignment import ranks
from polymodal.systems.alignment.pictures import Picture

if TYPE_CHECKING:
    from polymodal.nn.dual import Dual
    from polymodal.training.study import Book

Values = dict[str, Any]
KNOWN_BY = ("hard", "near")  # the set of texts that a run is known by: one attribute changed


def judged(dual: Dual, test: Sequence[Picture], gallery: int) -> Values:
    """What a run remembers of an encoder's scores, as arrays.

    Args:
        dual: in eval mode.
        test: pictures.
        gallery: pictures that a caption is looked for among.

    Returns:
        `images` (vectors), `own` and, by set, `set NAME` (regions by rivals, NaN behind the last); `classes`;
        for `long` and `short` captions, where every picture has one, ranks both ways, the owner of each
        text, and ranks of the pictures among texts that belong to others (`stray`).
    """
    from polymodal.systems.alignment.scoring import scored

    found = scored(dual, test, classes(test))
    out: Values = {"own": found.own, "images": found.images}
    for name, rivals in found.rivals.items():
        padded = np.full((len(rivals), max(map(len, rivals))), np.nan, np.float32)
        for row, each in zip(padded, rivals, strict=True):
            row[: len(each)] = each
        out[f"set {name}"] = padded
    if found.classes is not None:
        out["classes"] = found.classes
    for name, texts, of in (("long", found.longs, found.long_of), ("short", found.shorts, found.short_of)):
        if len(set(of.tolist())) == len(test) > 1:
            there, back = ranks.retrieved(found.images, texts, of, size=gallery)
            other = (of + 1) % len(test)
            stray, _ = ranks.retrieved(found.images, texts, other, size=gallery)
            out |= {f"ranks {name}": there, f"back {name}": back, f"owner {name}": of, f"stray {name}": stray}
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
                    stray = [v[f"stray {name}"] == 1 for v in seeds]
                    self.put(arm, f"{name} R@1, texts of others", np.array(stray, float), whole)
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


def told(
    book: Book, sheet: Sheet, pairs: Iterable[tuple[str, str, str]], controls: Collection[str], *, seed: int
) -> None:
    """Every arm's measures with their chance lines, and differences paired by picture.

    Args:
        book: takes the estimates: `ARM/MEASURE`, `chance/MEASURE`, `MEASURE, ARM - ARM`.
        sheet: the columns.
        pairs: measure and two arms.
        controls: arms that are broken on purpose.
        seed: of the bootstraps.
    """
    for arm, name in sheet.columns:
        control = arm in controls or "of others" in name
        about: dict[str, Any] = {"role": "control" if control else "result"}
        about["page"] = not any(word in name for word in ("lenient", "text to", "top-5"))
        if arm in controls and name in sheet.chances:
            about["expected"] = sheet.chances[name]
        book.add(f"{arm}/{name}", sheet.estimate(arm, name, seed=seed), **about)
    for name, chance in sheet.chances.items():
        book.add(
            f"chance/{name}",
            exact(chance, n=len(sheet.flat), better="higher"),
            role="baseline",
            expected=chance,
        )
    for name, a, b in pairs:
        if {(a, name), (b, name)} <= sheet.columns.keys():
            columns, groups = (sheet.columns[a, name], sheet.columns[b, name]), sheet.groups[name]
            found = difference(None, *columns, group=groups, seed=seed)
            book.add(
                f"{name}, {a} - {b}", found, of=b, page=True, role="control" if a in controls else "result"
            )


def strata(book: Book, sheet: Sheet, arm: str, *, seed: int) -> None:
    """An arm's choices by stratum, of tiny regions apart, and balanced over classes."""
    labels = np.array([region.label for _, region in sheet.flat])
    for name in [key for key in sheet.chances if (arm, key) in sheet.columns and key != "box"]:
        if name in KNOWN_BY:
            book.legend[f"{arm}/{name}"]["headline"] = True
        column, about = sheet.columns[arm, name], {"role": "result"}
        known = np.isfinite(column).all(0)
        ways = {s: [r.stratum == s for _, r in sheet.flat] for s in {r.stratum for _, r in sheet.flat} if s}
        ways |= {"tiny": [r.tiny for _, r in sheet.flat]}
        for stratum, rows in sorted(ways.items()):
            here = np.array(rows) & known
            if here.any() and not here.all():
                book.add(f"{arm}/{name}, {stratum}", sheet.estimate(arm, name, here, seed=seed), **about)
        kinds = [here for label in sheet.names if (here := (labels == label) & known).any()]
        if len(kinds) > 1:
            weight = np.full(len(labels), np.nan)
            for here in kinds:
                weight[here] = known.sum() / (len(kinds) * here.sum())
            balanced = over_seeds(column * weight, group=sheet.groups[name], seed=seed, better="higher")
            book.add(f"{arm}/{name}, balanced", balanced, **about)


def fooled(book: Book, sheet: Sheet, arm: str, cells: Sequence[Values], name: str, *, seed: int) -> None:
    """Whether the phrase beats the texts that change one attribute, one at a time; a table too."""
    changes = [[o.changed for o in region.options.get(name, ())] for _, region in sheet.flat]
    kinds = sorted({change for row in changes for change in row if change and "+" not in change})
    rows = []
    for kind in kinds:
        hits = []
        for value in cells:
            rivals = value[f"set {name}"].copy()
            for i, row in enumerate(changes):
                rivals[i, [k for k, change in enumerate(row) if change != kind]] = np.nan
            hits.append(choices(value["own"], rivals, "strict"))
        found = over_seeds(np.array(hits), group=sheet.groups[name], seed=seed, better="higher")
        left = [row.count(kind) for row in changes if row.count(kind)]
        book.add(f"{arm}/{name} against {kind}", found, page=True)
        rows.append([kind, found.mean, ranks.chance(left), found.n_valid])
    if rows:
        columns = ["what the rivals change", "phrase chosen", "chance", "regions"]
        note = f"Against the texts of the set {name} that change this attribute alone."
        table = {"title": f"Which change fools {arm}", "note": note, "columns": columns, "rows": rows}
        book.sections.setdefault("tables", []).append(table)


def blind(book: Book, sheet: Sheet, score: Callable[[str], float], name: str, *, seed: int) -> None:
    """A matcher that never looks chooses among the texts of a set: `words alone/SET`."""
    hits = []
    for _, region in sheet.flat:
        rivals = [score(option.text) for option in region.options.get(name, ())]
        hits.append(ranks.chosen(score(region.phrase), rivals) if rivals else np.nan)
    found = over_seeds(np.array([hits]), group=sheet.groups[name], seed=seed, better="higher")
    book.add(f"words alone/{name}", found, role="baseline", page=True)


def beliefs(
    own: np.ndarray[Any, Any], rivals: np.ndarray[Any, Any], scale: float, *, seed: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Chances of each region's texts, the likeliest first: the softmax of its scores at a scale.

    Args:
        own: " r" scores of the phrases.
        rivals: "r m" scores of the others, NaN behind the last.
        scale: what scores are multiplied with.
        seed: of the order of texts that score the same.

    Returns:
        "r k" chances, 0 where a region has no more texts; which of these there are; " r" where the phrase is.
    """
    scores = np.concatenate([own[:, None], rivals], axis=1).astype(np.float64)
    chances = tempered(np.where(np.isnan(scores), -np.inf, scores * scale))
    tied = np.random.default_rng(seed).random(chances.shape)
    order = np.lexsort((tied, -np.where(np.isnan(scores), -1.0, chances)))
    there = np.take_along_axis(~np.isnan(scores), order, 1)
    return np.take_along_axis(chances, order, 1), there, (order == 0).argmax(1)


def calibrated(book: Book, sheet: Sheet, arm: str, value: Values, scale: float, *, seed: int) -> None:
    """How far the chances that an arm gives its choices can be believed, as they are and after isotonic.

    The map from chances to truth is fitted on half of the groups and told on the others, where a region's
    chances are made to sum to 1 again (Zadrozny and Elkan 2002); it changes no choice. Without a set that a
    run is known by, or with one group, nothing is told.

    Args:
        book: takes `ARM/SET ECE`, `ARM/SET ECE, isotonic` and the section `calibration`.
        sheet: of the run.
        arm: whose scores.
        value: the scores, as `judged` gives them.
        scale: of the softmax.
        seed: of the halves, of ties, of the bootstraps.
    """
    name = next((one for one in KNOWN_BY if f"set {one}" in value), "")
    rivals = value[f"set {name}"] if name else np.zeros((0, 0))
    known = ~np.isnan(rivals).all(1)
    groups = np.array([group for group, _ in sheet.flat])[known] if name else np.array([])
    if len(names := np.unique(groups)) < 2:
        return
    chances, there, target = beliefs(value["own"][known], rivals[known], scale, seed=seed)
    half = np.isin(groups, np.random.default_rng(seed).permutation(names)[: len(names) // 2])
    right = np.arange(chances.shape[1]) == target[:, None]
    fitted = isotonic(chances[half][there[half]], right[half][there[half]].astype(float))
    before, real, target, groups = chances[~half], there[~half], target[~half], groups[~half].tolist()
    after = fitted(before) * real
    after = np.where(after.sum(1, keepdims=True) > 0, after, real)
    after = after / after.sum(1, keepdims=True)
    for title, rows in (("ECE", before), ("ECE, isotonic", after)):
        found = estimate(ECE, target, rows, group=groups, seed=seed, draws=400)  # each draw sorts all rows
        book.add(f"{arm}/{name} {title}", found, role="result", page=True)
    pairs = (("bins", after), ("before", before))
    book.sections["calibration"] = {k: [b._asdict() for b in reliability(target, x)] for k, x in pairs}
