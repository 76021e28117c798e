"""Merges of models that see with models that reason: gains, losses, places, claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from polymodal.metrics import Claim, Estimate
from polymodal.systems.model_merging import makers
from polymodal.training import study as work

if TYPE_CHECKING:
    from polymodal.runs import Run

POCKET = tuple(makers.COURSES)
CLAIMS: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be turned.

    Attributes:
        experiment: what to run.
        target: the model that sees; of `weights`, the pocket models to make, with commas, `all` for all.
        seed: of everything drawn.
    """

    experiment: Literal["auto", "planted", "pocket", "checkpoints", "weights"] = "auto"
    target: str = "local:pocket-vlm"
    seed: int = 0


def tiny() -> Config:
    """Minutes on two cores."""
    return Config()


def full() -> Config:
    """The paper's setting."""
    return Config()


def weights() -> Config:
    """The making of the pocket models; `-o target=pocket-lm` makes one of them."""
    return Config(experiment="weights", target="all")


def run(config: Config, run: Run) -> dict[str, Estimate]:
    """Do the experiment, judge, record."""
    book = work.Book(seed=config.seed)
    if config.experiment == "weights":
        make(config, run, book)
    for name, section in (book.sections | {"legend": book.legend}).items():
        run.section(name, section)
    run.finish(book.estimates, [(claim, *claim.judge(book.estimates)) for claim in CLAIMS])
    return book.estimates


def make(config: Config, run: Run, book: work.Book) -> None:
    """Train the pocket models that are asked for, siblings after pocket-lm."""
    wanted = POCKET if config.target == "all" else tuple(config.target.split(","))
    if unknown := [name for name in wanted if name not in POCKET]:
        raise ValueError(f"no pocket model {unknown[0]!r} is made here; known: {', '.join(POCKET)}, all")
    for name in (name for name in POCKET if name in wanted):
        net, losses = makers.made(run, name, seed=config.seed)
        run.files(name, net.files())
        for stage, told in losses.items():
            for at in range(0, len(told), 50):
                book.row("learning", arm=f"{name}, {stage}", seed=0, step=at + 1, loss=told[at])
