"""The verb `chat`: put one question to a model, with pictures and sounds, and see the cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def chat(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Such as local:pocket-lm; see docs/models.md.")
    ],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to ask.")],
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Shown before it.")] = None,
    *,
    seed: Annotated[int, typer.Option(help="Of the reply, where it is drawn.")] = 0,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest words.")] = 0.0,
    tokens: Annotated[int, typer.Option(min=1, help="The reply's length at most.")] = 400,
) -> None:
    """Ask a model something: the reply on stdout, its cost on stderr."""
    from polymodal.chat import Decoding, connect, user
    from polymodal.media import part_of

    asked = connect(model, decoding=Decoding(tokens=tokens, temperature=temperature))
    reply = asked(user(*(part_of(path) for path in files or ()), text), seed=seed)
    typer.echo(reply.text)
    used = reply.usage
    typer.echo(
        f"{used.calls} call, {used.tokens_in:,} tokens in, {used.tokens_out:,} out, {used.seconds:.2f} s",
        err=True,
    )
