"""One evaluation of the storm: asks a server for forms, keeps the replies, writes what came of it."""

import json
import sys
from pathlib import Path

from polymodal.chat import Asked, ChatModel, Ledger, ask, metered, ordered, user
from polymodal.chat.cached import cached
from polymodal.chat.remote import Remote
from polymodal.media import Message
from polymodal.runs import Cache

SCHEMA = {
    "type": "object",
    "required": ["label", "item"],
    "properties": {"label": {"enum": [0, 1]}, "item": {"type": "integer"}},
}


def question(item: int) -> Message:
    return user(f"item {item}: odd or even?")


def evaluated(model: ChatModel, items: int, threads: int) -> list[Asked]:
    def one(item: int) -> Asked:
        return ask(model, question(item), schema=SCHEMA, seed=item)

    return list(ordered(one, range(items), threads=threads))


def remote(url: str) -> Remote:
    return Remote("m", url, retries=5, timeout=1.0)


def main(url: str, store: Path, out: Path, items: int, threads: int) -> None:
    ledger = Ledger()
    with Cache(store) as cache:
        model = metered(cached(remote(url), cache), ledger, "judge")
        data = [asked.data or asked.reason for asked in evaluated(model, items, threads)]
    out.write_text(json.dumps({"data": data, "rows": ledger.rows(), "total": ledger.total().to_json()}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
