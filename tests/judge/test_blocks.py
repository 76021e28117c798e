import numpy as np
import pytest

from polymodal.judge.blocks import concurrence, efficiency, linked, williams

LINES = ((0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5))
FANO = np.array([[int(point in line) for line in LINES] for point in range(7)])


def test_fano_plane_has_the_closed_form() -> None:
    assert concurrence(FANO) == (1, 1)
    assert linked(FANO)
    assert efficiency(FANO) == pytest.approx(7 * (3 - 1) / (3 * (7 - 1)))
    assert round(efficiency(FANO), 4) == 0.7778


def test_efficiency_is_the_mean_variance_of_differences_against_complete_blocks() -> None:
    """Second implementation: least squares of a two-way layout, variance of all treatment contrasts."""
    rng = np.random.default_rng(0)
    grid = np.zeros((6, 10), int)
    for block in range(10):
        grid[rng.permutation(6)[:3], block] = 1
    while len(set(grid.sum(1))) > 1:  # equal replication by moves that keep block sizes
        high, low = grid.sum(1).argmax(), grid.sum(1).argmin()
        block = next(b for b in rng.permutation(10) if grid[high, b] and not grid[low, b])
        grid[high, block], grid[low, block] = 0, 1
    cells = np.argwhere(grid)
    design = np.zeros((len(cells), 16))
    design[np.arange(len(cells)), cells[:, 0]] = 1
    design[np.arange(len(cells)), 6 + cells[:, 1]] = 1
    inverse = np.linalg.pinv(design.T @ design)[:6, :6]
    pairs = [inverse[i, i] + inverse[j, j] - 2 * inverse[i, j] for i in range(6) for j in range(i)]
    assert efficiency(grid) == pytest.approx(2 / grid.sum(1)[0] / np.mean(pairs))


def test_complete_blocks_are_fully_efficient_and_single_units_have_none() -> None:
    assert efficiency(np.ones((5, 4), int)) == pytest.approx(1)
    assert np.isnan(efficiency(np.ones((1, 4), int)))
    assert np.isnan(efficiency(np.array([[1, 1], [0, 0]])))
    assert concurrence(np.ones((1, 4), int)) == (0, 0)


def test_linked_follows_chains() -> None:
    chain = np.array([[1, 1, 0], [0, 1, 1]])
    assert linked(chain)
    assert not linked(np.eye(3, dtype=int))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7])
def test_williams_squares_balance_places_and_neighbours(n: int) -> None:
    rows = williams(n)
    assert len(rows) == (n if n % 2 == 0 else 2 * n)
    for place in range(n):
        assert sorted(row[place] for row in rows) == sorted(list(range(n)) * (len(rows) // n))
    after = [(row[i], row[i + 1]) for row in rows for i in range(n - 1)]
    assert {after.count(pair) for pair in set(after)} == {len(rows) // n}
    assert len(set(after)) == n * (n - 1)


def test_one_thing_has_one_order() -> None:
    assert williams(1) == [[0]]
