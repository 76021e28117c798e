"""A torch-free recipe for the tests, also run as a script: `python toy.py new|resume PLACE EXECUTOR`."""

import os
import sys
from pathlib import Path

import numpy as np

from polymodal.metrics import Claim, above, proportion
from polymodal.runs import Run

JOBS = 6


def square(x: float) -> float:
    if x < 0:
        raise ValueError(f"no square for {x}")
    return x * x


def threads() -> str | None:
    """How many OpenMP threads this process was started with."""
    return os.environ.get("OMP_NUM_THREADS")


def die_on_two(x: int) -> int:
    if x == 2:
        os._exit(9)
    return x + 1


def trained(n: int, seed: int) -> dict[str, object]:
    """A job that takes a while and returns numbers that a careless record would change in the last bit."""
    random = np.random.default_rng([seed, n])
    weights = random.normal(size=(64, 64))
    for _ in range(20):
        weights = np.tanh(weights @ weights.T / 8)
    return {"weights": weights[0], "loss": float(weights.sum() / 3), "pair": (n, float("nan"))}


def recipe(run: Run) -> None:
    data = run.once("data", lambda: np.random.default_rng(run.seed).normal(size=(50, 3)))
    jobs = {f"fold {n}": (n, run.seed) for n in range(JOBS)}
    folds = run.map(trained, jobs, executor=run.executor, workers=2)
    right = int((data[:, 0] > 0).sum())
    rows = [{"id": f"s{i}", "value": float(row[0]), "group": f"g{i % 5}"} for i, row in enumerate(data)]
    run.table("predictions.parquet", rows)
    run.table("folds.csv", {"fold": list(folds), "loss": [fold["loss"] for fold in folds.values()]})
    run.model(lambda folder: (folder / "weights.bin").write_bytes(folds["fold 0"]["weights"].tobytes()))

    def scored() -> int:
        run.section(
            "learning", [{"arm": k, "seed": 0, "step": 1, "loss": fold["loss"]} for k, fold in folds.items()]
        )
        run.table("scores.csv", [{"right": right}])
        return right

    run.once("score", scored)
    run.section("cost", [{"name": key, "steps": 20, "samples": 50} for key in folds])
    estimates = {"toy/right": proportion(right, len(rows))}
    claim = Claim("the toy is right", ".5", above("toy/right", 0.2))
    run.finish(estimates, [(claim, *claim.judge(estimates))], {"data": "0" * 32})


def main() -> None:
    verb, place, executor = sys.argv[1:]
    run = Run.create("toy", {"seed": 7}, Path(place)) if verb == "new" else Run.resume(Path(place))
    run.executor = executor
    recipe(run)


if __name__ == "__main__":
    main()
