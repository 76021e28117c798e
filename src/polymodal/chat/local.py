"""Local models: a transformers checkpoint or a pocket model, with pictures where it can see."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any

from polymodal.chat.model import PLAIN, ChatError, Decoding, Reply, Schema, Usage, assistant
from polymodal.media import Image, MediaError, Message, Part, Text

if TYPE_CHECKING:
    from polymodal.nn.decoder.talk import Voice

POCKETS = Path(__file__).parents[1] / "nn" / "pocket"  # known here by its place: nn would load torch


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint in memory.

    Attributes:
        net: the transformers model.
        form: its processor, or its tokenizer where it takes text only.
        sees: whether it takes pictures.
        room: tokens of prompt and reply together, at most.
        picture: the token that stands for a patch of a picture.
        controls: what in a text would be read as the model's own control tokens.
    """

    net: Any
    form: Any
    sees: bool
    room: float
    picture: int | None
    controls: tuple[str, ...]


class Local:
    """A chat model of a local folder or the Hugging Face hub, loaded once, at its first call.

    Any image-text-to-text or causal language model of transformers with a chat template; a checkpoint's own
    code is never run. Its generation config stands, but for what the decoding says. Temperature 0 is greedy,
    else the seed alone decides. One call at a time; more threads wait for each other. A schema is not
    enforced: the prompt has to ask for it. What looks like a control token in a text stays text.

    Args:
        source: a folder as `save_pretrained` writes it, or ORGANISATION/MODEL[@REVISION]. Without a revision
            a hub name means its newest, and equal names may then differ in time.
        decoding: how replies are drawn.
        device: such as `cuda:1`; by default the first GPU, else the CPU.
        dtype: such as `bfloat16`; by default the checkpoint's.

    Raises:
        FileNotFoundError: `source` is a path without a checkpoint.
    """

    def __init__(
        self,
        source: str,
        *,
        decoding: Decoding = PLAIN,
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        folder = Path(source).expanduser()
        if not folder.is_dir() and (folder.is_absolute() or source.startswith(".") or source.count("/") > 1):
            raise FileNotFoundError(f"local:{source}: no such folder")
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise FileNotFoundError(f"local:{source}: no config.json in it, so no checkpoint of transformers")
        self.source, self.decoding, self.device, self.dtype = source, decoding, device, dtype
        self._folder = folder if folder.is_dir() else None
        where = "".join(f" {name}={value}" for name, value in (("device", device), ("dtype", dtype)) if value)
        self.name = f"local:{source}{_stamp(self._folder)} {decoding}{where}"
        self._lock = Lock()
        self._kept: Loaded | None = None

    def __call__(self, *messages: Message, seed: int, schema: Schema | None = None) -> Reply:
        """Answer a conversation.

        Raises:
            ChatError: refused_input, for a part that the model cannot take, a broken or too large picture, a
                talk that its template refuses or that leaves no room for a reply; server, where the
                accelerator has no memory for it.
            OSError: there is no such model, here or on the hub.
            ValueError: the checkpoint is no chat model of a known kind.
            ImportError: its processor needs a package that is not here, as Qwen2-VL's needs torchvision.
        """
        start = perf_counter()
        with self._lock:
            self._kept = loaded = self._kept or self._load()
            inputs = self._inputs(loaded, messages)
            taken = inputs["input_ids"]
            room = int(min(self.decoding.tokens, loaded.room - taken.shape[1]))
            if room < 1:
                raise ChatError(
                    "refused_input",
                    f"a prompt of {taken.shape[1]} tokens, the model has room for {loaded.room}",
                )
            made, first = self._generate(loaded, inputs, room, seed=seed)
        usage = Usage(
            calls=1,
            tokens_in=int(taken.shape[1]),
            tokens_out=len(made),
            image_tokens=0 if loaded.picture is None else int((taken == loaded.picture).sum()),
            seconds=perf_counter() - start,
        )
        ends = loaded.net.generation_config.eos_token_id
        ended = made[-1] in (ends if isinstance(ends, list) else [ends])
        text = loaded.form.decode(made, skip_special_tokens=True)
        return Reply(assistant(text), usage, "stop" if ended else "length", first)

    def network(self) -> Any:
        """The torch module that answers; who changes it, alone, changes the replies. Raises as a call."""
        with self._lock:
            self._kept = self._kept or self._load()
        return self._kept.net

    def _load(self) -> Loaded:
        """The model and its processor; transformers takes seconds to import, so not before the first call."""
        import torch
        import transformers
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

        name, _, revision = (str(self._folder), "", "") if self._folder else self.source.partition("@")
        which: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": False}
        with _explained(self.source):
            config = transformers.AutoConfig.from_pretrained(name, **which)
            sees = config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
            kind: Any = (
                transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
            )
            reader: Any = transformers.AutoProcessor if sees else transformers.AutoTokenizer
            form: Any = reader.from_pretrained(name, **which)
            net: Any = kind.from_pretrained(name, dtype=self.dtype or "auto", **which)
        if not form.chat_template:
            raise ValueError(f"local:{self.source}: it has no chat template, so it is no chat model")
        net.to(self.device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        room = getattr(config.get_text_config(), "max_position_embeddings", None) or math.inf
        known = getattr(form, "tokenizer", form).added_tokens_decoder.values()
        controls = tuple(sorted({token.content for token in known if token.special}, key=len, reverse=True))
        return Loaded(net, form, sees, room, getattr(config, "image_token_id", None), controls)

    def _inputs(self, loaded: Loaded, messages: Sequence[Message]) -> Any:
        """Token ids, and pixels where there are pictures, on the model's device."""
        from jinja2 import TemplateError

        try:
            talk = [{"role": m.role, "content": _content(m.parts, loaded)} for m in messages]
            inputs = loaded.form.apply_chat_template(
                talk, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
            )
        except MediaError as error:
            raise ChatError("refused_input", str(error)) from error
        except (TemplateError, ValueError) as error:  # a talk or picture that the checkpoint was not made for
            raise ChatError("refused_input", f"the model's chat template or processor: {error}") from error
        return inputs.to(loaded.net.device)

    def _generate(
        self, loaded: Loaded, inputs: Any, room: int, *, seed: int
    ) -> tuple[list[int], dict[str, float] | None]:
        """The reply's token ids, and the log-probabilities of candidates for the first."""
        import torch

        drawn = self.decoding.temperature > 0
        config = copy.deepcopy(loaded.net.generation_config)
        config.update(max_new_tokens=room, max_length=None, do_sample=drawn, num_return_sequences=1)
        config.update(
            **{"temperature": self.decoding.temperature, "top_p": self.decoding.top_p} if drawn else {}
        )
        config.top_k = (config.top_k or 0) if drawn else None  # transformers would cut at 50 unasked
        first: dict[str, float] = {}

        def look(_: Any, scores: Any) -> Any:
            if self.decoding.first and not first:
                best = scores[0].float().log_softmax(-1).topk(self.decoding.first)
                for value, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                    word = loaded.form.decode([token])  # some tokens are bytes that look alike in a text
                    first[word] = math.log(math.exp(first.get(word, -math.inf)) + math.exp(value))
            return scores

        device = loaded.net.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.inference_mode():
            torch.manual_seed(seed)
            try:
                out = loaded.net.generate(**inputs, generation_config=config, logits_processor=[look])
            except torch.cuda.OutOfMemoryError as error:
                raise ChatError("server", f"local:{self.source}: {error}") from error
        return out[0, inputs["input_ids"].shape[1] :].tolist(), first or None


class Pocket:
    """A small model of this package's own form, in 32 bits on the CPU, without the seconds of transformers.

    `local:pocket-vlm` and its siblings, and folders made from them, such as merged ones: their config has a
    key `polymodal`. It was taught single questions, so all texts of a talk become lines of one prompt, lower
    case, after at most one picture of any size; a question without a picture goes in blind. Temperature 0 is
    greedy, else the seed alone decides. A schema is not enforced.

    Args:
        source: a pocket model's name or a folder.
        decoding: how replies are drawn.

    Raises:
        FileNotFoundError: no such pocket model.
    """

    def __init__(self, source: str, *, decoding: Decoding = PLAIN) -> None:
        folder = Path(source).expanduser()
        self._folder = folder if folder.is_dir() else POCKETS / source
        if not (self._folder / "config.json").is_file():
            known = ", ".join(sorted(file.parent.name for file in POCKETS.glob("*/config.json"))) or "none"
            raise FileNotFoundError(f"local:{source}: no such pocket model; known here: {known}")
        self.source, self.decoding = source, decoding
        self.name = f"local:{source}{_digest(self._folder)} {decoding}"
        self._lock = Lock()
        self._kept: Voice | None = None

    def __call__(self, *messages: Message, seed: int, schema: Schema | None = None) -> Reply:
        """Answer a conversation.

        Raises:
            ChatError: refused_input, for a part that the model cannot take, a broken or too large picture,
                more than one picture, a text that leaves no room for a reply.
            FileNotFoundError: a file of the model is missing.
            ValueError: its files do not fit each other, or are of another version.
        """
        start = perf_counter()
        voice = self._voice()
        parts = [part for message in messages for part in message.parts]
        kinds = "text and one picture" if voice.sees else "text only"
        for part in parts:
            if not isinstance(part, Text | Image) or (isinstance(part, Image) and not voice.sees):
                raise ChatError(
                    "refused_input", f"a part of kind {part.kind}; this pocket model takes {kinds}"
                )
        pictures = [part for part in parts if isinstance(part, Image)]
        if len(pictures) > 1:
            raise ChatError("refused_input", f"{len(pictures)} pictures; this pocket model takes {kinds}")
        try:
            lines = [part.read() for part in parts if isinstance(part, Text)]
            seen = pictures[0].pixels() if pictures else None
        except MediaError as error:
            raise ChatError("refused_input", str(error)) from error
        taken, room = voice.room(lines, seen is not None)
        if room < 1:
            raise ChatError(
                "refused_input", f"a prompt of {taken} tokens, the model has room for {taken + room}"
            )
        how = self.decoding
        said = voice.say(
            lines,
            seen,
            tokens=how.tokens,
            temperature=how.temperature,
            top_p=how.top_p,
            first=how.first,
            seed=seed,
        )
        usage = Usage(
            calls=1,
            tokens_in=said.taken,
            tokens_out=said.made,
            image_tokens=said.seen,
            seconds=perf_counter() - start,
        )
        return Reply(assistant(said.text), usage, "stop" if said.ended else "length", said.first)

    def network(self) -> Any:
        """The torch module that answers; who changes it, alone, changes the replies. Raises as a call."""
        return self._voice().net

    def _voice(self) -> Voice:
        """The model, loaded by whichever thread comes first; calls then run beside each other."""
        from polymodal.nn.decoder.talk import Voice

        with self._lock:
            self._kept = self._kept or Voice(self._folder)
        return self._kept


def is_pocket(source: str) -> bool:
    """Whether `source` is a pocket model's name, or a folder whose config says that one is in it."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return source.startswith("pocket-") and "/" not in source
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "polymodal" in config


def _content(parts: Sequence[Part], loaded: Loaded) -> Any:
    """What a message says, as chat templates take it; texts without a picture are one text, a line each."""
    if all(isinstance(part, Text) for part in parts):
        words = "\n".join(_plain(part, loaded) for part in parts if isinstance(part, Text))
        return [{"type": "text", "text": words}] if loaded.sees else words
    return [_piece(part, loaded) for part in parts]


def _piece(part: Part, loaded: Loaded) -> dict[str, Any]:
    """A part. Raises ChatError where the model cannot take its kind."""
    match part:
        case Text():
            return {"type": "text", "text": _plain(part, loaded)}
        case Image() if loaded.sees:
            import PIL.Image

            return {"type": "image", "image": PIL.Image.fromarray(part.pixels())}
        case _:
            kinds = "text and pictures" if loaded.sees else "text only"
            raise ChatError("refused_input", f"a part of kind {part.kind}; this local model takes {kinds}")


def _plain(text: Text, loaded: Loaded) -> str:
    """A text that cannot end its own turn: a control token in it is broken by a space and stays words."""
    words = text.read()
    for token in loaded.controls:
        words = words.replace(token, f"{token[:1]} {token[1:]}")
    return words


@contextmanager
def _explained(source: str) -> Iterator[None]:
    """Says in a line what transformers says in many."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        line = (str(error).strip().splitlines() or [""])[0]
        if isinstance(error, OSError):
            what = "neither a checkpoint here nor to be had of the hub"
            raise FileNotFoundError(f"local:{source}: {what}: {line}") from error
        if isinstance(error, ImportError):
            hint = " (pip install torchvision, the build for your torch)" * ("orchvision" in line)
            raise ImportError(f"local:{source}: {line}{hint}") from error
        raise ValueError(f"local:{source}: no chat model that transformers knows: {line}") from error


def _stamp(folder: Path | None) -> str:
    """Eight hex digits that change when a file of the folder is written again."""
    if folder is None:
        return ""
    files = sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in folder.iterdir() if p.is_file())
    return f"#{hashlib.sha256(repr(files).encode()).hexdigest()[:8]}"


def _digest(folder: Path) -> str:
    """Eight hex digits of what a pocket model's replies come from: the same on every machine."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        file = folder / name
        digest.update(file.read_bytes() if file.is_file() else b"")
    return f"#{digest.hexdigest()[:8]}"
