"""State-aware dialogue around any chat model, and plain prompting beside it; not for care."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

# fmt: off
from polymodal.chat import (
    Budget,
    ChatError,
    ChatModel,
    Ledger,
    Reply,
    Usage,
    ask,
    assistant,
    metered,
    self_consistency,
    user,
)
from polymodal.chat.structured import read
from polymodal.envs.clinic import Action, Ask, Close, Heard, Plan
from polymodal.envs.clinic.chair import Chair, read_off, told
from polymodal.envs.clinic.evidence import chance, information, likelihood
from polymodal.envs.clinic.state import (
    OTHER,
    Gap,
    Noted,
    Ranked,
    State,
    plain,
    same_name,
    supported,
    wordless,
)
from polymodal.media import Message

# fmt: on

_HERE = Path(__file__)
PROMPTS: Mapping[str, str] = json.loads(_HERE.with_name("prompts.json").read_text(encoding="utf-8"))
SCHEMAS: Mapping[str, Any] = json.loads(_HERE.with_name("schemas.json").read_text(encoding="utf-8"))
STAGES: Mapping[str, tuple[str, ...]] = {  # calls of a turn by its phase, in order
    "history": ("update", "rank", "gaps", "go_on", "reply"),
    "validate": ("update", "rank", "valid", "separate"),
    "present": ("update", "plan"),
    "plan": ("update", "followup"),
    "followup": ("update", "followup"),
}
NOTE = "For research, not for care."
SEPARATING, HITS = 3, 4  # questions of the validation; passages for a plan
UNLIKELY = 0.1  # P(finding | first disease) below which a late finding reopens the history
ANYTHING = "Is there anything else that you have noticed?"
RECORDED = ("phase", "profile", "differential", "plan", "sources", "artefacts", "flags", "counts")
UNTOLD = ("trail", "counts", "visits")  # fields of a state that stand in no prompt
MOST_VOTES = 200  # of one poll
NO_PLAN = "No plan could be made from this talk."


@dataclass(kw_only=True)
class Doctor(Chair):
    """A chat model that interviews by phases and by what it does not know yet (AMIE, section 2).

    A turn is five calls: update, rank, gaps, go_on?, reply. The differential is told in Present and not
    before: a question that names one of its diagnoses is held back. A call that gives nothing valid, after
    one re-ask, leaves the state as it was and is counted.

    Attributes:
        gap: the model orders the gaps, or its frequency words do by expected information gain.
        calls: five of them, or all fields of a turn in one.
        reopen: a late finding that the first diagnosis does not explain, or a late medication or allergy,
            leads back to the history.
        search: passages with `text` and `source` for a query, for the plan.
        swap: replaces the state before each turn; a control, see `scrambled`.
    """

    gap: Literal["model", "eig"] = "model"
    calls: Literal["five", "merged"] = "five"
    reopen: bool = True
    search: Callable[[str, int], Sequence[Any]] | None = None
    swap: Callable[[State], State] | None = None

    def __call__(self, heard: Heard) -> Action:
        """Take one turn, with the state swapped first, where that is wanted."""
        self.state = self.swap(self.state) if self.swap else self.state
        return super().__call__(heard)

    def _act(self) -> Action:
        if self.state.phase == "present":
            self._look_up()
        late = self._update()
        phase = self.state.phase
        if late and phase != "history":
            self.state = self.state.flagged("late news")
        if late and self.reopen and phase != "history" and self._left > 0:
            counts = {**self.state.counts, "separating": 0}
            self.state = replace(self.state.moved("history"), counts=counts).flagged("reopened")
            self._kept = {}
            return self._interview(asks=True)
        if phase in ("history", "validate"):
            return self._interview(asks=False)
        return self._plan() if phase == "present" else self._follow()

    def _interview(self, *, asks: bool) -> Action:
        """Rank, then ask what is missing; once nothing is, validate; then present."""
        self._rank()
        if self.state.phase == "history":
            if self._left > 0:
                self._find_gaps()
                if asks or self._gate("go_on", otherwise=True):
                    return self._step(self._ask("reply")) or self._fallback()
            self.state = self.state.moved("validate")
        more = self._left > 0 and self.state.counts.get("separating", 0) < SEPARATING
        if more and not self._gate("valid", otherwise=False):
            self.state = self.state.counted(separating=1)
            return self._step(self._ask("separate")) or self._fallback()
        return self._present()

    def _ask(self, stage: str) -> dict[str, Any] | None:
        """A stage's answer: by a call of its own, or from the one call that asks for all that is left."""
        if stage not in self._kept:
            row = STAGES[self.state.phase]
            group = row[row.index(stage) :] if self.calls == "merged" else (stage,)
            forms = {one: "eig" if one == "gaps" and self.gap == "eig" else one for one in group}
            if len(group) == 1:
                self._kept[stage] = self._call(
                    self.model, group, PROMPTS[forms[stage]], SCHEMAS[forms[stage]]
                )
            else:
                words = "\n".join(
                    [PROMPTS["merged"], *(f"{one}: {PROMPTS[form]}" for one, form in forms.items())]
                )
                properties = {one: SCHEMAS[form] for one, form in forms.items()}
                schema = {"type": "object", "properties": properties, "required": [*group]}
                self._kept |= self._call(self.model, group, words, schema) or dict.fromkeys(group)
        found: dict[str, Any] | None = self._kept.pop(stage)
        return found

    def _gate(self, stage: str, *, otherwise: bool) -> bool:
        data = self._ask(stage)
        return otherwise if data is None else bool(data[stage])

    def _block(self, calls: Sequence[str]) -> dict[str, Any]:
        kept = {name: value for name, value in plain(self.state).items() if name not in UNTOLD}
        now = {"heard": self.state.talk[-1], "library": self._library, "gap": self.gap}
        return {**super()._block(calls), **kept, **now}

    def _update(self) -> bool:
        """Note what was heard and seen. Returns whether it is news that reopens a history."""
        line, turn, late = self.state.talk[-1], len(self.state.talk) - 1, False
        data = self._ask("update") if line.said or line.digest else None
        if data is None:
            return False
        before = {one.name: one.status for one in self.state.findings}
        places, found = read_off(self._reading) if self._reading else {}, []
        for row in data["findings"]:
            seen = row["from"] == "image"
            box = row.get("box") or places.get(row["name"], {}).get("box")
            source, place = (line.digest, tuple(box) if box else None) if seen else (turn, None)
            found.append(Noted(row["name"], row["status"], source, row["quote"], place))
            sure = row["status"] != "unsure" and "often" in row and before.get(row["name"]) != row["status"]
            late |= sure and chance(row["often"], row["status"] == "present") < UNLIKELY
        profile = dict(self.state.profile)
        for name, words in data.get("profile", {}).items():
            held = profile.get(name, ())
            new = tuple(w for w in words if not wordless(w) and not any(same_name(w, one) for one in held))
            profile[name] = held + new
            late |= bool(new) and name in ("medications", "allergies")
        self.state = replace(self.state.noted(found), profile=profile)
        if line.digest and not self._reading and "quality" in data:
            *rest, last = self.state.artefacts
            self.state = replace(self.state, artefacts=(*rest, replace(last, quality=data["quality"])))
        return late

    def _rank(self) -> None:
        """The differential: one entry a name, normalised, what is left under OTHER; invented ids dropped."""
        data = self._ask("rank")
        if data is None:
            return
        known, rows, invented = {one.name for one in self.state.findings}, dict[str, Ranked](), 0
        for row in data["differential"]:
            cited = [row.get("for", []), row.get("against", [])]
            kept = [tuple(dict.fromkeys(name for name in names_ if name in known)) for names_ in cited]
            invented += sum(name not in known for names_ in cited for name in names_)
            name = next((one for one in rows if same_name(one, row["name"])), row["name"])
            rows[name] = Ranked(name, row["p"] + (rows[name].p if name in rows else 0.0), *kept)
        total = sum(one.p for one in rows.values())
        named = [replace(one, p=one.p / max(total, 1.0)) for one in rows.values() if one.name != OTHER]
        rest = max(0.0, 1 - sum(one.p for one in named))
        ranked = sorted(named, key=lambda one: -one.p) + ([Ranked(OTHER, rest)] if rest > 1e-9 else [])
        self.state = replace(self.state, differential=tuple(ranked)).counted(invented=invented)

    def _find_gaps(self) -> None:
        """What is missing, in the model's order or by the information in its frequency words."""
        data = self._ask("gaps")
        if data is None:
            return
        p = np.array([one.p for one in self.state.differential])
        gaps = []
        for row in data["gaps"]:
            weight = row.get("weight", 0.0)
            if self.gap == "eig" and len(p):
                n = len(row["answers"])
                often = [row["often"].get(one.name, ()) for one in self.state.differential]
                weight = information(p, np.array([likelihood(words, n) for words in often]))
            gaps.append(Gap(row["what"], row["kind"], row.get("why", ""), weight))
        if self.gap == "eig":
            gaps.sort(key=lambda gap: -gap.weight)
        self.state = replace(self.state, gaps=tuple(gaps))

    def _fallback(self) -> Action:
        """A step without the model's words: the first gap not asked for yet, else an open question."""
        self.state = self.state.counted(fallbacks=1)
        done = {line.reply for line in self.state.talk}
        for gap in self.state.gaps:
            about = Ask(f"Please tell me about this: {gap.what}.", gap.what)
            data = (
                {"act": "ask", "text": about.text}
                if gap.kind == "text"
                else {"act": "request", "kind": gap.what}
            )
            action = self._step({**data, "about": gap.what})
            if action and told(action) not in done:
                return action
        return Ask(ANYTHING)

    def _look_up(self) -> None:
        """Passages for the plan, found by the first diagnosis and what is present."""
        first = [one.name for one in self.state.differential[:1]]
        query = " ".join(first + [one.name for one in self.state.findings if one.status == "present"])
        hits = self.search(query, HITS) if self.search else ()
        self._library = [
            {"id": f"s{i}", "source": str(hit.source), "text": hit.text[:1500]}
            for i, hit in enumerate(hits, 1)
        ]

    def _plan(self) -> Action:
        data, known = self._ask("plan") or {}, {row["id"]: row["source"] for row in self._library}
        cited = data.get("sources", [])
        self.state = self.state.moved("plan").counted(invented=sum(one not in known for one in cited))
        self.state = self.state if data else self.state.flagged("no plan")
        sources = tuple(dict.fromkeys(known[one] for one in cited if one in known))
        self.state = replace(self.state, plan=data.get("plan", NO_PLAN), sources=sources)
        return Plan(self.state.plan, sources)

    def _follow(self) -> Action:
        """Answer the patient's questions until there is none."""
        self.state = self.state if self.state.phase == "followup" else self.state.moved("followup")
        if not self.state.talk[-1].said:
            return Close()
        data = self._ask("followup")
        self.state = self.state.flagged("question unread") if data is None else self.state
        if data and data["question"] and data["answer"] and self._left > 0:
            self.state = self.state.counted(questions=1)
            return Plan(data["answer"], self.state.sources)
        return Close()


@dataclass(kw_only=True)
class Plain(Chair):
    """The same model with plain prompting: one call a turn asks, requests or ends; one more concludes.

    Attributes:
        budget: calls and tokens of the state-aware arm on the same case; spent on votes of self-consistency,
            spread over the turns that are left, and on the final answer. Calls never go over it.
    """

    budget: Budget | None = None

    def _act(self) -> Action:
        if self.state.phase != "history":
            if self.state.phase == "plan" or not self.state.plan:
                return Close()
            self.state = self.state.moved("plan")
            return Plan(self.state.plan)
        if self._left > 0 and (n := self._votes(self._left + 1)) < self._votes(1):
            data = self._poll("plain", n)
            if data is None or data["act"] != "diagnose":
                return self._step(data) or Ask(ANYTHING)
        data = self._poll("final", self._votes(1)) or {"differential": [], "plan": ""}
        rows = sorted(data["differential"], key=lambda row: -row["p"])
        total = max(1.0, sum(row["p"] for row in rows))
        ranked = tuple(Ranked(row["name"], row["p"] / total) for row in rows)
        self.state = replace(self.state, differential=ranked, plan=data["plan"])
        return self._present()

    def _votes(self, turns: int) -> int:
        """Calls that one of so many turns may spend; without a budget one, and more for the last."""
        if self.budget is None:
            return 1 + (turns == 1)
        calls, tokens = self.state.counts.get("calls", 0), self.state.counts.get("tokens", 0)
        free = math.inf if self.budget.calls is None else self.budget.calls - calls
        if self.budget.tokens is not None and tokens:
            free = min(free, (self.budget.tokens - tokens) / (1.1 * tokens / calls))
        return max(1, int(min(free, MOST_VOTES) / turns))

    def _poll(self, stage: str, n: int) -> dict[str, Any] | None:
        model = self.model
        if self.budget is not None:
            ledger, counts = Ledger(), self.state.counts
            ledger.add("plain", "", Usage(calls=counts.get("calls", 0), tokens_in=counts.get("tokens", 0)))
            model = self_consistency(metered(model, ledger, "plain", budget=self.budget), n, ballot)
        return self._call(model, (stage,), PROMPTS[stage], SCHEMAS[stage])


def ballot(text: str) -> str | None:
    """The vote of a plain reply: its step and its subject, or its first diagnosis; None for no JSON."""
    data, _ = read(Reply(assistant(text)), {"type": "object"})
    if data is None:
        return None
    if rows := data.get("differential"):
        return str(max(rows, key=lambda row: row["p"])["name"])
    return json.dumps([data.get(name, "") for name in ("act", "kind", "about")])


def scrambled(others: Sequence[State]) -> Callable[[State], State]:
    """A swap for `Doctor`: what is known comes from another case's state of the same turn.

    Phase, talk and counts stay, so that the consultation takes its course; a doctor that gains by its state
    must lose by this.

    Args:
        others: the other case's states, turn by turn; the last one stands for later turns.

    Raises:
        ValueError: no states.
    """
    if not others:
        raise ValueError("scrambled needs the states of another case, one a turn")

    def swap(state: State) -> State:
        if not state.talk:
            return state
        other = others[min(len(state.talk), len(others)) - 1]
        return replace(
            state, profile=other.profile, findings=other.findings, artefacts=other.artefacts,
            gaps=other.gaps, differential=other.differential,
        )  # fmt: skip

    return swap


def record(state: State) -> dict[str, Any]:
    """The page that a consultation leaves: differential, plan, findings with their sources, what to doubt."""
    holds = supported(state.findings, state.talk, state.artefacts)
    found = [{**plain(one), "supported": ok} for one, ok in zip(state.findings, holds, strict=True)]
    kept = {name: value for name, value in json.loads(state.to_json()).items() if name in RECORDED}
    return {"note": NOTE, **kept, "findings": found}


def messages(state: State) -> tuple[Message, ...]:
    """The talk as a judge is shown it: the patient's lines and the doctor's, then the record."""
    lines = [m for line in state.talk for m in (user(line.said), assistant(line.reply))]
    return (*lines, assistant(json.dumps(record(state), ensure_ascii=False)))


def moderated(model: ChatModel, name: str, truth: str, *, compat: bool, seed: int) -> str | None:
    """A model's word on whether a diagnosis is the true one; None where it gave none.

    Args:
        model: the moderator.
        name: the diagnosis that was told first.
        truth: the case's.
        compat: as AgentClinic's script counts: only the reply `yes` is "same", all else is "different".
            Otherwise one of same, broader, narrower, different by schema.
        seed: of the call.
    """
    told_ = json.dumps({"call": ["moderate"], "said": name, "true": truth}, ensure_ascii=False)
    if not compat:
        found = ask(model, user(PROMPTS["moderate"] + "\n" + told_), schema=SCHEMAS["moderate"], seed=seed)
        return None if found.data is None else str(found.data["relation"])
    try:
        reply = model(user(PROMPTS["yes"] + "\n" + told_), seed=seed)
    except ChatError:
        return None
    return "same" if reply.text == "yes" else "different"
