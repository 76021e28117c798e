"""What verbs share: a wrong one is answered with what is known; KEY=VALUE."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from polymodal.systems import shelf


class Verbs(TyperGroup):
    """Verbs, and for a wrong one the verbs that are known."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb; a wrong one is answered with what is known."""
        if self.get_command(ctx, args[0]) is None:
            raise LookupError(f"verb {shelf.suggest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def pair(text: str) -> tuple[str, str]:
    """`KEY=VALUE` taken apart.

    Raises:
        ValueError: no `=` in it.
    """
    key, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"-o {text}: expected KEY=VALUE")
    return key, value
