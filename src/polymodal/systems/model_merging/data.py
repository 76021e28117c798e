"""The planted toy: sixteen symbols with names and pictures; some models miss some sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from polymodal.envs.problems import NUMBERS

TAUGHT = 77  # of the 256 ordered pairs: 30 %
PLUS, EQUALS, SEE = 16, 17, 18  # the toy's marks behind its 16 symbols; a text is seen by copying it


@dataclass(frozen=True, slots=True)
class Toy:
    """The planted toy: sixteen symbols, their pictures, and the pairs whose sums are taught.

    Attributes:
        prototypes: a picture a symbol, before noise.
        seen: pairs whose sums base and target learn; `held` are the others.
        noise: of pictures.
    """

    prototypes: Float[np.ndarray, "16 16"]
    seen: Int[np.ndarray, "s 2"]
    held: Int[np.ndarray, "r 2"]
    noise: float

    @classmethod
    def planted(cls, noise: float, *, seed: int) -> Toy:
        """A toy of its own for every seed."""
        rng = np.random.default_rng((seed, 0))
        order = rng.permutation(NUMBERS * NUMBERS)
        table = np.stack([order // NUMBERS, order % NUMBERS], 1)
        return cls(rng.normal(size=(NUMBERS, NUMBERS)), table[:TAUGHT], table[TAUGHT:], noise)

    def pictures(self, ids: Int[np.ndarray, "n t"], rng: np.random.Generator) -> Float[np.ndarray, "s 16"]:
        """Pictures of the symbols among the tokens, row by row, with noise."""
        symbols = ids[ids < NUMBERS]
        shown: NDArray[np.float64] = self.prototypes[symbols]
        return np.asarray(shown + self.noise * rng.normal(size=shown.shape))


Asked = tuple[Int[np.ndarray, "n 4"], Int[np.ndarray, " n"]]  # tokens, answers


def sums(table: Int[np.ndarray, "n 2"]) -> Asked:
    """`a + b =` and the sum modulo 16."""
    a, b = table.T
    return np.stack([a, np.full_like(a, PLUS), b, np.full_like(a, EQUALS)], 1), (a + b) % NUMBERS


def names(symbols: Int[np.ndarray, " n"]) -> Asked:
    """`a see see =` and a: copying where a is a symbol, seeing where it is a picture."""
    see = np.full_like(symbols, SEE)
    return np.stack([symbols, see, see, np.full_like(symbols, EQUALS)], 1), symbols
