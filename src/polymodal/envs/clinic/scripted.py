"""A scripted doctor's mind: answers every call of a consultation from a clinic's tables.

For research, not for care. It knows the tables and what the prompt's JSON says; it cannot look at
pictures, and asks no network.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from polymodal.chat import ChatModel, Scripted, said, uniform
from polymodal.envs.clinic.evidence import information, word_for
from polymodal.envs.clinic.patient import RETAKES, spoken
from polymodal.envs.clinic.state import Line, status_of
from polymodal.envs.clinic.table import UNSURE, Clinic
from polymodal.media import Message

RIGHT = {"good": 0.97, "poor": 0.6}  # a reader's class is right so often
TINY, WORTH = 1e-6, 0.01  # least likelihood; information in nats that is worth a question
APART = 3.0  # odds of the first two diagnoses that are enough
BROKEN = '{"findings": [{"name": '
Known = Mapping[str, tuple[str, str]]  # by finding or kind: value or class, and the quality of a reading


def scripted(
    clinic: Clinic,
    malformed: float = 0.0,
    unsupported: float = 0.0,
    slip: float = 0.0,
    stop: float = 0.9,
    span: int = 0,
) -> ChatModel:
    """The chat model `scripted:clinic`, for `connect(..., scripts={"clinic": partial(scripted, clinic)})`.

    Args:
        clinic: the tables it knows.
        malformed: chance that a reply is broken JSON, at any call.
        unsupported: chance that a note claims a finding which was neither said nor seen.
        slip: chance that a differential begins with a disease drawn at random: what votes can mend.
        stop: probability of the first diagnosis at which it asks no more.
        span: so many of the last turns are what it minds of a talk; 0 is all of it. A planted weakness of
            plain prompting, what a state can mend: notes that are kept in it are always minded.

    Raises:
        ValueError: a chance outside [0, 1], or a span below 0.
    """
    chances = {"malformed": malformed, "unsupported": unsupported, "slip": slip, "stop": stop}
    for name, value in chances.items():
        if not 0 <= value <= 1:
            raise ValueError(f"scripted:clinic: {name}={value}: it is from 0 to 1")
    if span < 0:
        raise ValueError(f"scripted:clinic: span={span}: it is at least 0")
    mind = _Mind(clinic, malformed, unsupported, slip, stop, span)
    tables = [clinic.answers.tobytes(), *(clinic.shows[one.kind].tobytes() for one in clinic.artefacts)]
    names = repr((clinic.diseases, clinic.findings, clinic.artefacts)).encode()
    digest = hashlib.sha256(b"\0".join([names, *tables])).hexdigest()[:12]
    options = "&".join(f"{name}={value:g}" for name, value in {**chances, "span": span}.items())
    return Scripted(f"scripted:clinic?{options}@{digest}", mind)


@dataclass(frozen=True, slots=True)
class _Mind:
    """What the script works out; called with the messages and the call's seed."""

    clinic: Clinic
    malformed: float
    unsupported: float
    slip: float
    stop: float
    span: int

    def __call__(self, messages: tuple[Message, ...], call: int) -> str:
        block = _block(messages)
        if block is None:
            return "There is nothing to say."
        heard = [word for row in block["talk"] for word in (row["said"], row["value"], row["digest"])]
        call = int(uniform(call, *heard) * 2**31)  # a slip hangs on what was heard, not on the seed alone
        if uniform("malformed", call, len(messages), *block["call"]) < self.malformed:
            return BROKEN
        if block["call"][0] in ("plain", "final"):
            return json.dumps(self._plain(block, call, concluding=block["call"][0] == "final"))
        found: dict[str, Any] = {}
        for stage in block["call"]:
            found[stage] = getattr(self, f"_{stage}")(block, call)
            if stage == "update":  # in a merged call what comes later builds on it
                held = {row["name"]: row for row in (*block["findings"], *found[stage]["findings"])}
                block["findings"] = [*held.values()]
            elif stage in ("rank", "gaps"):
                block |= found[stage]
        return json.dumps(found if len(found) > 1 else found[block["call"][0]])

    def _update(self, block: dict[str, Any], call: int) -> dict[str, Any]:
        line, found, profile = Line(**block["heard"]), [], dict[str, list[str]]()
        top = self._index(block["differential"][0]["name"]) if block["differential"] else None
        if line.finding and line.value:
            found.append({"name": line.finding, "status": status_of(line.value), "from": "said"})
        for row in block.get("reading", {}).get("findings", ()):
            place = {"box": row["box"]} if row.get("box") else {}
            found.append({"name": row["name"], "status": "present", "from": "image", **place})
        free = [one.name for one in self.clinic.findings if one.name != line.finding]
        if uniform("unsupported", call) < self.unsupported and free:
            name = free[int(uniform("which", call) * len(free))]
            found.append({"name": name, "status": "present", "from": "said"})
        for row in found:
            j = self._column(row["name"])
            row["quote"] = line.said if row["from"] == "said" else ""
            if top is not None and j is not None:
                several = len(self.clinic.findings[j].values) > 2 and row["name"] == line.finding
                row["often"] = word_for(self._row(j, line.value if several else "yes")[top])
        for field, word in (("allergies", "allerg"), ("medications", "tablets")):
            if word in line.said.lower():
                profile[field] = [line.said[:200]]
        return {"findings": found, "profile": profile}

    def _rank(self, block: dict[str, Any], call: int) -> dict[str, Any]:
        names = [row["name"] for row in block["findings"]]
        rows = self._ranked(self._posterior(self._noted(block)), call)
        return {"differential": [{**row, "for": names} for row in rows]}

    def _ranked(self, p: Float[np.ndarray, " d"], call: int) -> list[dict[str, Any]]:
        """The ten likeliest diseases; a slip gives the first one's place to another."""
        order = np.argsort(-p, kind="stable")
        chosen = p[order]
        if uniform("slip", call) < self.slip:
            d = int(uniform("to", call) * len(p))
            order = np.array([d, *(one for one in order if one != d)])
        names = [self.clinic.diseases[d].name for d in order]
        return [{"name": name, "p": float(x)} for name, x in zip(names, chosen, strict=True)][:10]

    def _gaps(self, block: dict[str, Any], call: int) -> dict[str, Any]:
        p, known = self._posterior(self._noted(block)), self._noted(block)
        told = [self._index(row["name"]) for row in block["differential"]]
        gaps = []
        for gain, kind, name, table in self._wanted(p, known, block)[:5]:
            words = {
                row["name"]: [word_for(x) for x in table[d]]
                for row, d in zip(block["differential"], told, strict=True)
                if d is not None
            }
            gap = {"what": name, "kind": kind, "why": "it tells most"}
            eig = {"answers": [str(s) for s in range(table.shape[1])], "often": words}
            gaps.append(gap | (eig if block["gap"] == "eig" else {"weight": gain}))
        return {"gaps": gaps}

    def _go_on(self, block: dict[str, Any], call: int) -> dict[str, Any]:
        best = block["differential"][0]["p"] if block["differential"] else 0.0
        return {"go_on": best < self.stop and bool(block["gaps"])}

    def _reply(self, block: dict[str, Any], call: int) -> dict[str, Any]:
        if not block["gaps"]:
            return {"act": "ask", "text": "Is there anything else?"}
        return self._asked(block["gaps"][0]["what"], block)

    def _valid(self, block: dict[str, Any], call: int) -> dict[str, Any]:
        first, second = [*(row["p"] for row in block["differential"]), 0.0, 0.0][:2]
        return {"valid": first >= APART * second}

    def _separate(self, block: dict[str, Any], call: int) -> dict[str, Any]:
        known = self._noted(block)
        p, three = self._posterior(known), np.zeros(len(self.clinic.diseases))
        top = np.argsort(-p, kind="stable")[:3]
        three[top] = p[top] / p[top].sum()
        wanted = self._wanted(three, known, block)
        return self._asked(wanted[0][2], block) if wanted else self._reply({**block, "gaps": []}, call)

    def _plan(self, block: dict[str, Any], call: int) -> dict[str, Any]:
        first = block["differential"][0]["name"] if block["differential"] else "no diagnosis"
        minding = ", ".join(w for words in block["profile"].values() for w in words)
        plan = f"For research, not for care. Plan for {first}." + (f" Minding: {minding}" if minding else "")
        return {"plan": plan, "sources": [row["id"] for row in block["library"]]}

    def _followup(self, block: dict[str, Any], call: int) -> dict[str, Any]:
        question = block["heard"]["said"].endswith("?")
        return {"question": question, "answer": f"As planned: {block['plan']}" if question else ""}

    def _plain(self, block: dict[str, Any], call: int, *, concluding: bool) -> dict[str, Any]:
        """Plain prompting: the same tables, on what it minds of the talk."""
        known: dict[str, tuple[str, str]] = {}
        seen = {(one["kind"], one["digest"]): one for one in block["artefacts"]}
        for row in block["talk"][-self.span :] if self.span else block["talk"]:
            if row["finding"] and row["value"]:
                known[row["finding"]] = row["value"], ""
            if (row["kind"], row["digest"]) in seen:
                self._look(seen[row["kind"], row["digest"]], known)
        p = self._posterior(known)
        if concluding:
            rows = self._ranked(p, call)
            return {"differential": rows, "plan": f"For research, not for care. Plan for {rows[0]['name']}."}
        wanted = self._wanted(p, known, block)
        if p.max() >= self.stop or not wanted:
            return {"act": "diagnose"}
        return self._asked(wanted[0][2], block)

    def _asked(self, name: str, block: dict[str, Any]) -> dict[str, Any]:
        """The step that closes a gap."""
        if self._column(name) is None:
            shown = any(one["kind"] == name for one in block["artefacts"])
            again = shown and block["left"]["retakes"] > 0
            return {"act": "retake" if again else "request", "text": "", "kind": name}
        text = next(one.question for one in self.clinic.findings if one.name == name)
        return {"act": "ask", "text": text, "about": name}

    def _wanted(
        self, p: Float[np.ndarray, " d"], known: Known, block: Mapping[str, Any]
    ) -> list[tuple[float, str, str, Float[np.ndarray, "d s"]]]:
        """What is not known and worth knowing: gain, kind, name, P(answer | disease); the best first."""
        found, shown = [], Counter(one["kind"] for one in block["artefacts"])
        for j, one in enumerate(self.clinic.findings):
            if one.name not in known:
                found.append(("text", one.name, self.clinic.answers[:, :, j].T))
        for kind in (one.kind for one in self.clinic.artefacts):
            more = block["left"]["retakes"] > 0 and shown[kind] <= RETAKES
            if kind not in known or (known[kind][1] != "good" and more):
                table = self.clinic.shows[kind] @ _confusion(self.clinic.shows[kind].shape[1], 0.86)
                found.append(("artefact", kind, table))
        gains = [(information(p, table), kind, name, table) for kind, name, table in found]
        return sorted((row for row in gains if row[0] > WORTH), key=lambda row: -row[0])

    def _noted(self, block: dict[str, Any]) -> dict[str, tuple[str, str]]:
        """What a state's notes amount to."""
        known = {row["name"]: (self._value(row), "") for row in block["findings"]}
        for one in block["artefacts"]:
            self._look(one, known)
        return known

    def _value(self, row: Mapping[str, Any]) -> str:
        """A note's answer; which of more than two values it is, its quote tells."""
        j = self._column(row["name"])
        values = self.clinic.findings[j].values if j is not None else ()
        if len(values) > 2 and row["status"] != "unsure":
            return next((one for one in values if row["quote"].startswith(spoken(one))), UNSURE)
        return {"present": "yes", "absent": "no"}.get(row["status"], UNSURE)

    def _look(self, seen: Mapping[str, Any], known: dict[str, tuple[str, str]]) -> None:
        """Note an artefact's class and quality by its kind; the latest take that could be read counts."""
        kind = seen["kind"]
        told = [name.partition(": ")[2] for name in seen["findings"] if name.startswith(f"{kind}: ")]
        if told or kind not in known:
            known[kind] = (told[0] if told else ""), seen["quality"]

    def _posterior(self, known: Known) -> Float[np.ndarray, " d"]:
        p = self.clinic.prior.copy()
        for name, (value, quality) in known.items():
            j = self._column(name)
            if j is not None:
                p = p * np.maximum(self._row(j, value), TINY)
            elif name in self.clinic.shows and value:
                p = p * np.maximum(self._class(name, value, quality), TINY)
            p = p / p.sum()
        return p

    def _row(self, j: int, value: str) -> Float[np.ndarray, " d"]:
        """P(value | disease) of a finding; "yes" stands for the first value where there is no such."""
        values = self.clinic.findings[j].values
        if value == UNSURE:
            return self.clinic.answers[-1, :, j]
        return self.clinic.answers[values.index(value) if value in values else int(value == "no"), :, j]

    def _class(self, kind: str, told: str, quality: str) -> Float[np.ndarray, " d"]:
        classes = next(one.classes for one in self.clinic.artefacts if one.kind == kind)
        if told not in classes:
            return np.ones(len(self.clinic.diseases))
        confusion = _confusion(len(classes), RIGHT.get(quality, 1 / len(classes)))
        return np.asarray(self.clinic.shows[kind] @ confusion[:, classes.index(told)])

    def _column(self, name: str) -> int | None:
        return next((j for j, one in enumerate(self.clinic.findings) if one.name == name), None)

    def _index(self, name: str) -> int | None:
        return next((d for d, one in enumerate(self.clinic.diseases) if one.name == name), None)


def _confusion(n: int, right: float) -> Float[np.ndarray, "c s"]:
    """P(said s | true c) of a reader whose errors are uniform."""
    return np.full((n, n), (1 - right) / max(n - 1, 1)) + np.eye(n) * (right - (1 - right) / max(n - 1, 1))


def _block(messages: Sequence[Message]) -> dict[str, Any] | None:
    """The JSON object in the last line of the newest message that has one with a `call`."""
    for message in reversed(messages):
        last = said(message).rstrip().rpartition("\n")[2]
        if message.role == "user" and last.startswith('{"call"'):
            found: dict[str, Any] = json.loads(last)
            return found
    return None
