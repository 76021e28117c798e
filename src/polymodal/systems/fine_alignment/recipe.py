"""Scenes or pictures to an encoder, in arms from one start; its scores, controls and claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import numpy as np

from polymodal.envs import scenes
from polymodal.metrics import Claim, Estimate, above, below, every, over_seeds
from polymodal.systems.alignment import aligned, annotated, negatives, outcome, ranks
from polymodal.systems.alignment.aligned import Values
from polymodal.systems.alignment.feeding import Fitting, Source, loaded, trained
from polymodal.systems.alignment.pictures import Picture
from polymodal.systems.fine_alignment import data
from polymodal.training import fingerprint
from polymodal.training.study import Book

if TYPE_CHECKING:
    from polymodal.nn.dual import Dual
    from polymodal.runs import Run
    from polymodal.systems.fine_alignment import method

GALLERY = 100  # pictures that a caption is looked for among
ROUND = 100  # steps after which a long training is remembered
SHUFFLED, GREY = ("shuffled boxes", "shuffled negatives"), "grey pictures"
ARMS = ("global", "regional", "hard", *SHUFFLED, "short")
POCKET = "scenes?n=60000&test=500&val=100&fewest=2&most=5&shapes=8&signs=2&size=64"
ABOUT = (
    "Drawn scenes of coloured, textured shapes with captions, boxes and phrases. Arms share the start, the "
    "order of pictures and the steps; seeds differ in weights and scenes, and are scored on the same scenes."
)
PAIRS = (
    ("box", "regional", "global"), ("hard", "hard", "regional"), ("hard", "hard", "global"),
    ("long R@1", "hard", "global"), ("short R@1", "hard", "global"), ("long R@1", "global", "short"),
    ("short R@1", "global", "short"), ("box", "regional", "shuffled boxes"), ("hard", "hard", "given"),
    ("box", "shuffled boxes", "global"), ("hard", "hard", "shuffled boxes"),
    ("hard", "hard", "shuffled negatives"), ("hard", "shuffled negatives", "regional"),
)  # fmt: skip
"""Measure and two arms: the differences that are told, paired by picture."""
CLAIMS = (
    Claim("the regional term lifts box classification", "46.8 to 53.7", above("box, regional - global", 0.0)),
    Claim("hard negatives lift attribute discrimination over both", "25.4, 24.5 to 46.1",
          every(above("hard, hard - global", 0.0), above("hard, hard - regional", 0.0))),
    Claim("the terms cost little elsewhere", "at most 1 point elsewhere",
          every(above("long R@1, hard - global", -0.03), above("short R@1, hard - global", -0.03))),
    Claim("shuffled boxes and shuffled negatives give no gain", "ours",
          every(below("box, shuffled boxes - global", 0.03),
                below("hard, shuffled negatives - regional", 0.03))),
    Claim("long captions help long retrieval", "DCI 45.5 to 58.3", above("long R@1, global - short", 0.0)),
    Claim("stretched positions keep the quality of short texts", "ours",
          above("short R@1, global - short", -0.03)),
    Claim("long texts alone do not give attribute discrimination", "9.2, chance 9.1",
          below("global/hard - chance", 0.03)),
    Claim("trained on regions, it beats the model it came from", "46.1 against 12.0",
          above("hard, hard - given", 0.0)),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be turned.

    Attributes:
        data: `scenes?…` (fields of `data.World`), or a path in any of `annotated.LAYOUTS`.
        model: `pocket?dim=64&layers=3` makes one (of the scenes' size; for other data `&size=48`); else a
            pocket model, folder or hub name to start from.
        loss: `v1`, with long and short captions each step, or in turns (`v1?captions=turns`), which is half
            the price; `&preserve=.1` keeps vectors of pictures near those of its start. `v2` is the sequel's:
            captions by a sigmoid, `text=.1` to tell phrases apart, `margin=.4` to stay ahead of negatives.
        regional: weight of the regional term.
        hard: weight of the hard-negative term.
        regions: of a picture and step, at most.
        negatives: of a region and step, at most.
        writer: a chat model, as `chat.connect` takes it, that writes negatives for regions of your data that
            have none, or the negatives.jsonl of an earlier run; "" swaps words of a lexicon.
        first: steps of the common start, global term only.
        steps: of each arm after it; 0 scores the model as it is.
        stop: step at which an arm ends early, the rate falling as for all steps; 0 for none.
        batch: pictures a step.
        lr: largest learning rate.
        arms: what is trained, the model that is kept last among `global`, `regional`, `hard`. Beside those of
            the study, `apart` is `hard` with phrases pushed off their negatives by words alone, `locked` is
            `hard` with the text tower as it is (LiT), which costs a third.
        seeds: trainings of each arm.
        seed: of everything drawn.
    """

    data: str = "scenes?n=2000&test=500"
    model: str = "pocket?dim=64&layers=3"
    loss: str = "v1?captions=turns"
    regional: float = 0.5
    hard: float = 1.0
    regions: int = 2
    negatives: int = 4
    writer: str = ""
    first: int = 100
    steps: int = 150
    stop: int = 0
    batch: int = 64
    lr: float = 2e-3
    arms: tuple[str, ...] = ARMS
    seeds: int = 1
    seed: int = 0


def tiny() -> Config:
    """Five to six minutes of CPU a seed; arms share the cores."""
    return Config()


def full() -> Config:
    """The paper's second stage; give `-o data=` and `-o model=`."""
    return Config(
        data="", model="", loss="v1", regional=0.1, hard=0.5, regions=4, negatives=10,
        first=0, steps=25_000, batch=512, lr=1e-6, arms=("hard",),
    )  # fmt: skip


def weights() -> Config:
    """The first of the eight runs that made pocket-clip (its card has all): half an hour on one core."""
    return Config(
        data=POCKET, model="pocket?dim=128&layers=5", hard=0.5, negatives=3, first=50, steps=1300,
        stop=800, lr=1e-3, arms=("hard",),
    )  # fmt: skip


def run(config: Config, run: Run) -> dict[str, Estimate]:
    """Train the arms, score them, record.

    Raises:
        FileNotFoundError: no data or no model at the path.
        ValueError: data that cannot be used, or an arm that is not known; the message says which.
    """
    import torch

    torch.set_num_threads(1)  # the same sums whatever the machine; cores are for jobs
    if unknown := set(config.arms) - set(known := (*ARMS, "apart", "locked")):
        raise ValueError(f"arms={sorted(unknown)[0]!r} is not known; known: {', '.join(known)}")
    terms(config, "hard")  # a loss that is not known is told now
    book = Book(seed=config.seed)
    test, book.sections["invalid"] = pictures(config, "test")
    config = written(config, run, book)
    cells = learnt(config, run)
    kept = controlled(config, run, cells, best(cells))
    told(book, config, test, cells, float(kept.hard().detach()))
    book.sections["notes"] += outcome.cut(kept.dual, test, "test")
    if config.steps and not generated(config):
        book.sections["notes"] += outcome.cut(kept.dual, pictures(config, "train")[0], "train")
    outcome.shown(run, book, kept.dual, test)
    outcome.write(run, test, cells[best(cells)][0])
    if config.steps:
        run.model(kept.dual.save_pretrained)
    for name, section in (book.sections | {"legend": book.legend}).items():
        run.section(name, section)
    claims = [(claim, *claim.judge(book.estimates)) for claim in CLAIMS]
    prints = {"test": fingerprint(one.image.digest() for one in test)}
    prints |= {"scenes": scenes.VERSION} if generated(config) else {}
    run.finish(book.estimates, claims, prints)
    return book.estimates


def best(cells: Mapping[str, Any]) -> str:
    """The arm whose model is kept and looked at closely."""
    return next(arm for arm in ("hard", "regional", "global", *cells) if arm in cells)


def generated(config: Config) -> data.World | None:
    """The world of scenes, None where data is a path."""
    drawn = config.data.partition("?")[0] == "scenes"
    return data.World.of(config.data, seed=config.seed) if drawn else None


def pictures(config: Config, split: str) -> tuple[Sequence[Picture], list[dict[str, Any]]]:
    """The pictures of a split, and what was left out, by reason. Raises as `annotated.parted`."""
    if world := generated(config):
        return data.shown(world, split), []
    return annotated.parted(config.data, split, whole=not config.steps, seed=config.seed)


def written(config: Config, run: Run, book: Book) -> Config:
    """The configuration whose writer is a file: a chat model has written it, once a run.

    Raises:
        LookupError: no such model.
        ValueError: a writer where nothing is trained, or for scenes, which have all negatives.
    """
    if not config.writer or config.writer.endswith(".jsonl"):
        return config
    if generated(config) or not config.steps:
        why = "scenes come with all negatives" if generated(config) else "steps=0 trains on none"
        raise ValueError(f"writer={config.writer} has nothing to write: {why}")
    train, _ = pictures(config, "train")
    file = negatives.recorded(config.writer, train, config.negatives, run, book, seed=config.seed)
    return replace(config, writer=file)


def source(config: Config, *, seed: int) -> Source:
    """Pictures to train on; real phrases without negatives get some from the writer or the lexicon.

    Raises:
        FileNotFoundError: no such file of written negatives.
        ValueError: no picture has what a term needs.
    """
    if world := generated(config):
        return data.drawn(world, seed=seed)
    said = negatives.read(config.writer) if config.writer else None
    kept = [negatives.negated(one, config.negatives, said) for one in pictures(config, "train")[0]]
    regions = [region for one in kept for region in one.regions]
    local = {*config.arms} - {"global", "short"}
    boxes = "the regional term: a picture has boxes with phrases; arms=global needs none"
    for needed, there, what in (
        (True, any(one.long or one.short for one in kept), "the global term: a picture has a caption"),
        (bool(local), bool(regions), boxes),
        (bool(local - {"regional"}), any(r.hard() for r in regions), "the hard term: a region has negatives"),
    ):
        if needed and not there:
            raise ValueError(f"{config.data}: nothing for {what}")
    return Source(len(kept), kept.__getitem__)


def made(config: Config, *, seed: int) -> Dual:
    """The encoder to start from, with a path for long texts.

    Raises:
        FileNotFoundError: no such model.
        ValueError: no model given, or a field that pocket models do not have.
    """
    from polymodal.nn.dual import Dual
    from polymodal.nn.pocket import Tokens, shelf

    name, _, query = config.model.partition("?")
    if not name:
        raise ValueError("give a model: -o model=pocket-clip, a folder, or a name on the hub")
    if name != "pocket":
        return Dual.from_pretrained(name.removeprefix("local:")).stretched()
    given: dict[str, Any] = {key: int(value) for key, value in parse_qsl(query)}
    home = shelf.HOME / "pocket-clip"
    fresh = given.pop("tokens", 0) or not (home / "tokenizer.json").is_file()
    tokens = Tokens.trained(data.texts(250, 150)) if fresh else Tokens.from_folder(home)
    world = generated(config) or data.World()
    return Dual.pocket(tokens, **({"size": world.size} | given), seed=seed).stretched()


def aligner(config: Config, weights: Values, *, seed: int) -> method.Aligner:
    """The encoder with its temperatures, with given weights where there are any."""
    from polymodal.systems.fine_alignment.method import Aligner

    module = Aligner(made(config, seed=seed), terms(config, "first").sequel)
    if weights:
        module.load_state_dict(loaded(weights))
    return module


def terms(config: Config, arm: str) -> method.Terms:
    """What an arm trains by; `first` is the common start."""
    from polymodal.systems.fine_alignment.method import Terms

    local, said = arm not in ("first", "global", "short"), Terms.of(config.loss)
    return replace(
        said,
        regional=config.regional * local,
        hard=config.hard * (local and arm != "regional"),
        text=said.text * local,
        margin=said.margin * (local and arm != "regional"),
        captions={"both": "short", "turns": "halves"}[said.captions] if arm == "short" else said.captions,
        boxes=arm == "shuffled boxes",
        donors=arm == "shuffled negatives",
        apart=arm == "apart",
        regions=config.regions,
        negatives=config.negatives,
    )


def train(config: Config, arm: str, start: Values, *, seed: int, run: Run | None = None) -> Values:
    """An arm from given weights, or from new ones; with a run, remembered every `ROUND` steps."""
    import torch

    from polymodal.systems.fine_alignment import method

    torch.set_num_threads(1)
    steps = config.first if arm == "first" else config.steps + config.first * (arm == "short")
    module, way = aligner(config, start, seed=seed), terms(config, arm)
    if arm == "locked":
        module.dual.freeze("text")
    val = data.shown(world, "val") if (world := generated(config)) and world.val and arm != "first" else ()
    asked = (lambda: watched(module.dual, val)) if val else None
    fitting = Fitting(steps, config.batch, config.lr, ROUND, arm != "first")
    gather = partial(method.gather, module.dual, way)
    taught = bool(start) or not config.model.startswith("pocket?")  # a new model has nothing to preserve
    loss = method.objective(way, method.frozen(module.dual) if way.preserve and taught else None)
    args = (module, loss, source(config, seed=seed), gather, fitting)

    def part(state: Values | None, until: int) -> Values:
        return trained(*args, seed=seed, state=state, until=until, evaluate=asked)

    end = config.stop if 0 < config.stop < steps and arm != "first" else steps
    if run is None:
        return part(None, end)
    found: Values = {"state": None}
    curve: list[dict[str, Any]] = []
    for until in [*range(ROUND, end, ROUND), end]:
        found = run.once(f"{arm}/{seed}/{until}", partial(part, found["state"], until))
        curve += found["curve"]
        run.event("trained", arm=arm, of=end, **curve[-1])
    return found | {"curve": curve}


def watched(dual: Dual, val: Sequence[Picture]) -> float:
    """What a training is watched by: 1 less the mean of recall@1 and of hard choices."""
    found = aligned.judged(dual, [aligned.only(one, "hard") for one in val], GALLERY)
    hits = aligned.choices(found["own"], found["set hard"], "strict")
    return 1 - (float((found["ranks long"] == 1).mean()) + float(np.nanmean(hits))) / 2


def scored(config: Config, weights: Values, split: str = "test", *, seed: int) -> Values:
    """Scores of an encoder on the pictures of a split."""
    dual = aligner(config, weights, seed=seed).eval().dual
    return aligned.judged(dual, pictures(config, split)[0], GALLERY)


def job(config: Config, arm: str, start: Values, draw: int) -> Values:
    """Train one arm with `draw` as its seed, and score it; a common start is not scored."""
    found = train(config, arm, start, seed=draw)
    kept = {"weights": found["weights"], "curve": found["curve"]}
    return kept if arm == "first" else kept | scored(config, found["weights"], seed=draw)


def learnt(config: Config, run: Run) -> dict[str, list[Values]]:
    """Values of every arm, a seed each; one arm of one seed is remembered as it goes."""
    seeds = range(config.seed, config.seed + config.seeds)
    cells: dict[str, list[Values]] = {}
    if not config.steps or not config.model.startswith("pocket?"):
        cells["given"] = [run.once("given", lambda: scored(config, {}, seed=config.seed))]
    if not config.steps:
        return cells
    if len(config.arms) == len(seeds) == 1:
        arm, seed = config.arms[0], config.seed
        common = config.first and arm != "short"
        start = train(config, "first", {}, seed=seed, run=run)["weights"] if common else {}
        found = train(config, arm, start, seed=seed, run=run)
        scores = run.once("scores", lambda: scored(config, found["weights"], seed=seed))
        return {arm: [found | scores], **cells}
    begun: dict[int, Values] = {s: {} for s in seeds}
    if config.first:
        jobs: dict[str, tuple[Any, ...]] = {f"first/{s}": (config, "first", {}, s) for s in seeds}
        starts = run.map(job, jobs, name="starts")
        begun = {s: starts[f"first/{s}"]["weights"] for s in seeds}
        cells["given"] = [run.once(f"given/{s}", partial(scored, config, begun[s], seed=s)) for s in seeds]
    pairs = [(arm, s) for s in seeds for arm in config.arms]
    jobs = {f"{arm}/{s}": (config, arm, {} if arm == "short" else begun[s], s) for arm, s in pairs}
    values = run.map(job, jobs, name="arms")
    return {arm: [values[f"{arm}/{s}"] for s in seeds] for arm in config.arms} | cells


def controlled(config: Config, run: Run, cells: dict[str, list[Values]], arm: str) -> method.Aligner:
    """The kept encoder; of scenes its scores without colour join the cells."""
    weights = cells[arm][0].get("weights", {})
    if generated(config):
        grey = replace(config, data=f"{config.data}{'&' if '?' in config.data else '?'}grey=1")
        cells[GREY] = [run.once("grey", lambda: scored(grey, weights, seed=config.seed))]
    return aligner(config, weights, seed=config.seed).eval()


def told(
    book: Book, config: Config, test: Sequence[Picture], cells: Mapping[str, Sequence[Values]], scale: float
) -> None:
    """Estimates of every arm, differences, strata, calibration, a blind baseline, learning curves."""
    sheet, seed, arm = aligned.Sheet(test, cells), config.seed, best(cells)
    aligned.told(book, sheet, PAIRS, (*SHUFFLED, GREY), seed=seed)
    if ("global", "hard") in sheet.columns:
        table = sheet.columns["global", "hard"] - sheet.chances["hard"]
        gap = over_seeds(table, group=sheet.groups["hard"], seed=seed)
        book.add("global/hard - chance", gap, of="chance", page=True)
    aligned.strata(book, sheet, arm, seed=seed)
    aligned.calibrated(book, sheet, arm, cells[arm][0], scale, seed=seed)
    name = next((one for one in aligned.KNOWN_BY if one in sheet.chances), "")
    for one in (arm, GREY) if name else ():
        if one in cells:
            aligned.fooled(book, sheet, one, cells[one], name, seed=seed)
    if "hard" in sheet.chances and (config.steps or generated(config)):
        feed = source(config, seed=seed)
        score = ranks.words_alone(r for i in range(min(feed.n, 500)) for r in feed.at(i).regions)
        aligned.blind(book, sheet, score, "hard", seed=seed)
    for one, seeds in cells.items():
        for s, value in enumerate(seeds):
            for point in value.get("curve", ()):
                book.row("learning", arm=one, seed=s, **point)
        if "curve" in seeds[0]:
            steps = (config.first + config.steps) * len(seeds)
            book.row("cost", name=one, steps=steps, samples=steps * config.batch)
    none = {"long caption": sum(not p.long for p in test), "boxes": sum(not p.regions for p in test)}
    notes = [f"{n} test pictures have no {what}" for what, n in none.items() if n]
    book.sections["notes"] = [*book.sections.get("notes", ()), *notes]
    about = ABOUT if generated(config) else f"{len(test)} pictures of {config.data}."
    book.sections["about"] = {"text": about}
