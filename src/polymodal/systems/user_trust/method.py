"""A model's advice, five modes of trials under displays, the taxonomy, a study for people."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polymodal.chat import Usage, ask, user
from polymodal.media import Image, Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polymodal.chat import ChatModel
    from polymodal.media import Part

Mode = Literal["query", "advise", "delegate", "share", "autonomous"]
MODES: tuple[Mode, ...] = ("query", "advise", "delegate", "share", "autonomous")
WITHHELD = 0.6  # the abstain display keeps advice of less stated confidence back
ASK = (
    "{question}\nOptions: {options}\nAnswer with JSON: answer (one of the options, or null for none), "
    "confidence (the probability that your answer is right, 0 to 1), explanation (one sentence)."
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answer": {"type": ["string", "null"]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "explanation": {"type": "string"},
    },
    "required": ["answer", "confidence"],
}


def advice(
    model: ChatModel, question: str, options: Sequence[str], shown: Sequence[Part], *, seed: int
) -> tuple[dict[str, Any], Usage]:
    """What the model advises on an item.

    Args:
        model: the target.
        question: in words.
        options: to choose from; none is a free answer.
        shown: pictures, sound or video of the item.
        seed: of the reply.

    Returns:
        answer (None: it abstains), confidence, explanation and reason ("" where the reply is valid; an answer
        that is no option is `out_of_scale`), and the cost.
    """
    words = ASK.format(question=question, options=" | ".join(options) or "any")
    asked = ask(model, user(words, *shown), schema=SCHEMA, seed=seed)
    empty = {"answer": None, "confidence": math.nan, "explanation": "", "reason": asked.reason}
    if asked.data is None:
        return empty, asked.usage
    answer = asked.data["answer"]
    if answer is not None and options:
        known = {option.strip().lower(): option for option in options}
        answer = known.get(answer.strip().lower())
        if answer is None:
            return {**empty, "reason": "out_of_scale"}, asked.usage
    told = str(asked.data.get("explanation", ""))
    confidence = float(asked.data["confidence"])
    return {"answer": answer, "confidence": confidence, "explanation": told, "reason": ""}, asked.usage


def shown(display: str, reply: Mapping[str, Any], rates: Mapping[str, float], capability: str) -> str:
    """The words beside the advised answer; `rates` is the card."""
    match display:
        case "confidence":
            return f"The assistant says it is {round(100 * reply['confidence'])} % sure."
        case "explanation":
            return str(reply["explanation"])
        case "card":
            return f"Of questions on {capability} it gets {round(100 * rates[capability])} % right."
        case "history":
            return f"So far it was right {round(100 * np.mean(list(rates.values())))} % of the time."
        case "abstain" if reply["confidence"] < WITHHELD:
            return "It is not sure enough to advise you here."
    return ""


def act(
    mode: Mode,
    own: NDArray[np.int_],
    advised: NDArray[np.int_],
    follow: NDArray[np.bool_],
    *,
    surer: NDArray[np.bool_],
    asks: NDArray[np.bool_],
) -> tuple[NDArray[np.int_] | None, NDArray[np.int_], NDArray[np.bool_], NDArray[np.bool_]]:
    """What comes of trials in a mode of collaboration.

    `query`: advice on request; `advise`: after an own answer; `delegate`: chosen before seeing; `share`:
    whoever is surer answers; `autonomous`: the agent acts, the person may veto.

    Returns:
        Own answers before the advice (None where the mode has none), final answers, whether the person
        relied, and whether the agent's answer was in play at all.
    """
    always = np.ones(len(own), dtype=bool)
    if mode in ("advise", "query"):
        taken = follow & (asks if mode == "query" else always)
        return own, np.where(taken, advised, own), taken, asks if mode == "query" else always
    relied = follow if mode == "delegate" else surer if mode == "share" else follow | (own == advised)
    return None, np.where(relied, advised, own), relied, always


def shipped(name: str) -> dict[str, Any]:
    """A JSON file beside this one: instruments, taxonomy, study."""
    return dict(json.loads((Path(__file__).parent / name).read_text(encoding="utf-8")))


def instruments(path: str | None = None) -> dict[str, dict[str, Any]]:
    """Keys of the trust scales by name, a person's own beside ours; wording only where it is free."""
    own = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    return {**shipped("instruments.json"), **own}


def leaves(path: str | None = None) -> list[tuple[str, str]]:
    """The taxonomy's leaves as (axis, leaf)."""
    known = json.loads(Path(path).read_text(encoding="utf-8")) if path else shipped("taxonomy.json")
    return [(axis["id"], leaf["id"]) for axis in known["axes"] for leaf in axis["leaves"]]


def unit(
    item: Mapping[str, Any], display: str, mode: str, rates: Mapping[str, float], media: Callable[[Part], str]
) -> dict[str, Any]:
    """An item with its advice as a unit of a study file; what the assistant says is held back at first.

    Args:
        item: what `advice` gave, with truth, capability and the sample.
        display: what stands beside the advice.
        mode: of the trial.
        rates: the card.
        media: writes a part and returns its path in the study's folder.
    """
    sample = item["sample"]
    texts = {name: part.read() for name, part in sample.parts.items() if isinstance(part, Text)}
    offered = [line for line in texts.get("options", "").split("\n") if line]
    letters = {option: f"{chr(65 + k)}" for k, option in enumerate(offered)}
    question = "\n".join([texts.get("question", ""), *(f"{b}) {a}" for a, b in letters.items())])
    pictures = [{"image": media(part)} for part in sample.parts.values() if isinstance(part, Image)]
    beside = shown(display, item, rates, item["capability"])
    own = letters.get(item["answer"], item["answer"])
    tags = {"capability": item["capability"], "mode": mode, "display": display, "advice": own}
    return {
        "id": f"{display}/{sample.id}", "item": sample.id, "group": sample.group or sample.id,
        "variant": display, "reference": letters.get(item["truth"], str(item["truth"])),
        "messages": [
            {"role": "user", "parts": [question, *pictures]},
            {"role": "assistant", "parts": [f"My answer: {own}) {item['answer']}. {beside}".strip()]},
        ],
        "tags": {**tags, "advice_confidence": item["confidence"]},
    }  # fmt: skip


def conversation(one: Mapping[str, Any]) -> dict[str, Any]:
    """A study's unit as the report shows it."""
    turns = [
        {"role": message["role"], **({"text": part} if isinstance(part, str) else {"path": part["image"]})}
        for message in one["messages"]
        for part in message["parts"]
    ]
    right = float(one["reference"] == one["tags"]["advice"])
    verdicts = [{"judge": "truth", "score": "advice is right", "value": right, "reason": ""}]
    return {"id": one["id"], "title": one["id"], "tags": one["tags"], "turns": turns, "verdicts": verdicts}
