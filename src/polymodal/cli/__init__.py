"""The command line: the only folder that prints."""

from polymodal.cli.verbs import app, main

__all__ = ["app", "main"]
