"""Posts, subjects and probes to answers; answers to estimates, comparisons and claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl

import numpy as np

from polymodal.chat import Decoding
from polymodal.envs import posters
from polymodal.envs.reading import read_all
from polymodal.judge import Judge
from polymodal.media import Invalid, Sample, Series
from polymodal.metrics import BRIER, ECE, Claim, Estimate, above, below, difference, estimate, every
from polymodal.systems import probes
from polymodal.systems.image_text_relation import data, method, readers
from polymodal.systems.languages import disagreements, language_of, pair_of, text_of, translations
from polymodal.systems.probes import PROBES, Answers, label
from polymodal.systems.reply import Question, account, ask_job, right_reply, shots
from polymodal.training import Table, fingerprint, grouped
from polymodal.training import study as work
from polymodal.training.study.cohort import trained
from polymodal.training.study.network import learnt, network
from polymodal.training.study.sheet import Column

if TYPE_CHECKING:
    from polymodal.nn import Joined
    from polymodal.runs import Run

SCRIPTS = {"relation": partial(posters.observer, method.understood)}
LEANING, LEANS = "scripted:relation?lean=.3", 0.3 * (data.SKEWED[0] - 0.25)
SERIES = {"text": ("series", "series"), "image": ("series", "series")}
FUSIONS = ("lowrank", "concat", "crossattention", "additive")
SINGLE = ("only:text", "only:image")
CHUNK = 100  # posts that one job asks about
ABOUT = (
    "Planted posts: a shape above a sign, and a text that names a shape and a food. Neither side alone says "
    "anything of the class; the subjects misread at known rates, so that figures have closed forms."
)
CLAIMS = (
    Claim("newer vision-language checkpoints do better, with much room left", "-",
          every(above("newest - oldest", 0.0), below("best subject", 0.9))),
    Claim("manual translation beats machine translation", "-", above("en - en-mt", 0.0)),
    Claim("balanced test sets are fairer", "350 posts", above("flattery, skewed - balanced set", 0.0)),
    Claim("a zero-shot model must beat a text prior", "ours", above(probes.BEATS, 0.0)),
    Claim("text and picture together are best, for each question", "-",
          every(*(above(f"trained/joint - best single, {name}", 0.0) for name in method.QUESTIONS))),
    Claim("it matters whether two questions are asked or one", "ours", probes.routes_differ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be turned.

    Attributes:
        data: posts in any of `readers.LAYOUTS`; None plants them, `planted?prior=.8` with a text prior.
        target: the models, in order of release; `scripted:relation?see=.9&read=.9` simulates one.
        languages: of the posts; probes are made in the first; `-mt` is machine translation.
        prompt: language of the prompts, or `post` for that of each post.
        decide: by the `text` of two replies, the `logit` of their first tokens, or one of `four` letters.
        order: what comes first, text or picture.
        shots: posts shown with their answers, classes in turn, never of the same group.
        read: `ocr` tells the model the words that are read in the picture.
        protocol: `strict`; `compat` takes what is no yes for a no; `chat` asks A, then B, in one talk.
        n: posts; of a labelled corpus the balanced subset of that size, 0 for all.
        arm: what to run: `chat` models, the `trained` fusion, or `both`.
        translate: chance that a planted machine translation takes a word for another one.
        threshold: on P(yes), or `tuned` on every fifth post, which then leaves the figures.
        steps: of each training.
        seeds: trainings of each fusion.
        seed: of everything drawn.
    """

    data: str | None = None
    target: tuple[str, ...] = (
        "scripted:relation",
        "scripted:relation?bias=.2",
        "scripted:relation?see=.6&read=.6",
    )
    languages: tuple[str, ...] = ("lv", "en", "en-mt")
    prompt: str = "post"
    decide: Literal["text", "logit", "four"] = "text"
    order: Literal["text", "picture"] = "text"
    shots: int = 0
    read: Literal["none", "ocr"] = "none"
    protocol: Literal["strict", "compat", "chat"] = "strict"
    n: int = 400
    arm: Literal["chat", "trained", "both"] = "both"
    translate: float = 0.1
    threshold: str = "0.5"
    steps: int = 1200
    seeds: int = 1
    seed: int = 0


def tiny() -> Config:
    """About a minute on two cores."""
    return Config()


def full() -> Config:
    """The paper's setting: 350 posts, balanced; give `-o data=` and `-o target=`."""
    return Config(n=350, languages=("lv", "en"), seeds=3)


def run(config: Config, run: Run) -> dict[str, Estimate]:
    """Ask, hold against baselines and probes, train, record.

    Raises:
        FileNotFoundError: no data at the path.
        ValueError: data, languages or a subset that cannot be; the message says which.
    """
    book = work.Book(seed=config.seed)
    posts, lost = corpus(config)
    book.sections["about"] = {"text": f"{len(posts)} posts. {ABOUT if planted(config) else ''}"}
    reasons = [one.detail if one.reason == "excluded" else one.reason for one in lost]
    for reason, n in Counter(reasons).items():
        book.row("invalid", reason=reason, n=n, first=lost[reasons.index(reason)].id)
    prints = {"posts": fingerprint(f"{post.id} {post.target} {text_of(post)}" for post in posts)}
    about = {"seed": config.seed, "corpus": prints["posts"]}
    run.table("benchmark/ids.csv", [{"id": post.id, "class": post.target, **about} for post in posts])
    if config.arm != "trained":
        chats(config, run, book, posts)
    if config.arm != "chat":
        model = trained_arm(config, run, book, posts)

        def save(folder: Path) -> None:
            model.save_pretrained(folder)

        run.model(save)
    for name, section in (book.sections | {"legend": book.legend}).items():
        run.section(name, section)
    run.finish(book.estimates, [(claim, *claim.judge(book.estimates)) for claim in CLAIMS], prints)
    return book.estimates


def planted(config: Config) -> bool:
    """Whether posts are generated."""
    return (config.data or "planted").startswith("planted")


def corpus(config: Config) -> tuple[list[Sample], list[Invalid]]:
    """Posts in the languages asked for, and what was left out. Raises as `run`."""
    if planted(config):
        given: Any = {key: float(value) for key, value in parse_qsl((config.data or "").partition("?")[2])}
        given |= {"translate": config.translate}
        return data.planted(config.n, config.languages, seed=config.seed, **given), []
    posts, lost = readers.corpus(Path(str(config.data)), config.languages)
    first = [post for post in posts if language_of(post) == language_of(posts[0])]
    if 0 < config.n < len(first):
        order = np.random.default_rng(config.seed).permutation(len(first))
        ids = {first[i].id for i in order[: config.n]}
        if {str(post.target) for post in first} <= {*"0123"}:
            ids = set(data.balanced(first, config.n, seed=config.seed))
        pairs = {pair_of(post) for post in first if post.id in ids}
        posts = [post for post in posts if pair_of(post) in pairs]
    return posts, lost


def queries(config: Config, post: Sample, *, probed: bool) -> list[method.Query]:
    """The questions that a post's label answers; where `probed`, by both routes and with all probes."""
    prompt = language_of(post).split("-")[0] if config.prompt == "post" else config.prompt
    method.wording(prompt)
    known = [name for name in method.QUESTIONS if method.truth(post, name)]
    both = ["four"] * (len(known) == 2)
    two = ["chat"] if both and config.protocol == "chat" else known
    asked = [(q, "") for q in (both if both and config.decide == "four" and not probed else two)]
    if probed:
        asked += [(q, probe) for q in both for probe in ("", "other order")]
        asked += [(q, probe) for probe in PROBES for q in known]
    return [method.Query(q, prompt, probe, config.order) for q, probe in asked]


def asked(
    config: Config, run: Run, posts: Sequence[Sample], targets: Sequence[str], title: str = "ask"
) -> list[dict[str, Any]]:
    """Rows of all answers, a hundred posts a job; probes are the first subject's, in the first language."""
    mine = [post for post in posts if language_of(post) == language_of(posts[0])]
    order = np.random.default_rng(config.seed).permutation(len(mine))
    donor = {mine[a].id: mine[b].parts.get("image") for a, b in zip(order, np.roll(order, 1), strict=True)}
    chunks = {at: posts[at : at + CHUNK] for at in range(0, len(posts), CHUNK)}
    words: dict[str, str] = {}
    if config.read == "ocr":
        for value in run.map(read_all, {f"{title}/read/{at}": (c,) for at, c in chunks.items()}).values():
            words |= value

    def question(post: Sample, query: method.Query) -> Question:
        shown = shots(mine, post, config.shots, seed=config.seed)
        given = donor.get(post.id), shown, words.get(post.id, "")
        return Question(
            item=pair_of(post),
            variant=f"{language_of(post)}|{query.question}|{query.probe}",
            turns=method.turns(query, post, *given, seed=config.seed),
            names=query.asked,
            languages=(query.prompt, language_of(post).split("-")[0]),
            options=method.letters(post, query.probe, seed=config.seed) if query.question == "four" else (),
            schema=query.schema(),
            row={"id": post.id, "language": language_of(post), "prompt": query.prompt, "probe": query.probe},
        )

    decoding = Decoding(tokens=16, first=20 if config.decide == "logit" else 0)
    jobs, store = {}, run.folder / "calls.sqlite"
    for target in targets:
        for at, chunk in chunks.items():
            first = title == "ask" and target == targets[0]
            made = [question(p, q) for p in chunk for q in queries(config, p, probed=first and p.id in donor)]
            jobs[f"{title}/{target}/{at}"] = (config.seed, target, made, SCRIPTS, decoding, store)
    return [row for rows in run.map(ask_job, jobs, name="answers").values() for row in rows]


class Relations(Answers):
    """Answers about posts, and the class that they make together."""

    questions = (*method.QUESTIONS, "four")

    def __init__(self, config: Config, posts: Sequence[Sample], rows: Iterable[Mapping[str, Any]]) -> None:
        self.posts = list({pair_of(post): post for post in reversed(posts)}.values())[::-1]
        items = [pair_of(post) for post in self.posts]
        super().__init__(items, [post.group or pair_of(post) for post in self.posts], seed=config.seed)
        self.subjects, self.route = config.target, "options" if config.decide == "four" else "questions"
        self.languages = list(dict.fromkeys(map(language_of, posts)))
        number = {"yes": 1.0, "no": 0.0, None: np.nan} | {str(k): float(k) for k in range(4)}
        known = {q: [number[method.truth(post, q)] for post in self.posts] for q in self.questions}
        self.truth = {q: np.array(found) for q, found in known.items()} | {"class": np.array(known["four"])}
        whole = bool(np.isfinite(self.truth["class"]).any())
        self.top, self.options = ("class", "four") if whole else ("represented", "")
        self.yes = method.QUESTIONS if whole else ("represented",)
        for row in rows:
            key = row["subject"], row["language"], row["question"], row["probe"]
            lenient = config.protocol == "compat" and row["reply"] and row["question"] != "four"
            value = number[row["parsed"]] if row["valid"] else 0.0 if lenient else None
            self.put(key, row["item"], value, row["p_yes"])
        if config.decide == "logit":
            self.decide({q: self.truth[q] for q in self.yes}, config.threshold, question=2)

    def answers(self, subject: str, language: str, probe: str = "", by: str = "") -> dict[str, Column]:
        """Adds, represented, four, and the class of the first two or, `by` options, of the third."""
        keys = {q: (subject, language, q, probe) for q in self.questions}
        found = {q: self.told[key] for q, key in keys.items() if key in self.told}
        if (by or self.route) == "options" and "four" in found:
            return found | {"class": found["four"]}
        if {*method.QUESTIONS} <= found.keys():
            found["class"] = 2 * (1 - found["adds"]) + (1 - found["represented"])
        return found


def closed(target: str, language: str, config: Config) -> dict[str, float]:
    """What a simulated subject scores on planted posts, where a closed form knows it."""
    if not planted(config) or config.shots or config.decide != "text" or config.protocol == "compat":
        return {}
    return posters.foretold(target, config.translate if language.endswith("-mt") else 0.0)


def chats(config: Config, run: Run, book: work.Book, posts: Sequence[Sample]) -> None:
    """Every subject on every post, and what follows."""
    rows = asked(config, run, posts, config.target)
    run.table("answers.parquet", rows)
    sheet = Relations(config, posts, rows)
    told, known = sheet.answers(*sheet.main), closed(*sheet.main, config)
    for name, found in sheet.scores(told[sheet.top], sheet.truth[sheet.top]).items():
        top = {"headline": True, "page": True, "expected": known.get(sheet.top)}
        book.add(name, found, **(top if name == "accuracy" else {}))
    for key in [(target, language) for target in config.target for language in sheet.languages]:
        form, said = closed(*key, config), sheet.answers(*key)
        for q in [name for name in (sheet.top, *method.QUESTIONS) if name in said]:
            name = f"{key[1]}/{label(key[0])}" + (f", {q}" if sheet.top == "class" != q else "")
            book.add(
                name, sheet.rate(sheet.hits(*key, question=q)), page=q == sheet.top, expected=form.get(q)
            )
    for q in sheet.yes:
        chance = sheet.sure.get((*sheet.main, q, ""), np.full(len(sheet.posts), np.nan))
        held = np.isfinite(chance) & np.isfinite(sheet.truth[q]) & sheet.kept
        for metric in (ECE, BRIER) if held.any() else ():
            both = np.column_stack([1 - chance[held], chance[held]])
            score = estimate(metric, sheet.truth[q][held].astype(int), both, seed=config.seed, draws=200)
            book.add(f"{metric.name} of {q}", score)
    probes.compared(book, sheet)
    forced: dict[str, str] = dict(parse_qsl(sheet.main[0].partition("?")[2]))
    alone = 0.25 if known and not {"bias", "refuse"} & forced.keys() else None
    probes.probed(book, sheet, chance=alone, bias=float(forced.get("bias", 0)) if known else None)
    probes.prior(run, book, sheet, [text_of(post) for post in sheet.posts])
    if planted(config):
        flattery(config, run, book)
    shown(run, book, sheet, posts, rows)


def flattery(config: Config, run: Run, book: work.Book) -> None:
    """A subject that leans to the commonest class looks better than it is, on a skewed set alone."""
    calm = replace(config, target=(LEANING,), decide="text", protocol="strict", shots=0, read="none")
    sheets = {}
    for name, shares in (("skewed", data.SKEWED), ("balanced", data.EVEN)):
        posts = data.planted(1000, config.languages[:1], shares=shares, seed=config.seed + 1)
        sheets[name] = Relations(calm, posts, asked(calm, run, posts, calm.target, name))
    probes.flattered(book, sheets["skewed"], sheets["balanced"], expected=LEANS)


def shown(
    run: Run, book: work.Book, sheet: Relations, posts: Sequence[Sample], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Counts, costs, translations, posts that languages part on, and each post's relation as a column."""
    account(book, rows, "subject", "language", "question", "probe")
    texts: dict[str, dict[str, str]] = {name: {} for name in sheet.languages}
    for post in posts:
        texts[language_of(post)][pair_of(post)] = text_of(post)
    keys = {name: (sheet.main[0], name) for name in texts}
    right = {name: sheet.by_post(sheet.hits(*key)) for name, key in keys.items()}
    told = {name: sheet.by_post(sheet.answers(*key)[sheet.top]) for name, key in keys.items()}
    table = translations(texts, right, "en")
    book.sections["tables"] += [table] if table["rows"] else []
    pictures = {pair_of(post): post.parts.get("image") for post in sheet.posts}
    targets = {pair_of(post): post.target for post in sheet.posts}
    book.sections["disagreements"] = disagreements(run, texts, told, pictures, targets)
    odd = Counter(str(post.tags["text"]) for post in posts if "text" in post.tags)
    book.sections["notes"] = [f"{n} posts have a text that is {what}" for what, n in odd.items()]
    columns = {f"p_{q}": (*sheet.main, q, "") for q in sheet.yes}
    sure = {name: sheet.sure[key].tolist() for name, key in columns.items() if key in sheet.sure}
    last = sheet.answers(*sheet.main)[sheet.top].tolist()
    run.table("relations.csv", {"id": list(sheet.place), **sure, sheet.top: last})


def trained_arm(config: Config, run: Run, book: work.Book, posts: Sequence[Sample]) -> Joined:
    """Fusions of posts in the first language; of planted ones, of their noisy concepts and their overlap."""
    from polymodal.training import baselines

    fitting = work.Fitting(64, config.steps, 128, 5e-3)
    if not planted(config):
        mine = [post for post in posts if language_of(post) == language_of(posts[0])]
        return learnt(run, book, mine, FUSIONS[:3], fitting, seeds=config.seeds)
    posts = data.planted(3800, ("en",), seed=config.seed + 2)
    x = data.concepts(posts, seed=config.seed)
    noisy = [replace(p, parts={name: Series(x[name][i]) for name in SERIES}) for i, p in enumerate(posts)]
    split = grouped(noisy, (2400, 400, 1000), seed=config.seed)
    table = Table.read(noisy, {name: work.reader(*way) for name, way in SERIES.items()})
    plan = [work.Arm(name, name) for name in FUSIONS]
    plan += [work.Arm(name, "lowrank", name) for name in (*SINGLE, "shuffle:image:both")]
    cohort = work.Cohort(noisy, SERIES, table, [split], config.seed)
    cells = trained(run, network, cohort, plan, fitting, seeds=config.seeds, title="trained/")
    told, y = work.said(cells), [str(post.target) for post in posts]
    counts = np.array([method.overlap(text_of(p), str(p.tags["seen"]), str(p.tags["sign"])) for p in posts])
    rows = {post.id: i for i, post in enumerate(posts)}
    tested = counts[[rows[name] for name in told.ids]]
    words = baselines.logistic(counts, y, split, seed=config.seed).predict(tested)
    known = dict.fromkeys((*SINGLE, "shuffle:image:both"), 0.25)
    book.table(told, world="trained/", expected=known, others={"overlap features": words[None]})
    for question, bit in (("adds", 2), ("represented", 1)):
        truth = told.target.astype(int) & bit
        right = {arm: (told.predictions(arm).astype(int) & bit == truth) * 1.0 for arm in told.outputs}
        best = max(SINGLE, key=lambda arm: float(right[arm].mean()))
        gap = difference(None, right["lowrank"], right[best], seed=config.seed)
        book.add(f"trained/joint - best single, {question}", gap, of=best, page=True)
    book.learned(cells, fitting.batch, world="trained/")
    return work.final(network, table, SERIES, split, plan[0], fitting, seed=config.seed)


def predict(
    model: Path, samples: Iterable[Sample | Invalid], *, missing: Literal["ok", "refuse"] = "ok"
) -> Iterator[dict[str, Any]]:
    """Predict with a saved model; see `training.study.answers`. Raises ValueError as that does."""
    return work.answers(model, samples, missing=missing)


def inspection(config: Config) -> Iterator[dict[str, Any]]:
    """Each question about each post, as another evaluator may ask it."""
    calm = replace(config, decide="text", protocol="strict")
    for post in corpus(config)[0]:
        for query in queries(calm, post, probed=False):
            yield {
                "id": f"{post.id}:{query.question}",
                "item": pair_of(post),
                "group": post.group or pair_of(post),
                "variant": f"{language_of(post)}|{query.question}|",
                "messages": method.turns(query, post, seed=config.seed)[0],
                "target": method.truth(post, query.question) or "",
                "tags": {"languages": f"{query.prompt},{language_of(post)[:2]}"},
            }


def judge_of(config: Config) -> Judge:
    """Whether a reply says yes or no as the label does."""
    return right_reply("relation")
