"""Scenes or pictures to an encoder, in arms from one start; its scores, controls and claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl

import numpy as np

from polymodal.metrics import Claim, Estimate, above, below, difference, every, exact, over_seeds
from polymodal.systems import aligned, annotated, ranks
from polymodal.systems.fine_alignment import data
from polymodal.systems.pictures import Picture
from polymodal.training import fingerprint
from polymodal.training.study import Book

if TYPE_CHECKING:
    from polymodal.nn.dual import Dual
    from polymodal.runs import Run
    from polymodal.systems.fine_alignment import method

Values = dict[str, Any]
GALLERY = 100  # pictures that a caption is looked for among
ROUND = 100  # steps after which a long training is remembered
SHUFFLED = ("shuffled boxes", "shuffled negatives")
ARMS = ("global", "regional", "hard", *SHUFFLED, "short")
TINY = "scenes?n=2000&test=500"
POCKET = "scenes?n=60000&test=1000&val=100&fewest=2&most=5&shapes=8&signs=2"
ABOUT = (
    "Drawn scenes of coloured, textured shapes with captions, boxes and phrases. Arms share the start, the "
    "order of pictures and the steps; seeds differ in weights and scenes, and are scored on the same scenes."
)
PAIRS = (
    ("box", "regional", "global"), ("hard", "hard", "regional"), ("hard", "hard", "global"),
    ("long R@1", "hard", "global"), ("short R@1", "hard", "global"), ("long R@1", "global", "short"),
    ("short R@1", "global", "short"), ("box", "regional", "shuffled boxes"),
    ("box", "shuffled boxes", "global"), ("hard", "hard", "shuffled boxes"),
    ("hard", "hard", "shuffled negatives"), ("hard", "shuffled negatives", "regional"),
)  # fmt: skip
"""Measure and two arms: the differences that are told, paired by picture."""
COST = "at most 1 point elsewhere"
CLAIMS = (
    Claim("the regional term lifts box classification", "46.8 to 53.7", above("box, regional - global", 0.0)),
    Claim("hard negatives lift attribute discrimination over both", "25.4, 24.5 to 46.1",
          every(above("hard, hard - global", 0.0), above("hard, hard - regional", 0.0))),
    Claim("the terms cost little elsewhere", COST,
          every(above("long R@1, hard - global", -0.03), above("short R@1, hard - global", -0.03))),
    Claim("shuffled boxes and shuffled negatives give no gain", "ours",
          every(below("box, shuffled boxes - global", 0.03),
                below("hard, shuffled negatives - regional", 0.03))),
    Claim("long captions help long retrieval", "DCI 45.5 to 58.3", above("long R@1, global - short", 0.0)),
    Claim("stretched positions keep the quality of short texts", "ours",
          above("short R@1, global - short", -0.03)),
    Claim("long texts alone do not give attribute discrimination", "9.2, chance 9.1",
          below("global/hard - chance", 0.03)),
    Claim("FG-CLIP beats CLIP on FG-OVD", "46.1 against 12.0", above("FG-OVD, hard - given model", 0.0)),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be turned.

    Attributes:
        data: `scenes?…` (fields of `data.World`), or a path in any of `annotated.LAYOUTS`.
        model: `pocket?dim=64&layers=3` makes one; else a pocket model, folder or hub name to start from.
        loss: the paper's.
        captions: `both` a step, or long and short ones in `turns`, which is half the price.
        regional: weight of the regional term.
        hard: weight of the hard-negative term.
        regions: of a picture and step, at most.
        negatives: of a region and step, at most.
        size: of generated pictures, pixels a side.
        first: steps of the common start, global term only.
        steps: of each arm after it; 0 scores the model as it is.
        batch: pictures a step.
        lr: largest learning rate.
        arms: what is trained, the model that is kept last among `global`, `regional`, `hard`.
        seeds: trainings of each arm.
        seed: of everything drawn.
    """

    data: str = TINY
    model: str = "pocket?dim=64&layers=3"
    loss: Literal["v1"] = "v1"
    captions: Literal["both", "turns"] = "both"
    regional: float = 0.1
    hard: float = 0.5
    regions: int = 4
    negatives: int = 10
    size: int = 48
    first: int = 150
    steps: int = 150
    batch: int = 64
    lr: float = 1e-3
    arms: tuple[str, ...] = ARMS
    seeds: int = 1
    seed: int = 0


def tiny() -> Config:
    """About three minutes on two cores."""
    return Config()


def full() -> Config:
    """The paper's second stage; give `-o data=` and `-o model=`."""
    return Config(data="", model="", size=224, first=0, steps=25_000, batch=512, lr=1e-6, arms=("hard",))


def weights() -> Config:
    """How pocket-clip was made: an hour on one core."""
    return Config(
        data=POCKET, model="pocket?dim=128&layers=5", captions="turns", regional=0.5, regions=2, negatives=3,
        size=64, first=50, steps=1300, arms=("hard",),
    )  # fmt: skip


def run(config: Config, run: Run) -> dict[str, Estimate]:
    """Train the arms, score them, record.

    Raises:
        FileNotFoundError: no data or no model at the path.
        ValueError: data that cannot be used, or an arm that is not known; the message says which.
    """
    import torch

    torch.set_num_threads(1)  # the same sums whatever the machine; cores are for jobs
    if unknown := set(config.arms) - set(ARMS):
        raise ValueError(f"arms={sorted(unknown)[0]!r} is not known; known: {', '.join(ARMS)}")
    book = Book(seed=config.seed)
    test, lost = pictures(config, "test")
    book.sections["invalid"] = lost
    cells = learnt(config, run)
    told(book, config, test, cells)
    keep(config, run, cells)
    for name, section in (book.sections | {"legend": book.legend}).items():
        run.section(name, section)
    run.finish(
        book.estimates,
        [(claim, *claim.judge(book.estimates)) for claim in CLAIMS],
        {"test": fingerprint(one.image.digest() for one in test)},
    )
    return book.estimates


# ---------------------------------------------------------------- data


def generated(config: Config) -> data.World | None:
    """The world of scenes, None where data is a path."""
    return data.World.of(config.data, size=config.size, seed=config.seed) if said(config.data) else None


def said(text: str) -> bool:
    """Whether the option `data` asks for scenes."""
    return text.partition("?")[0] == "scenes"


def pictures(config: Config, split: str) -> tuple[Sequence[Picture], list[dict[str, Any]]]:
    """The pictures of a split, and what was left out, by reason.

    A path without splits is scored whole where nothing is trained; else every fifth group is for the test.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no known layout, no usable picture, or a picture in train and test (a leak).
    """
    if world := generated(config):
        return data.shown(world, split), []
    if not config.data:
        raise ValueError("give data: -o data=PATH; layouts:\n  " + "\n  ".join(annotated.LAYOUTS.values()))
    kept, lost = annotated.usable(config.data)
    if not kept:
        raise ValueError(f"{config.data}: no usable picture" + (f"; first fault: {lost[0]}" if lost else ""))
    groups = sorted({one.group for one in kept})
    tested = set(np.random.default_rng(config.seed).permutation(groups)[: -(-len(groups) // 5)].tolist())
    named = any(one.split for one in kept)

    def where(one: Picture) -> str:
        return one.split or (
            "train" if named else "test" if one.group in tested or not config.steps else "train"
        )

    found = [one for one in kept if where(one) == split]
    if config.steps and split == "test":
        train = {one.image.digest() for one in kept if where(one) == "train"}
        if leaks := [one.id for one in found if one.image.digest() in train]:
            raise ValueError(f"leak: {len(leaks)} pictures are in train and test, first {leaks[0]!r}")
    if not found:
        raise ValueError(f"{config.data}: no picture for {split}")
    return found, annotated.counted(lost)


def source(config: Config, *, seed: int) -> data.Source:
    """Pictures to train on."""
    if world := generated(config):
        return data.drawn(world, seed=seed)
    kept, _ = pictures(config, "train")
    return data.Source(len(kept), kept.__getitem__)


# ---------------------------------------------------------------- training


def made(config: Config, *, seed: int) -> Dual:
    """The encoder to start from, with a path for long texts.

    Raises:
        FileNotFoundError: no such model.
        ValueError: a field that pocket models do not have.
    """
    from polymodal.nn.dual import Dual
    from polymodal.nn.pocket import Tokens, shelf

    name, _, query = config.model.partition("?")
    if name != "pocket":
        if not name:
            raise ValueError("give a model: -o model=pocket-clip, a folder, or a name on the hub")
        return Dual.from_pretrained(name.removeprefix("local:")).stretched()
    given = {key: int(value) for key, value in parse_qsl(query)}
    learn, home = given.pop("tokens", 0), shelf.HOME / "pocket-clip"
    fresh = learn or not (home / "tokenizer.json").is_file()
    tokens = Tokens.trained(data.texts(250, 150)) if fresh else Tokens.from_folder(home)
    return Dual.pocket(tokens, **given, size=config.size, seed=seed).stretched()


def terms(config: Config, arm: str) -> method.Terms:
    """What an arm trains by; `first` is the common start."""
    from polymodal.systems.fine_alignment.method import Terms

    local = arm not in ("first", "global", "short")
    return Terms(
        regional=config.regional * local,
        hard=config.hard * (local and arm != "regional"),
        captions="short" if arm == "short" else config.captions,
        boxes=arm == "shuffled boxes",
        donors=arm == "shuffled negatives",
    )


def train(config: Config, arm: str, start: Values, *, seed: int, run: Run | None = None) -> Values:
    """An arm from given weights, or from new ones; with a run, remembered every `ROUND` steps."""
    import torch

    from polymodal.systems.fine_alignment import method

    torch.set_num_threads(1)
    last, steps = arm != "first", config.first if arm == "first" else config.steps
    if arm == "short":  # its start is its own: the common one has read long captions
        steps += config.first
    module = method.Aligner(made(config, seed=seed))
    if start:
        module.load_state_dict(method.loaded(start))
    world = generated(config)
    val = data.shown(world, "val") if world and world.val and last else ()
    asked = (lambda: watched(module.dual, val)) if val else None
    fitting = method.Fitting(steps, config.batch, config.lr, config.regions, config.negatives, ROUND)
    args = (module, source(config, seed=seed), terms(config, arm), fitting)

    def part(state: Values | None, until: int) -> Values:
        return method.trained(
            *args, seed=seed, last=last, state=state, until=until, evaluate=asked
        )  # fmt: skip

    if run is None:
        return part(None, steps)
    found: Values = {"state": None}
    curve: list[dict[str, Any]] = []
    for until in [*range(ROUND, steps, ROUND), steps]:
        found = run.once(f"{arm}/{seed}/{until}", partial(part, found["state"], until))
        curve += found["curve"]
        run.event("trained", arm=arm, of=steps, **curve[-1])
    return found | {"curve": curve}


def watched(dual: Dual, val: Sequence[Picture]) -> float:
    """What a training is watched by: 1 less the mean of recall@1 and of hard choices."""
    found = aligned.judged(dual, [aligned.only(one, "hard") for one in val], GALLERY)
    hits = aligned.choices(found["own"], found["set hard"], "strict")
    return 1 - (float((found["ranks long"] == 1).mean()) + float(np.nanmean(hits))) / 2


def scored(config: Config, weights: Values, *, seed: int) -> Values:
    """Scores of an encoder on the test pictures."""
    from polymodal.systems.fine_alignment import method

    module = method.Aligner(made(config, seed=seed)).eval()
    if weights:
        module.load_state_dict(method.loaded(weights))
    return aligned.judged(module.dual, pictures(config, "test")[0], GALLERY)


def job(config: Config, arm: str, start: Values, seed: int) -> Values:
    """Train one arm of one seed, and score it; a common start is not scored."""
    made = train(config, arm, start, seed=seed)
    kept = {"weights": made["weights"], "curve": made["curve"]}
    return kept if arm == "first" else kept | scored(config, made["weights"], seed=seed)


def learnt(config: Config, run: Run) -> dict[str, list[Values]]:
    """Values of every arm, a seed each; one arm of one seed is remembered as it goes."""
    seeds = range(config.seed, config.seed + config.seeds)
    if not config.steps:
        return {"given": [run.once("given", lambda: scored(config, {}, seed=config.seed))]}
    if len(config.arms) == len(seeds) == 1:
        arm, seed, start = config.arms[0], config.seed, {}
        if config.first and arm != "short":
            start = train(config, "first", {}, seed=seed, run=run)["weights"]
        made = train(config, arm, start, seed=seed, run=run)
        return {arm: [made | run.once("scores", lambda: scored(config, made["weights"], seed=seed))]}
    begun: dict[int, Values] = {s: {} for s in seeds}
    if config.first:
        jobs = {f"first/{s}": (config, "first", {}, s) for s in seeds}
        starts = run.map(job, jobs, name="starts")
        begun = {s: starts[f"first/{s}"]["weights"] for s in seeds}
    jobs = {
        f"{arm}/{s}": (config, arm, {} if arm == "short" else begun[s], s)
        for s in seeds
        for arm in config.arms
    }
    values = run.map(job, jobs, name="arms")
    return {arm: [values[f"{arm}/{s}"] for s in seeds] for arm in config.arms}


# ---------------------------------------------------------------- figures


def told(book: Book, config: Config, test: Sequence[Picture], cells: Mapping[str, Sequence[Values]]) -> None:
    """Estimates of every arm, differences, strata, a blind baseline, learning curves."""
    sheet, seed = aligned.Sheet(test, cells), config.seed
    for (arm, name), _ in sheet.columns.items():
        role = "control" if arm in SHUFFLED else "result"
        page = "lenient" not in name and "text to" not in name
        known = {"expected": sheet.chances[name]} if role == "control" and name in sheet.chances else {}
        book.add(f"{arm}/{name}", sheet.estimate(arm, name, seed=seed), role=role, page=page, **known)
    for name, known in sheet.chances.items():
        book.add(f"chance/{name}", exact(known, n=len(sheet.flat)), role="baseline", expected=known)
    for name, a, b in PAIRS:
        if {(a, name), (b, name)} <= sheet.columns.keys():
            pair, groups = (sheet.columns[a, name], sheet.columns[b, name]), sheet.groups[name]
            found = difference(None, *pair, group=groups, seed=seed)
            book.add(
                f"{name}, {a} - {b}", found, of=b, page=True, role="control" if a in SHUFFLED else "result"
            )
    if ("global", "hard") in sheet.columns:
        table = sheet.columns["global", "hard"] - sheet.chances["hard"]
        book.add(
            "global/hard - chance", over_seeds(table, group=sheet.groups["hard"], seed=seed), of="chance"
        )
    aligned.strata(book, sheet, best(cells), seed=seed)
    blind(book, config, sheet, seed=seed)
    for arm, seeds in cells.items():
        for s, value in enumerate(seeds):
            for point in value.get("curve", ()):
                book.row("learning", arm=arm, seed=s, **point)
    steps = config.first + config.steps
    if config.steps:
        for arm in cells:
            book.row(
                "cost", name=arm, steps=steps * config.seeds, samples=steps * config.batch * config.seeds
            )
    world = ABOUT if said(config.data) else f"{len(test)} pictures of {config.data}."
    book.sections["about"] = {"text": world}


def blind(book: Book, config: Config, sheet: aligned.Sheet, *, seed: int) -> None:
    """A matcher of words that never looks, learnt from the training phrases."""
    from polymodal.systems.scoring import words_alone

    if "hard" not in sheet.chances or not (config.steps or said(config.data)):
        return
    feed = source(config, seed=seed)
    score = words_alone(r for i in range(min(feed.n, 500)) for r in feed.at(i).regions)
    hits = [
        ranks.chosen(score(r.phrase), [score(o.text) for o in r.options["hard"]])
        if r.options.get("hard")
        else np.nan
        for _, r in sheet.flat
    ]
    found = over_seeds(np.array([hits]), group=sheet.groups["hard"], seed=seed, better="higher")
    book.add("words alone/hard", found, role="baseline", page=True)


def keep(config: Config, run: Run, cells: Mapping[str, Sequence[Values]]) -> None:
    """The first seed's best arm as a model."""
    from polymodal.systems.fine_alignment import method

    arm = best(cells)
    if "weights" in cells[arm][0]:
        module = method.Aligner(made(config, seed=config.seed)).eval()
        module.load_state_dict(method.loaded(cells[arm][0]["weights"]))
        run.model(module.dual.save_pretrained)


def best(cells: Mapping[str, Any]) -> str:
    """The arm whose model is kept and looked at closely."""
    return next(arm for arm in ("hard", "regional", "global", *cells) if arm in cells)
