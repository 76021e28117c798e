"""Study files from nothing and from runs, and who talks in the rooms of a study."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from polymodal.chat import ChatModel
    from polymodal.judge.people.study import Study

EXAMPLE = {
    "id": "plain", "version": "1", "source": "polymodal", "licence": "CC0", "rater": "any",
    "items": [
        {"id": "good", "kind": "likert", "levels": 7, "text": "How good is the answer? (1 bad, 7 good)"},
        {"id": "wrong", "kind": "binary", "text": "Is anything in it wrong?"},
        {"id": "why", "kind": "text", "required": False, "text": "Anything to add?"},
    ],
}  # fmt: skip
PAGES = [
    {"kind": "consent", "title": "Before you begin"},
    {"kind": "block", "rubric": "plain", "title": "Please rate"},
    {"kind": "debrief", "title": "Thank you"},
]
PARTNERS = {"patient": ("state", "plain"), "doctor": ("patient",)}  # by whom the rater plays in a room
CONSENT = (
    "You will rate what programs answered. Your ratings are kept under a pseudonym. You may stop at any time."
)


def example() -> dict[str, Any]:
    """A study of two answers to one question."""
    asked = {"role": "user", "parts": ["What colour is the sky at noon?"]}
    said = {"first": "It is blue.", "second": "It is green."}
    units = [
        {"id": f"sky-{name}", "item": f"sky-{name}", "subject": name,
         "messages": [asked, {"role": "assistant", "parts": [text]}]}
        for name, text in said.items()
    ]  # fmt: skip
    return _raw("example", "Which answers are good?", units, raters=2)


def _raw(name: str, title: str, units: list[Any], *, raters: int) -> dict[str, Any]:
    items = len({unit["item"] for unit in units})
    design = {"ratings_per_case": raters, "cases_per_rater": min(max(items, 2), 40)}
    return {
        "id": name, "version": "1", "title": title, "language": "en", "consent": CONSENT,
        "rubrics": [EXAMPLE], "units": units, "design": design, "pages": PAGES,
        "quality": {"minimum_seconds": 2}, "exclusions": ["straight_line"],
        "retention": {"on_withdrawal": "ask"}, "seed": 0,
    }  # fmt: skip


def of_run(folder: Path, sample: int, form: str, partners: Sequence[str], *, seed: int) -> dict[str, Any]:
    """A study file about what a run's report shows, its media copied beside it; or a form with a room.

    Args:
        folder: of the run.
        sample: conversations at most.
        form: of those that the run brings; "" is the first, or a plain question where it brings none.
        partners: who is talked to in a form with a room; none are the usual ones.
        seed: of the draw.

    Raises:
        ValueError: no such form, nothing to show, or too few cases for it.
        LookupError: a form with a room of a system that has nobody to talk to.
    """
    from polymodal.runs import read_result

    result, forms = read_result(folder), _forms(folder)
    if form and form not in forms:
        known = f"it brings {', '.join(forms)}" if forms else "it brings none (no study/osce.json)"
        raise ValueError(f"--form {form}: {folder} brings no such form; {known}")
    chosen = forms[form or next(iter(forms))] if forms else {}
    room = next((page for page in chosen.get("pages", ()) if page["kind"] == "room"), None)
    if room is not None:
        plays = room.get("options", {}).get("plays", "patient")
        if plays not in PARTNERS:
            raise ValueError(f"--form {form}: its room is played by {plays!r}; known: {', '.join(PARTNERS)}")
        units = _played(folder, result, sample, partners or PARTNERS[plays], plays, seed=seed)
        return _fitted({**chosen, "units": units}, folder / "study")
    shown = result.sections.get("conversations") or [
        {"id": one["id"], "turns": [{"role": name, **part} for name, part in one.get("parts", {}).items()]}
        for one in result.sections.get("examples") or ()
    ]
    if not shown:
        raise ValueError(f"{folder} kept no conversations and no examples to ask about")
    shown = [one for one in shown if not any("withheld" in turn for turn in one["turns"])]
    if not shown:
        raise ValueError(
            f"{folder} kept replies as digests, which nobody can rate: run it with -o store=full, then ask"
        )
    picked = _drawn([_item(one) for one in shown], sample, seed=seed)
    units = [_unit(folder, number, shown[number]) for number in picked]
    if not chosen:
        return _raw(f"{result.system}-study", result.title, units, raters=2)
    return _fitted({**chosen, "units": units}, folder / "study")


def _played(
    folder: Path, result: Any, sample: int, partners: Sequence[str], plays: str, *, seed: int
) -> list[dict[str, Any]]:
    """A run's cases for raters to play, each before every partner; what they can send lies beside."""
    from polymodal.runs.atomic import write_bytes as keep

    units: list[dict[str, Any]] = []
    config, roles = _hook(result.system, "roles", result.config)
    for role in roles(config, max(1, sample // len(partners)), seed=seed, plays=plays):
        messages: list[dict[str, Any]] = [{"role": "card", "parts": list(role.card)}]
        messages += [{"role": "partner", "parts": [role.brief]}] if role.brief else []
        for caption, image in role.pictures:
            path = f"media/{image.digest()}{image.suffix()}"
            keep(folder / "study" / path, image.encoded())
            messages.append({"role": "shown", "parts": [{"text": caption}, {"image": path}]})
        messages += [{"role": "assistant", "parts": [role.opening]}] if role.opening else []
        about = {"item": role.id, "group": role.group, "reference": role.reference, "messages": messages}
        units += [{"id": f"{len(units) + i}-{role.id}"[:200], "subject": name} | about
                  for i, name in enumerate(partners)]  # fmt: skip
    return units


def _hook(system: str, name: str, values: Mapping[str, Any] | None) -> tuple[Any, Any]:
    """A system's Config, as a run remembers it or the pocket one, and a function of its recipe."""
    from polymodal.systems import shelf

    recipe: Any = shelf.load(system)
    if not hasattr(recipe, name):
        raise LookupError(f"{system} has nobody to talk to in a room")
    return recipe.tiny() if values is None else shelf.restored(recipe, values), getattr(recipe, name)


def _item(one: Mapping[str, Any]) -> str:
    return str(one.get("tags", {}).get("item", one["id"]))


def _drawn(items: Sequence[str], sample: int, *, seed: int) -> list[int]:
    """Which conversations: whole items in a seeded order, so that all who met one are compared on it."""
    import numpy as np

    names, taken = list(dict.fromkeys(items)), list[int]()
    for i in np.random.default_rng(seed).permutation(len(names)):
        rows = [row for row, item in enumerate(items) if item == names[i]]
        if not taken or len(taken) + len(rows) <= sample:
            taken += rows[:sample]
    return sorted(taken)


def _unit(folder: Path, number: int, one: Mapping[str, Any]) -> dict[str, Any]:
    tags = {k: v for k, v in one.get("tags", {}).items() if isinstance(v, str | int | float)}
    about = {key: str(tags[key]) for key in ("subject", "variant", "group") if key in tags}
    messages = [{"role": turn.get("role", "shown"), "parts": _parts(folder, turn)} for turn in one["turns"]]
    name = f"{number}-{one['id']}"[:200]
    return {"id": name, "item": _item(one), **about, "messages": messages, "tags": tags}


def _forms(folder: Path) -> dict[str, dict[str, Any]]:
    """Study files without units that a run brings; what else lies in that file is not for people."""
    file = folder / "study" / "osce.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    forms = {name: one for name, one in found.items() if isinstance(one, dict) and "pages" in one}
    known = {rubric["id"]: rubric for one in forms.values() for rubric in one["rubrics"] if "id" in rubric}
    return {
        name: {**one, "rubrics": [known.get(each, each) if isinstance(each, str) else each
                                  for each in one["rubrics"]]}
        for name, one in forms.items()
    }  # fmt: skip


def _fitted(raw: dict[str, Any], root: Path) -> dict[str, Any]:
    """A form with the fewest ratings a case, from its own number on, that link all raters to each other.

    Few cases make short blocks, since nobody sees a case twice, and short blocks need more of them.

    Raises:
        ValueError: no such number; the message says what would help.
    """
    from polymodal.judge.people import design
    from polymodal.judge.people import study as people

    wanted = raw["design"]["ratings_per_case"]
    for ratings in range(wanted, wanted + 4):
        made = {**raw, "design": {**raw["design"], "ratings_per_case": ratings}}
        try:
            design.plan(people.parse(made, root))
        except design.PlanError:
            continue
        if ratings > wanted:
            typer.echo(f"so few cases link raters with {ratings} ratings each, not with {wanted}")
        return made
    items = len({unit["item"] for unit in raw["units"]})
    raise ValueError(
        f"{len(raw['units'])} consultations of {items} cases cannot be dealt out so that raters are linked:"
        " hold the run on more cases (-o cases=), or with fewer doctors and arms"
    )


def _parts(folder: Path, turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A turn of a report as parts of a study: words, and a copied medium."""
    from polymodal.media import part_of
    from polymodal.runs.export.rows import copy

    path, text = turn.get("path") or turn.get("media"), str(turn.get("text", ""))
    if path is None:
        return [{"text": text}]
    source = folder / str(path)
    if not source.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} is not in {folder}")
    copy(source, folder / "study" / "media" / source.name)
    return [*([{"text": text}] if text else []), {part_of(source).kind: f"media/{source.name}"}]


def partners(given: Sequence[str], run: Path, made: Study) -> dict[str, ChatModel]:
    """Who talks in rooms, by name.

    Raises:
        ValueError: no name, or a room of the study whose partner is not given.
        LookupError: an unknown model, or a system without a doctor.
    """
    found: dict[str, ChatModel] = {}
    for one in given:
        name, sign, spec = one.partition("=")
        if not (name and sign):
            raise ValueError(f"--partner {one}: a name, = and a model are wanted")
        found[name] = _partner(spec, run)
    rooms = [
        (page.options, made.units[unit]) for page in made.pages if page.kind == "room" for unit in page.units
    ]
    wanted = {str(options.get("partner") or unit.subject) for options, unit in rooms} - {"person", *found}
    if wanted:
        raise ValueError(f"who is {', '.join(sorted(wanted))}? Name each: --partner {min(wanted)}=MODEL")
    return found


def _partner(spec: str, run: Path) -> ChatModel:
    """A model, or what a system makes of one with a run's settings and readers."""
    from polymodal.chat import connect
    from polymodal.runs import read_result
    from polymodal.systems import shelf

    name, _, rest = spec.partition(":")
    try:
        system = shelf.resolve(name)
    except LookupError:
        return connect(spec)
    result = read_result(run) if (run / "result.json").exists() else None
    mine = result is not None and result.system == system
    config, make = _hook(system, "partner", result.config if result and mine else None)
    folder = str(run) if mine and (run / "model").is_dir() else None
    model: ChatModel = make(rest, config, folder)
    return model
