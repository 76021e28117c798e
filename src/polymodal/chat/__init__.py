"""Chat: models that answer; scripted, local, remote, cached; strategies; the cost ledger."""
# ruff: isort: skip_file
# fmt: off

from polymodal.chat.cached import Store, cached
from polymodal.chat.connect import connect
from polymodal.chat.ledger import Budget, Ledger, metered
from polymodal.chat.model import (
    ChatError, ChatModel, Decoding, Reply, Schema, Usage, assistant, said, system, turn, user,
)
from polymodal.chat.pool import ordered
from polymodal.chat.scripted import Scripted, uniform
from polymodal.chat.strategies import best_of, debate, self_consistency, verify_and_correct
from polymodal.chat.structured import Asked, ask

__all__ = [
    "Asked", "Budget", "ChatError", "ChatModel", "Decoding", "Ledger", "Reply", "Schema", "Scripted", "Store",
    "Usage", "ask", "assistant", "best_of", "cached", "connect", "debate", "metered", "ordered", "said",
    "self_consistency", "system", "turn", "uniform", "user", "verify_and_correct",
]
