"""Who rates what: balanced incomplete blocks, blinded, connected, in balanced order."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from polymodal.judge.blocks import concurrence, efficiency, linked, williams
from polymodal.judge.people.study import SHARED, Study

PROPOSALS = 40  # swaps tried a place
LARGE = 2000  # units above which concurrences are neither balanced nor the efficiency computed


class PlanError(ValueError):
    """A plan that cannot be; the message names the smallest capacity that works."""


@dataclass(frozen=True, slots=True)
class Place:
    """One unit of one rater-to-be.

    Attributes:
        unit: id.
        page: index in the study's pages.
        position: from 0, on that page.
        repeat: whether it is shown a second time, hidden.
        sides: order of the unit's cases.
    """

    unit: str
    page: int
    position: int
    repeat: bool
    sides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Seat:
    """The places of one rater-to-be, in order."""

    number: int
    stratum: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Blocks for all raters, and how good they are.

    Attributes:
        seats: one a rater.
        low: least number of raters that two units share.
        high: greatest.
        connected: whether every rater is linked to every other through shared units.
        efficiency: E of the blocks against complete ones, in (0, 1]; NaN where it is not computed.
        spread: greatest difference of two subjects' counts within a rater.
    """

    seats: tuple[Seat, ...]
    low: int
    high: int
    connected: bool
    efficiency: float
    spread: int

    @property
    def places(self) -> int:
        """Ratings that are asked for, hidden repeats left out."""
        return sum(not place.repeat for seat in self.seats for place in seat.places)


def plan(study: Study, *, seed: int = 0) -> Plan:
    """Deal the units of a study out.

    Hard: each unit exactly its ratings, in its strata; no item twice before one rater. Soft, greedily from a
    seeded start and then by swaps: each rater sees every subject equally often (to within one), and all pairs
    of units share equally many raters.

    Args:
        study: its pages, units and design.
        seed: of the start; the study's own seed is mixed in.

    Raises:
        PlanError: it cannot be; with the smallest capacity that works.
    """
    found = _dealt(study, seed=seed)
    if not found.connected:
        least = _linking(study, seed=seed)
        raise PlanError(f"not every rater is linked to every other by a shared case; {least}")
    return found


def _dealt(study: Study, *, seed: int) -> Plan:
    """The first plan of five that links all raters, else the last."""
    pages = [(i, page.units) for i, page in enumerate(study.pages) if page.kind in SHARED]
    found = Plan((), 0, 0, True, float("nan"), 0)
    for attempt in range(5 if pages else 0):
        rng = np.random.default_rng([study.seed % 2**32, seed % 2**32, attempt])
        seats: list[Seat] = []
        for stratum, ratings in (study.design.strata or {"": study.design.ratings_per_case}).items():
            for block in _stratum(study, pages, stratum, ratings, rng):
                n = len(seats)
                seats.append(Seat(n, stratum, _sided(study, _order(study, block, n, seed=seed), n)))
        found = _measured(study, pages, seats)
        if found.connected:
            break
    return found


def _linking(study: Study, *, seed: int) -> str:
    """The least change that links all raters, tried out; as many edges as vertices - 1 are needed anyway."""
    design = study.design
    units = sum(len(page.units) for page in study.pages if page.kind in SHARED)
    ratings = design.ratings_per_case if design.strata else max(design.ratings_per_case, 2)
    for cases in range(design.cases_per_rater, units + 1):
        raters = max(design.raters or 0, math.ceil(units * ratings / cases))
        wider = replace(design, cases_per_rater=cases, ratings_per_case=ratings)
        if (
            units * ratings >= raters + units - 1
            and _dealt(replace(study, design=wider), seed=seed).connected
        ):
            return f"cases_per_rater {cases} with ratings_per_case {ratings} is the smallest that works"
    return "a link between the strata or pages is needed: cases that all of them see"


Block = list[tuple[int, list[str]]]  # of one rater: units by page


def _stratum(
    study: Study,
    pages: Sequence[tuple[int, Sequence[str]]],
    stratum: str,
    ratings: int,
    rng: np.random.Generator,
) -> list[Block]:
    """Blocks of one stratum's raters."""
    design = study.design
    needs = [(i, _needs(study, units, stratum, ratings)) for i, units in pages]
    total = sum(sum(need.values()) for _, need in needs)
    if not total:
        return []
    items: Counter[str] = Counter()
    for _, need in needs:
        for unit, n in need.items():
            items[study.units[unit].item] += n
    widest = max(items.values())
    least = max(math.ceil(total / design.cases_per_rater), widest)
    of = f" in stratum {stratum!r}" if stratum else ""
    if design.raters is not None and design.raters < least:
        more = math.ceil(total / design.raters)
        other = f", or cases_per_rater {more}" if design.raters >= widest else ""
        raise PlanError(
            f"{total} ratings{of} do not fit {design.raters} raters, {design.cases_per_rater} cases each, no"
            f" item twice; raters {least}{other} is the smallest that works"
        )
    for raters in [design.raters] if design.raters else range(least, 2 * least + 1):
        blocks = _fill(study, needs, raters, rng)
        if blocks is not None:
            return blocks
    raise PlanError(f"{total} ratings{of} find no places without an item twice; more raters are needed")


def _needs(study: Study, units: Sequence[str], stratum: str, ratings: int) -> dict[str, int]:
    """Ratings that a stratum owes each unit."""
    whole, found = study.design.ratings_per_case, {}
    for unit in units:
        own = study.units[unit].stratum
        if own in ("", stratum) and (whole if own else ratings):
            found[unit] = whole if own else ratings
    return found


def _fill(
    study: Study, needs: Sequence[tuple[int, dict[str, int]]], raters: int, rng: np.random.Generator
) -> list[Block] | None:
    """Blocks for all pages; None where the greedy way ends with something left."""
    seen: list[set[str]] = [set() for _ in range(raters)]
    blocks: list[Block] = [[] for _ in range(raters)]
    start = 0
    for page, need in needs:
        total = sum(need.values())
        sizes = np.full(raters, total // raters)
        sizes[(start + np.arange(total % raters)) % raters] += 1
        start = (start + total % raters) % raters
        work = _Deal(study, need, sizes, seen, rng)
        if not work.deal():
            return None
        work.balance()
        for rater, block in enumerate(work.blocks):
            names = [work.names[unit] for unit in block]
            blocks[rater].append((page, names))
            seen[rater] |= {study.units[name].item for name in names}
    return blocks


class _Deal:
    """The units of one page on their way into blocks."""

    def __init__(
        self,
        study: Study,
        need: dict[str, int],
        sizes: Int[np.ndarray, " raters"],
        seen: Sequence[set[str]],
        rng: np.random.Generator,
    ) -> None:
        self.names, self.need = list(need), np.array(list(need.values()))
        self.item = _codes([study.units[name].item for name in self.names])
        self.subject = _codes([study.units[name].subject for name in self.names])
        keys = {study.units[name].item: code for name, code in zip(self.names, self.item, strict=True)}
        self.seen = [{keys[item] for item in items if item in keys} for items in seen]
        self.sizes, self.rng = sizes, rng
        self.blocks: list[list[int]] = [[] for _ in sizes]
        n = len(self.names)
        self.shared = np.zeros((n, n), np.int32) if n <= LARGE else None
        self.counts = np.zeros((len(sizes), self.subject.max() + 1), np.int64)

    def deal(self) -> bool:
        """Fill each block with the units whose items are owed most; ties go to rare subjects, then pairs."""
        item_need = np.bincount(self.item, self.need).astype(np.int64)
        for rater, size in enumerate(self.sizes):
            taken = np.zeros(len(item_need), bool)
            taken[list(self.seen[rater])] = True
            pairs = np.zeros(len(self.names))
            for _ in range(size):
                free = (self.need > 0) & ~taken[self.item]
                if not free.any():
                    return False
                owed = np.where(free, item_need[self.item], -1)
                among = np.flatnonzero(owed == owed.max())
                rare = self.counts[rater, self.subject[among]]
                keys = (self.rng.random(len(among)), -self.need[among], pairs[among], rare)
                unit = int(among[np.lexsort(keys)[0]])
                self.blocks[rater].append(unit)
                self.need[unit] -= 1
                item_need[self.item[unit]] -= 1
                taken[self.item[unit]] = True
                self.counts[rater, self.subject[unit]] += 1
                if self.shared is not None:
                    pairs += self.shared[unit]
            if self.shared is not None:
                block = self.blocks[rater]
                self.shared[np.ix_(block, block)] += 1
        if self.shared is not None:
            np.fill_diagonal(self.shared, 0)
        return not self.need.any()

    def balance(self) -> None:
        """Swap units between blocks while subjects, then pairs, get more even.

        With d the change of a unit's concurrences, the sum of squares of all of them changes by
        2 (l_a - l_b) . d + 2 |d|^2 when a and b change places.
        """
        filled = [rater for rater, block in enumerate(self.blocks) if block]
        if len(filled) < 2:
            return
        for _ in range(100):
            uneven = np.flatnonzero(np.ptp(self.counts, axis=1) > 1).tolist()
            for one in uneven:
                self._level(one)
            if not uneven:
                break
        places = [(rater, i) for rater, block in enumerate(self.blocks) for i in range(len(block))]
        tries = min(PROPOSALS * len(places) + 500, 12_000) if self.shared is not None else 0
        for n in range(tries):
            if n % 64 == 0 and self._even():
                return
            one, i = places[self.rng.integers(len(places))]
            two = filled[self.rng.integers(len(filled))]
            if one != two:
                self._swap(one, i, two, int(self.rng.integers(len(self.blocks[two]))))

    def _level(self, one: int) -> None:
        """One swap that takes a unit of the commonest subject from a block, for one of the rarest.

        Where no block has it the other way round, the unevenness moves on to one that has both equally.
        """
        high, low = int(self.counts[one].argmax()), int(self.counts[one].argmin())
        mine = [i for i, unit in enumerate(self.blocks[one]) if self.subject[unit] == high]
        others = self.rng.permutation(len(self.blocks))
        gain = np.minimum(self.counts[others, low] - self.counts[others, high], 1)
        for two in others[np.argsort(-gain, kind="stable")][: int((gain >= 0).sum())].tolist():
            for j in [j for j, unit in enumerate(self.blocks[two]) if self.subject[unit] == low]:
                for i in mine:
                    if two != one and self._swap(one, i, two, j, pairs_too=False):
                        return

    def _even(self) -> bool:
        """Whether nothing is left to win: concurrences within one of each other."""
        shared = self.shared
        if shared is None or len(shared) > 60:
            return False
        upper = shared[np.triu_indices(len(shared), 1)]
        return bool(upper.size) and int(np.ptp(upper)) <= 1

    def _swap(self, one: int, i: int, two: int, j: int, *, pairs_too: bool = True) -> bool:
        """Swap two places where that makes nothing less even."""
        here, there = self.blocks[one], self.blocks[two]
        a, b = here[i], there[j]
        left, right = here[:i] + here[i + 1 :], there[:j] + there[j + 1 :]
        if a == b or self.item[a] in self.seen[two] or self.item[b] in self.seen[one]:
            return False
        if (self.item[right] == self.item[a]).any() or (self.item[left] == self.item[b]).any():
            return False
        s, t, counts = self.subject[a], self.subject[b], self.counts
        even = 0 if s == t else counts[one, t] - counts[one, s] + counts[two, s] - counts[two, t] + 2
        if even > 0:
            return False
        if self.shared is not None:
            change = np.zeros(len(self.shared), np.int32)
            change[left] -= 1
            change[right] += 1
            change[[a, b]] = 0
            if even == 0 and pairs_too and (self.shared[a] - self.shared[b] + change) @ change > 0:
                return False
            for unit, sign in ((a, 1), (b, -1)):
                self.shared[unit] += sign * change
                self.shared[:, unit] = self.shared[unit]
        here[i], there[j] = b, a
        for rater, gone, come in ((one, s, t), (two, t, s)):
            counts[rater, gone] -= 1
            counts[rater, come] += 1
        return True


def _codes(words: Sequence[str]) -> Int[np.ndarray, " n"]:
    return np.unique(np.array(words, dtype=object).astype(str), return_inverse=True)[1]


def _order(study: Study, block: Block, number: int, *, seed: int) -> list[tuple[int, list[tuple[str, bool]]]]:
    """A rater's order: a seeded shuffle, its subjects by position as a Williams square has them."""
    word = hashlib.sha256(f"{study.seed} {seed} {number}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(word[:8]))
    ordered = []
    for page, units in block:
        mixed = [units[i] for i in rng.permutation(len(units))]
        every = sorted({study.units[unit].subject for unit in study.pages[page].units})
        square = williams(len(every))
        row = [every[i] for i in square[number % len(square)]]
        by = {subject: [u for u in mixed if study.units[u].subject == subject] for subject in every}
        line: list[str] = []
        while len(line) < len(units):
            wish = row[len(line) % len(row)]
            line.append((by[wish] or max(by.values(), key=len)).pop())
        again = [
            line[i]
            for i in sorted(rng.permutation((len(line) + 1) // 2)[: round(study.design.repeats * len(line))])
        ]
        shown = [(unit, False) for unit in line]
        for unit in again:
            shown.insert(
                int(rng.integers(min(len(line) // 2 + len(line) // 4 + 1, len(shown)), len(shown) + 1)),
                (unit, True),
            )
        ordered.append((page, shown))
    return ordered


def _sided(study: Study, ordered: list[tuple[int, list[tuple[str, bool]]]], number: int) -> tuple[Place, ...]:
    """Places, with the sides of a unit turned by one from rater to rater."""
    places = []
    for page, shown in ordered:
        for position, (unit, repeat) in enumerate(shown):
            n = len(study.units[unit].cases)
            turn = (int(hashlib.sha256(unit.encode()).hexdigest()[:8], 16) + number) % n
            places.append(Place(unit, page, position, repeat, tuple((turn + i) % n for i in range(n))))
    return tuple(places)


def _measured(study: Study, pages: Sequence[tuple[int, tuple[str, ...]]], seats: Sequence[Seat]) -> Plan:
    """A plan with its figures."""
    every = [unit for _, units in pages for unit in units]
    row = {unit: i for i, unit in enumerate(every)}
    grid = np.zeros((len(every), len(seats)), np.int8)
    for j, seat in enumerate(seats):
        for place in seat.places:
            grid[row[place.unit], j] = 1
    low, high, worth, spread, start = [], [], [], 0, 0
    for page, units in pages:
        part = grid[start : start + len(units)]
        start += len(units)
        pair = concurrence(part)
        low.append(pair[0])
        high.append(pair[1])
        worth.append(efficiency(part) if len(units) <= LARGE else float("nan"))
        names = sorted({study.units[unit].subject for unit in units})
        for seat in seats:
            counts = Counter(
                study.units[p.unit].subject for p in seat.places if p.page == page and not p.repeat
            )
            n = [counts[name] for name in names]
            spread = max(spread, max(n) - min(n))
    return Plan(tuple(seats), min(low), max(high), linked(grid), min(worth), spread)
