"""A consultation by a chat model or an embedded doctor; for research, not for care."""
