"""Tokens of pocket models: frequent words and numbers 0–31 whole, bytes for the rest."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor

FILE = "tokenizer.json"
MARKS = ("<pad>", "<start>", "<image>", "<end>")  # CLIP in transformers takes an end of 2 for a broken one
NUMBERS = range(32)
SPACE = "Ġ"  # how the byte alphabet spells a space
RARE = 2000  # a word seen less often than once in so many words is spelt in pieces


class Tokens:
    """A byte-level BPE that knows frequent words whole, so that a caption has about as many tokens as words.

    Every text can be spelt and read back, up to blanks at its start. A word carries the blank before it,
    and the first word of a text is taken as if one stood there: "12" and "is 12" end in the same token.
    Marks such as `<end>` come only from here, never from a text that happens to spell them.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True
        found = [tokenizer.token_to_id(mark) for mark in MARKS]
        if None in found:
            missing = ", ".join(m for m, i in zip(MARKS, found, strict=True) if i is None)
            raise ValueError(f"not a tokenizer of pocket models: it lacks {missing}")
        self.pad, self.start, self.image, self.end = (i for i in found if i is not None)

    @classmethod
    def trained(cls, texts: Iterable[str], *, size: int = 512) -> "Tokens":
        """Learns `size` tokens: marks, bytes, numbers, frequent words, then merges of the other words.

        Raises:
            ValueError: `size` leaves no room for marks, bytes and numbers.
        """
        split = _split()
        counts = Counter(w for text in texts for w, _ in split.pre_tokenize_str(text))
        fixed = [*MARKS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
        fixed += [str(n) for n in NUMBERS if n > 9] + [f"{SPACE}{n}" for n in NUMBERS]
        if size < len(fixed):
            raise ValueError(f"{size} tokens are too few: marks, bytes and numbers take {len(fixed)}")
        total = sum(counts.values())
        saved = {w: n * (len(w) - 1) for w, n in counts.items() if len(w) > 1 and n * RARE >= total}
        words = sorted(saved.keys() - set(fixed), key=lambda w: (-saved[w], w))[: size - len(fixed)]
        vocabulary = {token: i for i, token in enumerate([*fixed, *words])}
        rest = Counter({w: n for w, n in counts.items() if w not in vocabulary})
        merges = _merges(rest, vocabulary, size)
        model = models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True)
        return cls(_tokenizer(model, vocabulary))

    @classmethod
    def from_folder(cls, path: str | Path) -> "Tokens":
        """Reads `tokenizer.json` in a folder, or the file itself.

        Raises:
            FileNotFoundError: no such file.
        """
        path = Path(path)
        file = path / FILE if path.is_dir() else path
        if not file.is_file():
            raise FileNotFoundError(f"no tokenizer at {file}")
        return cls(Tokenizer.from_file(str(file)))

    def json(self) -> str:
        """The content of `tokenizer.json`; the tokenizers library and transformers read it too."""
        return str(self._tokenizer.to_str(pretty=False))

    def save(self, folder: Path) -> None:
        """Puts `tokenizer.json` into a folder, by the library's own writer."""
        self._tokenizer.save(str(folder / FILE), pretty=False)

    def __len__(self) -> int:
        """Tokens known, marks included."""
        return int(self._tokenizer.get_vocab_size())

    def ids(self, text: str) -> list[int]:
        """Ids of a text, without start and end."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def count(self, text: str) -> int:
        """Tokens of a text, with start and end."""
        return len(self.ids(text)) + 2

    def text(self, ids: Sequence[int] | Int[Tensor, " t"]) -> str:
        """The text that ids spell, marks dropped."""
        row = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        return str(self._tokenizer.decode(row, skip_special_tokens=True)).removeprefix(" ")

    def batch(
        self, texts: Sequence[str], length: int, *, start: bool = True, end: bool = True
    ) -> Int[Tensor, "b t"]:
        """Texts as one block, padded to the longest of them; longer than `length` ones keep their mark `end`.

        Raises:
            ValueError: `length` has no room for a token between the marks.
        """
        room = length - start - end
        if room < 1:
            raise ValueError(f"{length} positions have no room for a text between its marks")
        rows = [e.ids[:room] for e in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        rows = [[self.start] * start + row + [self.end] * end for row in rows]
        out = torch.full((len(rows), max(map(len, rows), default=0)), self.pad)
        for i, row in enumerate(rows):
            out[i, : len(row)] = torch.tensor(row)
        return out


def _split() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)


def _merges(words: Counter[str], vocabulary: dict[str, int], size: int) -> list[tuple[str, str]]:
    """Merges of pairs within the words, most frequent first; `vocabulary` grows by what they make."""
    if not words or size <= len(vocabulary):
        return []
    learner = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=256 + size,  # more than are kept: some make what is known already
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator((w for w, n in sorted(words.items()) for _ in range(n)), trainer)
    learnt = json.loads(learner.to_str())["model"]["merges"]
    kept = []
    for left, right in learnt:
        if left + right not in vocabulary:
            if len(vocabulary) == size:
                break
            vocabulary[left + right] = len(vocabulary)
        kept.append((left, right))
    return kept


def _tokenizer(model: Any, vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = _split()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    marks = [(mark, vocabulary[mark]) for mark in ("<start>", "<end>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=marks)
    return tokenizer
