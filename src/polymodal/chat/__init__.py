"""Chat: models that answer; scripted, local, remote, cached; strategies; the cost ledger."""
# ruff: isort: skip_file
# fmt: off

from polymodal.chat.model import (
    ChatError, ChatModel, Decoding, Reply, Usage, assistant, said, system, turn, user,
)

__all__ = [
    "ChatError", "ChatModel", "Decoding", "Reply", "Usage", "assistant", "said", "system", "turn", "user",
]
