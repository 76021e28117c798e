"""Remote models: any OpenAI-compatible endpoint, by the openai SDK over a short wire."""

from polymodal.chat.remote.endpoint import TYPES, Remote, read

__all__ = ["TYPES", "Remote", "read"]
