"""Small sets of samples for the tests of this folder."""

from collections.abc import Sequence

import numpy as np

from polymodal.media import Sample, Series
from polymodal.training import Ready, Table

READERS = {"text": lambda part: part.values(), "audio": lambda part: part.values()}


def bare(groups: Sequence[str | None], targets: Sequence[str | float | None]) -> list[Sample]:
    """Samples without parts."""
    pairs = zip(groups, targets, strict=True)
    return [Sample(id=f"s{i}", parts={}, target=t, group=g) for i, (g, t) in enumerate(pairs)]


def speakers(n: int, each: int, *, k: int = 3, seed: int = 0) -> list[Sample]:
    """`n` speakers with `each` samples of k classes, without parts."""
    rng = np.random.default_rng(seed)
    return bare(
        [f"g{i}" for i in range(n) for _ in range(each)], [f"c{rng.integers(k)}" for _ in range(n * each)]
    )


def told(n: int = 120, *, seed: int = 0, ragged: bool = False) -> list[Sample]:
    """Two parts that carry one of three classes, in six groups; `audio` of 1 to 9 steps if ragged."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(n):
        y = i % 3
        text = rng.standard_normal((1, 4)) + 2.0 * np.eye(4)[y]
        audio = rng.standard_normal((1 + i % 9 if ragged else 1, 3)) + np.eye(3)[y]
        parts = {"text": Series(text), "audio": Series(audio)}
        samples.append(Sample(id=f"s{i}", parts=parts, target=f"c{y}", group=f"g{i // 3 % 6}"))
    return samples


def ready(n: int = 120, *, seed: int = 0, ragged: bool = False) -> Ready:
    """`told`, read, with statistics from the first half."""
    table = Table.read(told(n, seed=seed, ragged=ragged), READERS)
    return table.ready(table.fit(range(n // 2)))
