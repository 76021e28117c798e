"""What a consultation by a chat model costs beside the model: forms that are checked, and whole turns.

Run from the project's root: `python bench/consulting.py`. It ends with 1 where a floor is missed.
"""

import json
import sys
import time
from typing import Any

from clock import seconds
from diagnosis import CODES, coded, ideal
from jsonschema import Draft202012Validator

from polymodal.chat import Reply, assistant
from polymodal.chat.model import ChatModel, Schema
from polymodal.chat.structured import read
from polymodal.envs.clinic.chair import Traced
from polymodal.envs.clinic.generated import patients
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.clinic.scripted import scripted
from polymodal.envs.play import play
from polymodal.media import Message
from polymodal.systems.clinical_dialogue.data import pocket
from polymodal.systems.clinical_dialogue.method import SCHEMAS, Doctor

RANKED = {"differential": [{"name": f"Disease {i}", "p": 0.1, "for": ["a sign"] * 12} for i in range(10)]}


def forms() -> bool:
    """A reply that ranks ten diseases, read and checked, against jsonschema's check of the same alone."""
    reply, full = Reply(assistant(json.dumps(RANKED))), Draft202012Validator(SCHEMAS["rank"])
    ours = seconds(lambda: [read(reply, SCHEMAS["rank"]) for _ in range(50)], 5) / 50
    peer = seconds(lambda: [[*full.iter_errors(RANKED)] for _ in range(50)], 5) / 50
    print(f"a ranking of ten: {ours * 1e6:.0f} us; {peer / ours:.1f} x (floor 5 x) jsonschema's check")
    return peer / ours >= 5


class Timed:
    """A model that keeps how long it took."""

    def __init__(self, model: ChatModel) -> None:
        self.model, self.name, self.took = model, model.name, 0.0

    def __call__(self, *messages: Message, seed: int, schema: Schema | None = None) -> Reply:
        """Answer as the model does."""
        start = time.process_time()
        said = self.model(*messages, seed=seed, schema=schema)
        self.took += time.process_time() - start
        return said


def turns() -> bool:
    """Twenty questions at most of a scripted doctor; what its own script takes is taken off."""
    clinic, best, n = pocket(), 1.0, 0
    env, names = Consultation(patients(clinic, 1, seed=0, draw=coded), clinic=clinic), clinic.findings
    options: dict[str, Any] = {"readers": {kind: ideal(kind) for kind in CODES}, "kinds": list(CODES)}
    for _ in range(7):
        model = Timed(scripted(clinic, stop=1.0))
        doctor = Traced(Doctor(model=model, terms=[one.name for one in names], turns=20, **options))
        start = time.process_time()
        n = len(list(play(env, doctor, seed=0, limit=60, options={"case": 0})))
        best = min(best, time.process_time() - start - model.took)
    print(f"a consultation of {n} turns: {best * 1e3:.0f} ms, {best / n * 1e3:.2f} ms a turn (floor 2.5 ms)")
    return best / n <= 0.0025


if __name__ == "__main__":
    sys.exit(0 if all([forms(), turns()]) else 1)
