"""A patient as a chat model, to whom a person talks as the doctor; and that person's card.

For research, not for care: the card says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from polymodal.chat import ChatError, ChatModel, Ledger, Reply, Usage, assistant, metered, said
from polymodal.envs.clinic import UNSURE, Action, Answer, Ask, Request, Retake
from polymodal.envs.clinic.patient import Consultation, spoken, table_patient
from polymodal.envs.clinic.spoken import Played
from polymodal.envs.clinic.table import betrays
from polymodal.media import Image, Message, Text
from polymodal.systems.rooms.seated import NOTE, OVER, Role, turns
from polymodal.systems.rooms.words import CALLED, understood

if TYPE_CHECKING:
    from polymodal.envs.clinic import Case, Clinic
    from polymodal.envs.clinic.actions import Heard

CASE = "case: "  # before the case's id, in what the partner alone is told
OFTEN, SHOWS = 0.5, 0.3  # P(first value) and P(class) from which a handbook names them
SHELF = 30  # diseases of a clinic at most whose handbook is on the card


def patient(room: Consultation, *, seed: int) -> ChatModel:
    """A patient to talk to: the user's messages are the doctor, the replies are what the environment answers.

    Which case it is stands in a message before the talk, `case: ID`. What the doctor said before is done
    anew at each call, without asking anybody, so a server that was started again goes on as if nothing had
    been. Threads may share it.

    What the doctor's words amount to: see `understood`. No answer of the patient names the diagnosis.

    Args:
        room: the cases, and who answers how.
        seed: of all talks, whatever the calls bring.
    """
    return Playing(room, seed=seed)


class Playing:
    """A patient to whom a person talks; see `patient`."""

    def __init__(self, room: Consultation, *, seed: int) -> None:
        self.room, self.seed = room, seed
        self._places = {room.cases[i].id: i for i in reversed(range(len(room.cases)))}

    @property
    def name(self) -> str:
        """Of the patient, with the model that plays it."""
        side = self.room.patient
        who = side.model.name if isinstance(side, Played) else getattr(side, "__name__", type(side).__name__)
        return f"patient:{who}?manner={self.room.manner}&seed={self.seed}"

    def __call__(self, *messages: Message, seed: int, schema: Any = None) -> Reply:
        """What the patient says or shows next; a schema is not its business.

        Raises:
            ChatError: refused_input, where the doctor has said nothing, or no case of the room is named; what
                the patient's model failed with.
        """
        case, ledger, failed = self._case(messages), Ledger(), list[ChatError]()
        talk = turns(messages)
        last, done = self._done(case, [turn.user for turn in talk], _live(self.room.patient, ledger, failed))
        if failed:
            raise ChatError(failed[-1].reason, f"{self.name}: {failed[-1]}", ledger.total())
        spent = ledger.total()
        usage = spent if spent.calls + spent.cached else Usage(calls=1)  # as a script's
        if isinstance(done, str):
            return Reply(assistant(done), usage)
        leaks = isinstance(last, Ask) and betrays(done["said"], case.diagnosis)
        shown = [Image(done["image"])] if done["image"].size else []
        return Reply(assistant(spoken(UNSURE) if leaks else done["said"], *shown), usage)

    def _done(self, case: Case, talk: Sequence[Any], patient: Any) -> tuple[Action | str, Heard | str]:
        """What the doctor's last words amount to, and what comes of it; nobody answers those before."""
        room, shown, over = self.room, list[str](), False
        ways: dict[str, Any] = {"manner": room.manner, "compat": room.compat, "clinic": room.clinic}
        env = Consultation([case], patient=_mute, aliases=room.aliases, **ways)
        env.reset(seed=self.seed)
        action: Action | str = OVER
        done: Heard | str = OVER
        for n, parts in enumerate(talk, 1):
            env.patient = patient if n == len(talk) else _mute
            text = "\n".join(part.read() for part in parts if isinstance(part, Text))
            action = OVER if over else understood(text, case, self._findings(case), shown, alone=self._table)
            if isinstance(action, str):
                done = action
                continue
            done, _, over, _, _ = env.step(action)
            shown += [action.kind] if isinstance(action, Request | Retake) else []
        return action, done

    @property
    def _table(self) -> bool:
        return self.room.patient is table_patient

    def _findings(self, case: Case) -> Mapping[str, str]:
        """Questions by finding."""
        clinic = self.room.clinic
        return (
            {one.name: one.question for one in clinic.findings}
            if clinic
            else dict.fromkeys(case.findings, "")
        )

    def _case(self, messages: Sequence[Message]) -> Case:
        told = [said(one) for one in messages if one.role == "system"]
        name = next((one.removeprefix(CASE) for one in told if one.startswith(CASE)), "")
        if name not in self._places:
            raise ChatError(
                "refused_input", f"{name!r} is none of {len(self._places)} cases; `{CASE}ID` is wanted"
            )
        return self.room.cases[self._places[name]]


@dataclass(frozen=True, slots=True)
class _Noting:
    """A model whose failures are kept, since a patient is merely not sure where its model fails."""

    model: ChatModel
    failed: list[ChatError]

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    def __call__(self, *messages: Message, seed: int, schema: Any = None) -> Reply:
        """The model's reply. Raises as the model."""
        try:
            return self.model(*messages, seed=seed, schema=schema)
        except ChatError as error:
            self.failed.append(error)
            raise


def _live(side: Any, ledger: Ledger, failed: list[ChatError]) -> Any:
    """Who answers; a model's cost and failures are noted."""
    if not isinstance(side, Played):
        return side
    return replace(side, model=_Noting(metered(side.model, ledger, "patient"), failed))


def _mute(case: Case, ask: Ask, *, seed: int, n: int) -> Answer:
    """Stands for an answer that was given before."""
    return Answer("")


def station(case: Case, clinic: Clinic | None) -> Role:
    """A case as a person can meet it as the doctor: the card, the patient's first words, no diagnosis.

    The card of a clinic with tables of up to 30 diseases holds a handbook: what is often found in each, so
    that who never heard of them can tell them apart.
    """
    told = [f"{NOTE} You are the doctor. The patient is simulated: a program answers what you type."]
    kinds = [f"{kind} ({CALLED[kind][0]})" if kind in CALLED else kind for kind in case.artefacts]
    if kinds:
        told.append(
            f"Can be shown: {', '.join(kinds)}. Ask for one at a time, as in: Please show me the "
            f"{next(iter(case.artefacts))}. Ask again for another take."
        )
    if case.results:
        told.append("Results of tests and examinations are told when you ask for them by name.")
    if clinic is not None and len(clinic.diseases) <= SHELF:
        told.append(f"The patient can tell of: {'; '.join(one.name for one in clinic.findings)}.")
        told.append("\n".join(["What it may be, and what is often found:", *_handbook(clinic)]))
    return Role(
        case.id, case.group or case.id, case.diagnosis, tuple(told), (), case.initial, f"{CASE}{case.id}"
    )


def _handbook(clinic: Clinic) -> list[str]:
    """A line a disease: the findings that most patients have, and the classes that artefacts often show."""
    lines = []
    for d, disease in enumerate(clinic.diseases):
        often = [
            one.name if one.values[0] == "yes" else f"{one.name} {one.values[0]}"
            for j, one in enumerate(clinic.findings)
            if clinic.answers[0, d, j] >= OFTEN
        ]
        for one in clinic.artefacts:
            classes = [c for c, p in zip(one.classes, clinic.shows[one.kind][d], strict=True) if p >= SHOWS]
            often += [f"{one.kind} {' or '.join(classes)}"] if classes and classes != [one.classes[0]] else []
        lines.append(f"{disease.name}: {'; '.join(often) or 'nothing of its own'}")
    return lines
