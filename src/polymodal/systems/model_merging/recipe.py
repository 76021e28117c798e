"""Merges of models that see with models that reason: gains, losses, places, claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics import (
    Claim,
    Estimate,
    above,
    below,
    difference,
    every,
    exact,
    inside,
    mean,
    proportion,
)
from polymodal.nn.decoder.knocked import Mode, attribution
from polymodal.nn.pocket import names
from polymodal.systems import asking, pockets, quiz
from polymodal.systems.model_merging import method, siblings
from polymodal.training import fingerprint
from polymodal.training import study as work

if TYPE_CHECKING:
    from polymodal.runs import Run

Hits = NDArray[np.float64]
POCKET = tuple(pockets.COURSES)
LAMBDAS = (1.0, 0.9, 0.85, 0.8, 0.5, 0.0)
SIMILAR = ("ties_count", "dare_linear")  # beside linear, at the same weight
MARGIN, KEEP = 0.02, -0.03  # of equivalence between methods; what perception may lose
ABOUT = (
    "Planted: toys whose abilities are known, one base and its siblings a seed, judged on the same items. "
    "Pocket: pocket-vlm merged with pocket-reasoner, both from pocket-lm; sums of 179 of 256 pairs "
    "of numbers were never taught to the model that sees."
)
CLAIMS = (
    Claim("merging a text reasoner raises reasoning about pictures, untrained (planted)", "+3.6 MathVerse",
          above("planted/held-out sums: λ 0.5 - 1", 0.0)),
    Claim("the same of the pocket models", "+3.5 MathVista Math",
          above("pocket/held-out sums: λ 0.5 - 1", 0.0)),
    Claim("perception keeps or dips (planted, λ 0.5)", "51.7 to 48.7",
          above("planted/see: λ 0.5 - 1", KEEP)),
    Claim("perception keeps or dips (pocket, λ 0.8)", "51.7 to 48.7",
          above("pocket/perception: λ 0.8 - 1", KEEP)),
    Claim("merging early or late layers alone gains less", "ours",
          every(above("planted/held-out sums: all layers - early", 0.0),
                above("planted/held-out sums: all layers - late", 0.0))),
    Claim("gains with the numbers in words exceed those from pictures alone", "+4.8 against +1.4",
          above("pocket/gain: text-dominant - vision-only", 0.0)),
    Claim("linear, ties and dare are alike (λ 0.8)", "38.0 / 37.1 / -",
          every(*(check(f"pocket/held-out sums: {name} - linear", bound)
                  for name in SIMILAR for check, bound in ((above, -MARGIN), (below, MARGIN))))),
    Claim("perception sits before reasoning", "first third",
          below("pocket/centre: perception - reasoning", 0.0)),
    Claim("knock-outs find planted layers", "ours",
          every(above("place/share in planted layers", 0.9), inside("place/drop of untouched layers", 0.0),
                below("place/centre: perception - reasoning", 0.0))),
    Claim("it does not help every pair: a donor of another initialisation", "61.2 to 60.2",
          above("planted/control: foreign donor - target", 0.0)),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be turned.

    Attributes:
        experiment: `planted` toys, `pocket` models, a person's `checkpoints`, or the making of `weights`;
            `auto` is the first two, and the third where target, data or sets of questions are given.
        target: the model that sees (`vlm`); of `weights`, the pocket models to make, `all` for all.
        donors: the models that reason (`llm`); () asks the target alone.
        base: what all of them come from; needed by all methods but linear and slerp.
        method: as `polymodal merge` takes it.
        weight: on the target.
        density: share of a delta that ties and dare keep.
        rules: GLOB=W, the weight by name of the tensor; the first that matches wins.
        data: questions: samples.jsonl, or a benchmark table (.tsv).
        perception: more questions, whose set is `perception`.
        reasoning: more questions, whose set is `reasoning`.
        knock: knock-outs of the attribution; of own models where there are questions of both kinds, and
            `revert` where there is a base.
        protect: share of the pictures' activations, squared, that a merge may not change; 0 for none.
        limit: items a set.
        seeds: toys.
        seed: of the first toy and of everything else drawn.
    """

    experiment: Literal["auto", "planted", "pocket", "checkpoints", "weights"] = "auto"
    target: str = "local:pocket-vlm"
    donors: tuple[str, ...] = ("local:pocket-reasoner",)
    base: str | None = "local:pocket-lm"
    method: str = "linear"
    weight: float = 0.8
    density: float = 0.2
    rules: tuple[str, ...] = ()
    data: str | None = None
    perception: str | None = None
    reasoning: str | None = None
    knock: tuple[str, ...] = ("mask", "uniform", "revert")
    protect: float = 0.95
    limit: int = 120
    seeds: int = 2
    seed: int = 0


def tiny() -> Config:
    """Two toys, about two minutes each; the pocket part where pocket-vlm is there."""
    return Config()


def full() -> Config:
    """The paper's setting; give `-o target=`, `-o donors=` and `-o data=`."""
    return Config(base=None, weight=0.9, limit=1000, knock=(), seeds=5)


def weights() -> Config:
    """The making of the pocket models; `-o target=pocket-lm` makes one of them."""
    return Config(experiment="weights", target="all", donors=(), base=None)


def run(config: Config, run: Run) -> dict[str, Estimate]:
    """Do the experiments, judge the claims, record.

    Raises:
        FileNotFoundError: no such model or question file.
        ValueError: models, a method or questions that cannot be used; the message says which.
    """
    book = work.Book(seed=config.seed)
    book.sections["about"] = {"text": ABOUT}
    own = config.target != tiny().target or config.data or config.perception or config.reasoning
    kind = ("checkpoints" if own else "auto") if config.experiment == "auto" else config.experiment
    prints = {}
    if kind == "weights":
        make(config, run, book)
    if kind == "checkpoints":
        prints = checkpoints(config, run, book)
    if kind in ("auto", "planted"):
        planted(config, run, book)
    if kind in ("auto", "pocket"):
        if lost := [name for name in POCKET if name not in names()]:
            book.sections["notes"] = [f"{lost[0]} is not made yet: polymodal run model_merging:weights"]
        else:
            pocket(config, run, book)
    for name, section in (book.sections | {"legend": book.legend}).items():
        run.section(name, section)
    run.finish(book.estimates, [(claim, *claim.judge(book.estimates)) for claim in CLAIMS], prints)
    return book.estimates


def make(config: Config, run: Run, book: work.Book) -> None:
    """Train the pocket models that are asked for, siblings after pocket-lm, and write their folders."""
    wanted = POCKET if config.target == "all" else tuple(config.target.split(","))
    if unknown := [name for name in wanted if name not in POCKET]:
        raise ValueError(f"no pocket model {unknown[0]!r} is made here; known: {', '.join(POCKET)}, all")
    for name in (name for name in POCKET if name in wanted):
        net, losses = pockets.made(run, name, seed=config.seed)
        scores = {}
        for title, hits in quiz.held_out(net, name, config.limit, seed=config.seed).items():
            scores[title] = proportion(int(hits.sum()), len(hits), better="higher")
            book.add(f"{name}/{title}", scores[title])
        page = pockets.card(name, losses, scores, seed=config.seed)
        run.files(name, {**net.files(), "README.md": page.encode()})
        for stage, told in losses.items():
            for at in range(0, len(told), 25):
                book.row("learning", arm=f"{name}, {stage}", seed=0, step=at + 1, loss=told[at])


def planted(config: Config, run: Run, book: work.Book) -> None:
    """Toys of several seeds: the sweep, partial merges, controls, and knock-outs of planted layers."""
    seeds = range(config.seed, config.seed + config.seeds)
    values = run.map(siblings.planted, {f"toy/{seed}": (seed,) for seed in seeds}, name="toys")
    told = {
        key: np.concatenate([value[key] for value in values.values()], -1)
        for key in next(iter(values.values()))
    }

    def groups(hits: Hits) -> list[str]:
        return np.repeat([str(seed) for seed in seeds], hits.shape[-1] // len(seeds)).tolist()

    def gap(name: str, one: str, two: str, **about: Any) -> None:
        found = difference(None, told[one], told[two], group=groups(told[one]), seed=config.seed)
        book.add(f"planted/{name}", found, **about)

    kept = [key for key in told if key.startswith("λ ") and key.partition("|")[2] in siblings.TOY_SETS]
    swept(book, "planted", {key: told[key] for key in kept}, groups)
    for part in ("early", "late"):
        gap(f"held-out sums: all layers - {part}", "λ 0.5|held-out sums", f"{part}|held-out sums")
    for name in ("see shuffled", "see blank"):
        book.add(
            f"planted/control: {name}",
            mean(told[f"λ 1|{name}"], seed=config.seed),
            role="control",
            expected=1 / 16,
        )
    for donor in ("base", "copying donor", "foreign donor"):
        gap(f"control: {donor} - target", f"{donor}|held-out sums", "λ 1|held-out sums", role="control")
    for donor in ("sibling", "foreign donor"):
        book.add(f"planted/likeness of weights: {donor}", mean(told[f"likeness|{donor}"]), role="control")
    early, late = told["place|sees"], told["place|adds"]  # layers by items
    untouched = max(float(np.abs(drops).max()) for drops in (early[2:], late[:2]))
    book.add("place/drop of untouched layers", exact(untouched), expected=0.0)
    lost = [np.maximum(drops.mean(1), 0) for drops in (early, late)]
    shares = [lost[0][:2].sum() / lost[0].sum(), lost[1][2:].sum() / lost[1].sum()]
    book.add("place/share in planted layers", exact(float(min(shares))), expected=1.0)
    book.add("place/centre: perception - reasoning", method.centres_apart(early, late, seed=config.seed))
    profile(book, "Planted layers: loss by reverting one", {"sees": early, "adds": late}, seed=config.seed)


def swept(book: work.Book, world: str, told: Mapping[str, Hits], groups: Any = None) -> None:
    """Scores by weight on the target, their differences to the target, and the curves; keys are `λ W|SET`."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for key, hits in told.items():
        weight, _, name = key.partition("|")
        found = mean(hits, group=groups and groups(hits), seed=book.seed, better="higher")
        book.add(f"{world}/{name}: {weight}", found)
        rows.setdefault(name, []).append({"arm": name, "x": float(weight[2:]), "estimate": found.to_json()})
        if weight != "λ 1":
            gap = difference(None, hits, told[f"λ 1|{name}"], group=groups and groups(hits), seed=book.seed)
            first = (name, weight) == ("held-out sums", "λ 0.5")
            book.add(f"{world}/{name}: {weight} - 1", gap, of=f"{world}/{name}: λ 1", headline=first)
    lines = [row for some in rows.values() for row in some]
    book.row("curves", title=f"{world}: score by weight on the target", x="λ", y="share right", rows=lines)


def profile(book: work.Book, title: str, drops: Mapping[str, Hits], *, seed: int) -> None:
    """What each layer costs when it is knocked out, as curves; drops are "layers items"."""
    rows = [
        {"arm": arm, "x": layer, "estimate": mean(lost, seed=seed).to_json()}
        for arm, table in drops.items()
        for layer, lost in enumerate(table)
    ]
    book.row("curves", title=title, x="layer", y="share lost", rows=rows)


@cache
def asked(name: str, n: int, split: str, number: int) -> tuple[list[quiz.Item], Any]:
    """The items of a set, and what the tower says of their pictures."""
    items = quiz.items(name, n, split=split, seed=number)
    return items, quiz.looked_at(items, siblings.target())


def scored(net: Any, name: str, n: int, number: int, split: str = "test", control: str = "") -> Hits:
    """Which items of a set a pocket model answers right; `control` is `shuffled` or `blank`."""
    items, looks = asked(name, n, split, number)
    return quiz.right(net, items, looks, control=control, seed=number)


def pocket_job(how: pockets.How, names: Sequence[str], n: int, number: int) -> dict[str, Hits]:
    """Hits of a merge of the pocket models by set; a set may be `NAME@SPLIT` or `NAME!CONTROL`."""
    net = siblings.merged(how)
    out = {}
    for name in names:
        plain, _, control = name.partition("!")
        plain, _, split = plain.partition("@")
        out[name] = scored(net, plain, n, number, split or "test", control)
    return out


def knock_job(n: int, number: int, how: pockets.How, mode: Mode) -> dict[str, Hits]:
    """Loss by knocking out a module, "layers items", by `MODULE|SET`."""
    net, base = siblings.merged(how), pockets.sibling("pocket-lm")
    sets = {"perception": "perception", "reasoning": "seen sums"}

    def score() -> dict[str, Hits]:
        return {key: scored(net, name, n, number) for key, name in sets.items()}

    found = attribution(net, score, modes=[mode], base=base)
    return {f"{module}|{name}": drops for (_, module, name), drops in found.items()}


def pocket(config: Config, run: Run, book: work.Book) -> None:
    """The pocket models: sweep, methods, controls, places, and the weight that a calibration set chooses."""
    seed, n = config.seed, config.limit
    grid = sorted({*LAMBDAS, config.weight}, reverse=True)
    made = {f"λ {weight:g}": pockets.How(weight=weight) for weight in grid}
    made |= {name: pockets.How(name, config.weight, config.density) for name in SIMILAR}
    made |= {donor: pockets.How(weight=0.5, donor=donor) for donor in ("pocket-lm", "permuted")}
    made |= {"protected": pockets.How(weight=0.5, protect=config.protect)} if config.protect else {}
    sets = (*quiz.SETS, "held-out sums@val", "perception!shuffled", "perception!blank")
    jobs: dict[str, tuple[Any, ...]] = {
        f"pocket/{name}": (how, sets if name == "λ 1" else sets[:-2], n, seed) for name, how in made.items()
    }
    told = {f"{name[7:]}|{key}": hits for name, value in run.map(pocket_job, jobs, name="merges").items()
            for key, hits in value.items()}  # fmt: skip
    shown = {f"λ {weight:g}|{name}" for weight in grid for name in quiz.SETS}
    swept(book, "pocket", {key: hits for key, hits in told.items() if key in shown})

    def gap(name: str, one: Hits, two: Hits, **about: Any) -> None:
        book.add(f"pocket/{name}", difference(None, one, two, seed=seed), **about)

    held = {name: told[f"{name}|held-out sums"] for name in made}
    for name in SIMILAR:
        gap(f"held-out sums: {name} - linear", held[name], held[f"λ {config.weight:g}"])
    gains = [told[f"λ 0.5|{name}"] - told[f"λ 1|{name}"] for name in ("text-dominant", "held-out sums")]
    gap("gain: text-dominant - vision-only", *gains)
    for name in ("pocket-lm", "permuted"):
        gap(f"control: {name} as donor - target", held[name], held["λ 1"], role="control")
    for name in ("protected",) if config.protect else ():
        gap("perception: protected - plain, λ 0.5", told[f"{name}|perception"], told["λ 0.5|perception"])
        gap("held-out sums: protected - plain, λ 0.5", held[name], held["λ 0.5"])
    items, _ = asked("perception", n, "test", seed)
    for control in ("shuffled", "blank"):
        found = mean(told[f"λ 1|perception!{control}"])
        book.add(f"pocket/control: perception, {control}", found, role="control")
    chance = float(np.mean([item.chance for item in items]))
    book.add("pocket/control: chance of perception", exact(chance), role="control")
    weight, _ = method.chosen({w: told[f"λ {w:g}|held-out sums@val"] for w in grid}, seed=seed)
    text = "do not merge" if weight is None else f"λ = {weight:g}"
    book.sections["notes"] = [f"chosen on other questions: {text}"]
    nets = {
        name: (n, seed, pockets.How(weight=w)) for name, w in (("target", 1.0), ("merged", config.weight))
    }
    placed(config, run, book, "pocket", knock_job, nets)


def placed(
    config: Config, run: Run, book: work.Book, world: str, job: Any, nets: Mapping[str, tuple[Any, ...]]
) -> None:
    """Which layers models cannot do without, on perception and on reasoning; a job takes a net and a mode."""
    jobs = {f"knock/{name}/{mode}": (*net, mode) for name, net in nets.items() for mode in config.knock}
    lost, rows = run.map(job, jobs, name="knock-outs"), []
    for name in nets:
        drops = {key: sum(lost[f"knock/{name}/{mode}"][key] for mode in config.knock) / len(config.knock)
                 for key in lost[f"knock/{name}/{config.knock[0]}"]}  # fmt: skip
        sides = {
            side: (drops[f"self_attn|{side}"] + drops[f"mlp|{side}"]) / 2
            for side in ("perception", "reasoning")
        }
        for side, table in sides.items():
            book.add(f"{world}/centre of {side}: {name}", method.centre(table, seed=config.seed))
        if name == "target":
            found = method.centres_apart(sides["perception"], sides["reasoning"], seed=config.seed)
            book.add(f"{world}/centre: perception - reasoning", found)
        profile(book, f"Knock-outs of the {name}: loss by layer", sides, seed=config.seed)
    for key, value in lost.items():
        _, name, mode = key.split("/")
        for part, table in value.items():
            module, _, side = part.partition("|")
            about = {"model": name, "mode": mode, "module": module, "set": side}
            rows += [about | {"layer": layer, "drop": drop.mean()} for layer, drop in enumerate(table)]
    run.table("attribution.parquet", rows)


def checkpoints(config: Config, run: Run, book: work.Book) -> dict[str, str]:
    """Merge a person's models into model/, ask target and result the person's questions, pair the answers."""
    files = {"": config.data, "perception": config.perception, "reasoning": config.reasoning}
    knock = config.knock if config.perception and config.reasoning else ()
    knock = tuple(mode for mode in knock if mode != "revert" or ancestor(config))  # to what, without a base?
    samples, lost = asking.questions(files, config.limit)
    for one in lost:
        book.row("invalid", reason=one.reason, n=1, first=one.id)
    models = {"target": config.target} | ({"merged": merge(config, run, book)} if config.donors else {})
    book.sections["about"] = {"text": f"{len(samples)} questions to {', '.join(models.values())}."}
    asking.compared(run, book, models, samples)
    if knock:
        pair = [sample for sample in samples if sample.tags.get("set") in ("perception", "reasoning")]
        nets = {name: (config.seed, pair, ancestor(config), model) for name, model in models.items()}
        placed(replace(config, knock=knock), run, book, "own", asking.knocked_out, nets)
    return {"questions": fingerprint(f"{sample.digest()} {sample.target}" for sample in samples)}


def ancestor(config: Config) -> str | None:
    """The base, unless it is the default one and the target another's."""
    return None if config.base == tiny().base and config.target != tiny().target else config.base


def merge(config: Config, run: Run, book: work.Book) -> str:
    """Write the merge into model/, with its account; the distances go into the report."""
    from polymodal.nn.weights import Recipe, diagnosis, plan, strangers
    from polymodal.runs.checkpoints import write_checkpoint

    split = [rule.rpartition("=") for rule in config.rules]
    rules = tuple((glob, float(weight)) for glob, _, weight in split)
    recipe = Recipe(config.method, (config.weight,), density=config.density, rules=rules, seed=config.seed)
    named = [pockets.source(model) for model in (config.target, *config.donors)]
    planned = plan(named[0], named[1:], recipe, base=(old := ancestor(config)) and pockets.source(old))
    planned.ready()
    rows = diagnosis(planned)
    columns = ["donor", "layer", "module", "ratio", "cosine", "conflict", "distance", "likeness"]
    cells = [[getattr(row, name) for name in columns] for row in rows]
    cells = [
        ["" if x is None or x != x else round(x, 4) if isinstance(x, float) else x for x in row]
        for row in cells
    ]
    title = "Distance of donors from the target"
    book.row("tables", title=title, note="before merging", columns=columns, rows=cells)
    book.sections["notes"] = [*planned.lines(), *strangers(rows)]
    to = run.folder / "model"
    if not to.exists():
        write_checkpoint(planned, to)
    return f"local:{to}"
