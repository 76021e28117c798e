"""Chairs in an environment: a person who acts, a person who answers, and one who watches."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import typer
from jaxtyping import UInt8

from polymodal.envs.clinic import (
    UNSURE,
    Answer,
    Ask,
    Case,
    Close,
    Plan,
    Present,
    Request,
    Retake,
)
from polymodal.envs.clinic.patient import Consultation, words
from polymodal.envs.play import Turn, shown
from polymodal.envs.trace import is_picture

COLUMNS = 48  # of a picture in the terminal
SHOWN = 0.005  # least chance of a diagnosis that is told by name
HELP = """\
Plain words are a question; a finding's name asks for that finding.
/findings           the names of what can be asked
/request KIND       to be shown something, or the result of a test
/retake KIND        another take of it
/present A .7, B .3 the differential, likeliest first; the chances (with a point) may lack
/plan TEXT          what should be done
/close              the end"""
ANSWER = "Type the answer, or one of the finding's values. End of input leaves."


class Chair:
    """A policy with a person behind it.

    Attributes:
        left: whether the person has gone.
        reward: so far.
    """

    left = False
    reward = 0.0

    def __call__(self, observation: Any) -> Any:
        """The action."""
        raise NotImplementedError

    def told(self, turn: Turn) -> None:
        """What came of it."""
        self.reward += turn.reward

    def typed(self) -> str:
        """A line from the person; "" and `left` at the end of input."""
        try:
            return input("> ").strip()
        except EOFError:
            self.left = True
            return ""


class Doctor(Chair):
    """The person acts; in the clinic in words, elsewhere by what the action space reads."""

    def __init__(self, env: Any) -> None:
        self.env, self.clinic = env, isinstance(env.unwrapped, Consultation)

    def __call__(self, observation: Any) -> Any:
        """Shows what is seen and asks until something can be done."""
        show(observation)
        while line := self._line():
            try:
                action = self._action(line)
            except ValueError as error:
                typer.echo(str(error))
                continue
            if action is not None:
                return action
        return Close() if self.clinic else self.env.unwrapped.null

    def _line(self) -> str:
        """A line that is not empty; "" at the end of input."""
        while not (line := self.typed()) and not self.left:
            pass
        return line

    def told(self, turn: Turn) -> None:
        """The last thing that is seen."""
        super().told(turn)
        if turn.over and self.clinic:
            show(turn.after)

    def _action(self, line: str) -> Any:
        """What a line means; None where it only asked for help."""
        if line.startswith("{"):
            return self.env.action_space.from_jsonable([json.loads(line)])[0]
        if not self.clinic:
            if line not in self.env.action_space:
                raise ValueError(f"that is no action of {self.env.action_space}")
            return line
        if not line.startswith("/"):
            return asked(line, findings(self.env))
        word, _, rest = line[1:].partition(" ")
        return self._command(word, rest.strip())

    def _command(self, word: str, rest: str) -> Any:
        match word:
            case "findings":
                typer.echo(clean(", ".join(findings(self.env)) or "this clinic has no table of findings"))
                return None
            case "close":
                return Close()
            case "request" | "retake" | "present" | "plan" if not rest:
                raise ValueError(f"/{word} wants something behind it; /help says what")
            case "request":
                return Request(rest)
            case "retake":
                return Retake(rest)
            case "present":
                return Present(differential(rest))
            case "plan":
                return Plan(rest)
        typer.echo(HELP)
        return None


class Watching(Chair):
    """A system acts; the person reads along."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def start(self, *, seed: int, goal: str) -> None:
        """Begins the system's episode."""
        if hasattr(self.policy, "start"):
            self.policy.start(seed=seed, goal=goal)

    def __call__(self, observation: Any) -> Any:
        """The system's action."""
        return self.policy(observation)

    def told(self, turn: Turn) -> None:
        """What was seen, and what the system did."""
        super().told(turn)
        show(turn.observation)
        typer.echo(f"doctor: {clean(say(turn.action))}")
        if turn.over and turn.after is not None:
            show(turn.after)


class PatientsChair(Watching):
    """The person answers a system's questions; what the case can show is shown for them."""

    def __init__(self, env: Any, policy: Any) -> None:
        super().__init__(policy)
        if not isinstance(env.unwrapped, Consultation):
            raise ValueError(f"--as patient: {env.unwrapped} has no patient's chair")
        env.unwrapped.patient, self.env = self.answer, env.unwrapped

    def start(self, *, seed: int, goal: str) -> None:
        """Tells the person who they are; never the diagnosis."""
        super().start(seed=seed, goal=goal)
        case = self.env.case
        assert case is not None
        typer.echo(f"You are the patient. You say: {clean(case.initial)}")
        for name, value in case.findings.items():
            typer.echo(f"  {clean(name)}: {clean(value)}")
        typer.echo(ANSWER)

    def answer(self, case: Case, ask: Ask, *, seed: int, n: int) -> Answer:
        """The person's answer; its value where it is one that the finding has."""
        typer.echo(f"doctor: {clean(ask.text or ask.finding)}")
        text = self.typed()
        known = (*self.env.values.get(ask.finding, ("yes", "no")), UNSURE)
        value = next((value for value in known if words(text) == words(value)), "")
        short = {"y": "yes", "n": "no"}.get(text.lower(), text.lower().partition(" ")[0].strip(".,!"))
        value = value or (short if short in known else UNSURE)
        return Answer(text, value if ask.finding else "")

    def told(self, turn: Turn) -> None:
        """What the doctor does besides asking."""
        self.reward += turn.reward
        if not isinstance(turn.action, Ask):
            typer.echo(f"doctor: {clean(say(turn.action))}")
            if isinstance(turn.action, Request | Retake):
                show(turn.after)


def findings(env: Any) -> dict[str, str]:
    """The questions by the names of what can be asked."""
    place = env.unwrapped
    if place.clinic is not None:
        return {one.name: one.question for one in place.clinic.findings}
    return dict.fromkeys(place.action_space.choices.get("finding", ()), "")


def asked(line: str, known: Mapping[str, str]) -> Ask:
    """A question in plain words, and the finding that it names: the longest whose words are all in it."""
    said = words(line)
    for name, question in known.items():
        if said == words(name):
            return Ask(question or line, name)
        if said == words(question):
            return Ask(line, name)
    inside = [name for name in known if {*words(name).split()} <= {*said.split()} and words(name)]
    return Ask(line, max(inside, key=len, default=""))


def differential(text: str) -> tuple[tuple[str, float], ...]:
    """`A .7, B .3`, or `A, B` in equal shares.

    Raises:
        ValueError: nothing named, or a chance outside [0, 1].
    """
    found = []
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        name, chance = re.fullmatch(r"(.*?)(?:(?:^|\s+)(\d*\.\d+))?", part, re.DOTALL).groups()  # type: ignore[union-attr]
        p = float(chance) if chance else 1 / len(parts)
        if not name or p > 1:
            raise ValueError(f"{part!r}: a diagnosis, and behind it a chance from 0 to 1")
        found.append((name, p))
    if not found:
        raise ValueError("name at least one diagnosis")
    return tuple(found)


def say(action: Any) -> str:
    """An action in words."""
    match action:
        case Ask(text, finding):
            return text or finding
        case Request(kind):
            return f"Please show me: {kind}"
        case Retake(kind):
            return f"Please show me another take: {kind}"
        case Present(told):
            some = [(name, p) for name, p in told if p >= SHOWN] or told[:1]
            more = f", and {len(told) - len(some)} more" if len(told) > len(some) else ""
            return "I think of: " + ", ".join(f"{name} ({p:.0%})" for name, p in some) + more
        case Plan(text, sources):
            return f"The plan: {text}" + (f" [{'; '.join(sources)}]" if sources else "")
        case Close():
            return "Goodbye."
    return str(action)


def show(observation: Any) -> None:
    """What is seen: words, and pictures in half blocks."""
    if isinstance(observation, Mapping) and "said" in observation:
        typer.echo(f"patient: {clean(observation['said'])}")
    else:
        for part in shown(observation):
            if isinstance(part, str):
                typer.echo(clean(part))
    for value in observation.values() if isinstance(observation, Mapping) else ():
        if is_picture(value) and value.size:
            draw(value)


def draw(pixels: UInt8[np.ndarray, "h w 3"]) -> None:
    """A picture's size, and on a terminal the picture itself, two pixels a letter."""
    import PIL.Image
    from rich.console import Console
    from rich.text import Text

    height, width = pixels.shape[:2]
    typer.echo(f"[a picture of {width} x {height} pixels]")
    console = Console()
    if not console.is_terminal:
        return
    columns = min(COLUMNS, width, max(1, console.width - 1))
    rows = max(1, round(columns * height / width / 2))
    small = np.asarray(PIL.Image.fromarray(pixels).resize((columns, 2 * rows)))
    picture = Text()
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for up, low in zip(upper, lower, strict=True):
            picture.append("▀", f"rgb({up[0]},{up[1]},{up[2]}) on rgb({low[0]},{low[1]},{low[2]})")
        picture.append("\n")
    console.print(picture, end="")


def clean(text: str) -> str:
    """Words without what a terminal would obey: cases and models write them."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
