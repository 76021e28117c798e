"""The bridge to Inspect AI: its models as chat models, and chat models as models of its."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from polymodal.chat.connect import connect
from polymodal.chat.model import (
    PLAIN,
    ChatError,
    ChatModel,
    Decoding,
    Failure,
    Reply,
    Schema,
    Stop,
    Usage,
    assistant,
    turn,
)
from polymodal.chat.pool import line
from polymodal.chat.remote import TYPES
from polymodal.media import Audio, Image, MediaError, Message, Part, Text

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelAPI, ModelOutput, ResponseSchema

HERE = ("mockllm", "hf")  # providers that answer on this machine: nothing leaves it
STOPS: Mapping[str, Stop] = {"max_tokens": "length", "model_length": "length", "content_filter": "filter"}


class Inspected:
    """A chat model of any provider of Inspect AI, with its keys, retries and time-outs.

    Args:
        source: PROVIDER/MODEL as `inspect eval --model` takes it.
        decoding: how replies are drawn.

    Raises:
        ValueError: Inspect knows no such provider, or lacks its key or package.
        ModuleNotFoundError: inspect_ai is not installed.
    """

    def __init__(self, source: str, *, decoding: Decoding = PLAIN) -> None:
        from inspect_ai import model as models

        self.source, self.decoding = source, decoding
        self.name = f"inspect:{source} {decoding}"
        try:
            self._model = models.get_model(source)
        except Exception as error:  # Inspect's own kinds of error, and those of thirty providers
            raise ValueError(f"inspect:{source}: {error}") from error

    def __call__(self, *messages: Message, seed: int, schema: Schema | None = None) -> Reply:
        """Answer a conversation; providers without a seed or a schema go without.

        Raises:
            ChatError: refused_input, for a part that is neither text, picture nor sound, or cannot be read;
                no_output; and what the provider failed with.
        """
        start = perf_counter()
        asked = [outgoing(message) for message in messages]
        usage = Usage() if self.source.partition("/")[0] in HERE else sent(messages)
        config = self._config(schema, seed=seed)
        try:
            output = self._wait(lambda: self._model.generate(asked, config=config))
        except Exception as error:  # of thirty providers
            raise ChatError(_failure(error), f"inspect:{self.source}: {error}", usage) from error
        usage += Usage(seconds=perf_counter() - start)
        if output.usage:
            cached = (output.usage.input_tokens_cache_read or 0) + (
                output.usage.input_tokens_cache_write or 0
            )
            taken, made = output.usage.input_tokens + cached, output.usage.output_tokens
            usage += Usage(tokens_in=taken, tokens_out=made)
        if output.empty:
            raise ChatError("no_output", f"inspect:{self.source}: {output.error or 'an empty reply'}", usage)
        usage += Usage(calls=1)
        return Reply(
            assistant(output.completion), usage, STOPS.get(output.stop_reason, "stop"), _first(output)
        )

    def _config(self, schema: Schema | None, *, seed: int) -> GenerateConfig:
        return _settings(self.decoding, schema, seed=seed)

    def _wait(self, make: Callable[[], Any]) -> Any:
        return line().run(make)


class Evaluated(Inspected):
    """The model of a running eval, for who talks to it on a thread of `anyio.to_thread` in a solver.

    Its calls run on the eval's own loop, so that they stand in the sample's log and count against its limits;
    how replies are drawn is the eval's to say. A limit that is met ends the talk as a budget would.

    Args:
        model: of Inspect's.

    Attributes:
        failed: with what the last call failed, as Inspect has it; None after a reply.
    """

    def __init__(self, model: Model) -> None:
        self.source, self.decoding, self._model = str(model), PLAIN, model
        self.name = f"inspect:{model}"
        self.failed: Exception | None = None

    def _config(self, schema: Schema | None, *, seed: int) -> GenerateConfig:
        from inspect_ai.model import GenerateConfig

        return GenerateConfig(seed=seed, response_schema=_form(schema))

    def _wait(self, make: Callable[[], Any]) -> Any:
        import anyio.from_thread

        try:
            self.failed = None
            return anyio.from_thread.run(make)
        except Exception as error:
            self.failed = error
            raise


def _form(schema: Schema | None) -> ResponseSchema | None:
    from inspect_ai.model import ResponseSchema
    from inspect_ai.util import JSONSchema

    if schema is None:
        return None
    return ResponseSchema(name="reply", json_schema=JSONSchema.model_validate(dict(schema)))


def _settings(decoding: Decoding, schema: Schema | None, *, seed: int) -> GenerateConfig:
    from inspect_ai.model import GenerateConfig

    return GenerateConfig(
        max_tokens=decoding.tokens,
        temperature=decoding.temperature,
        top_p=decoding.top_p if decoding.top_p < 1 else None,  # some services refuse it beside a temperature
        seed=seed,
        logprobs=True if decoding.first else None,
        top_logprobs=decoding.first or None,
        response_schema=_form(schema),
    )


def _first(output: ModelOutput) -> dict[str, float] | None:
    """Candidates for the first token, where the provider gives them."""
    logprobs = output.choices[0].logprobs
    if not logprobs or not logprobs.content or not logprobs.content[0].top_logprobs:
        return None
    return {one.token: one.logprob for one in logprobs.content[0].top_logprobs}


def _failure(error: Exception) -> Failure:
    """The reason in our words: by the HTTP status where the provider's error carries one."""
    if type(error).__name__ == "LimitExceededError":  # of a sample of Inspect's
        return "over_budget"
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    if isinstance(error, TimeoutError) or "timeout" in type(error).__name__.lower() or status == 408:
        return "timeout"
    if status == 429:
        return "rate_limit"
    return "refused_input" if status in (400, 413, 415, 422) else "server"


def sent(messages: Sequence[Message]) -> Usage:
    """The bytes and pixels of messages, as they leave the machine."""
    parts = [part for message in messages for part in message.parts]
    texts = sum(len(part.read().encode()) for part in parts if isinstance(part, Text))
    pictures = [part for part in parts if isinstance(part, Image)]
    sizes = [part.size() for part in pictures]
    media = sum(len(part.encoded()) for part in pictures)
    return Usage(bytes_out=texts + media, pixels_out=sum(width * height for width, height in sizes))


def outgoing(message: Message) -> ChatMessage:
    """A message as Inspect has it, media as data URLs of their own bytes.

    Raises:
        ChatError: refused_input, for a role or part that Inspect does not have, or media that cannot be read.
    """
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds: dict[str, Any] = {
        "user": ChatMessageUser,
        "assistant": ChatMessageAssistant,
        "system": ChatMessageSystem,
    }
    if message.role not in kinds:
        raise ChatError("refused_input", f"role {message.role!r} is none of {', '.join(kinds)}")
    try:
        content = [_outgoing(part) for part in message.parts]
    except MediaError as error:
        raise ChatError("refused_input", str(error)) from error
    return kinds[message.role](content=content)  # type: ignore[no-any-return]


def _outgoing(part: Part) -> Any:
    from inspect_ai.model import ContentAudio, ContentImage, ContentText

    match part:
        case Text():
            return ContentText(text=part.read())
        case Image():
            part.size()  # no broken picture leaves
            return ContentImage(image=data_url(TYPES[part.suffix()], part.encoded()))
        case Audio():
            return ContentAudio(
                audio=data_url("audio/wav", Audio(part.wave(), part.rate()).encoded()), format="wav"
            )
        case _:
            raise ChatError("refused_input", f"a part of kind {part.kind}; Inspect takes text, image, audio")


def data_url(kind: str, data: bytes) -> str:
    """Bytes of a MIME type as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def incoming(message: ChatMessage) -> Message:
    """A message of Inspect's as ours; addresses are not fetched.

    Raises:
        ChatError: refused_input, for content that chat models do not take.
    """
    if message.role not in ("user", "assistant", "system"):
        raise ChatError("refused_input", f"a message of role {message.role}: these models call no tools")
    content = message.content if isinstance(message.content, list) else [message.content]
    parts = (_incoming(one) for one in content if getattr(one, "type", "") != "reasoning")
    return turn(message.role, *parts)


def _incoming(content: Any) -> Part | str:
    if isinstance(content, str):
        return content
    match content.type:
        case "text":
            return str(content.text)
        case "image":
            return Image(_source(content.image))
        case "audio":
            return Audio(_source(content.audio))
        case kind:
            raise ChatError("refused_input", f"content of type {kind}")


def _source(where: str) -> bytes | Path:
    if where.startswith("data:"):
        return base64.b64decode(where.partition(",")[2])
    if "://" in where:
        raise ChatError("refused_input", f"{where[:80]}: addresses are not fetched")
    return Path(where)


def provider(scripts: Mapping[str, Callable[..., ChatModel]]) -> type[ModelAPI]:
    """The class of Inspect's provider `polymodal`: every string that `connect` takes is a model of it.

    Args:
        scripts: by name, for `polymodal/scripted:NAME`.
    """
    from inspect_ai.model import GenerateConfig, ModelAPI

    class Connected(ModelAPI):
        """A chat model as Inspect's."""

        def __init__(
            self,
            model_name: str,
            base_url: str | None = None,
            api_key: str | None = None,
            config: GenerateConfig = GenerateConfig(),  # noqa: B008 - Inspect's own default
            **model_args: Any,
        ) -> None:
            super().__init__(model_name, base_url, api_key, [], config)
            if model_args:
                raise ValueError(f"-M {', '.join(model_args)}: not known; options stand in the model's name")
            self._connected: dict[Decoding, ChatModel] = {}
            self._at(config)  # a wrong name ends the eval before its first sample

        def _at(self, config: GenerateConfig) -> ChatModel:
            given = {"tokens": config.max_tokens, "temperature": config.temperature, "top_p": config.top_p}
            decoding = Decoding(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
            if decoding not in self._connected:
                self._connected[decoding] = connect(self.model_name, decoding=decoding, scripts=scripts)
            return self._connected[decoding]

        async def generate(
            self, input: list[ChatMessage], tools: list[Any], tool_choice: Any, config: GenerateConfig
        ) -> ModelOutput:
            """Answer, on a thread: chat models wait."""
            import anyio.to_thread

            if tools:
                raise ValueError("these models call no tools")
            talk = [incoming(message) for message in input]
            model = self._at(config)
            form = config.response_schema
            schema = form.json_schema.model_dump(exclude_none=True) if form else None
            seed = config.seed or 0
            reply = await anyio.to_thread.run_sync(lambda: model(*talk, seed=seed, schema=schema))
            return _output(self.model_name, reply)

    return Connected


def _output(model: str, reply: Reply) -> ModelOutput:
    """A reply as Inspect's."""
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage

    stop: Any = {"length": "max_tokens", "filter": "content_filter"}.get(reply.stop, "stop")
    message = ChatMessageAssistant(content=reply.text, source="generate", model=model)
    taken, made = reply.usage.tokens_in, reply.usage.tokens_out
    return ModelOutput(
        model=model,
        choices=[ChatCompletionChoice(message=message, stop_reason=stop)],
        usage=ModelUsage(input_tokens=taken, output_tokens=made, total_tokens=taken + made),
    )
