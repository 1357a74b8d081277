"""Text -> tokens -> text, by CLIP's lower-cased byte-pair encoding.

Sources: section 2.4 of the paper (arXiv 2103.00020); vocabulary `bpe_simple_vocab_16e6.txt.gz` from
openai/CLIP (MIT), carried over as data; the encoding itself is Sennrich et al., arXiv 1508.07909.
"""

from __future__ import annotations

import gzip
import html
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

import ftfy
import regex
import torch
from torch import Tensor

from .errors import TextTooLongError

VOCABULARY = Path(__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
START, END = "<|startoftext|>", "<|endoftext|>"
VOCAB_SIZE = 49408
# 512 single bytes (bare, and at the end of a word) and two special tokens are no merges.
MERGES = VOCAB_SIZE - 512 - 2
WORD_END = "</w>"
PATTERN = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)


@cache
def byte_alphabet() -> dict[int, str]:
    """A printable character for each of the 256 bytes, in the vocabulary's order.

    Bytes that print as themselves in Latin-1 come first; the others follow as characters from 256.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + i) for i, byte in enumerate(others)
    }


class SimpleTokenizer:
    """CLIP's byte-pair tokenizer. Holds no state but the vocabulary; safe to share by threads."""

    def __init__(self, vocabulary: str | Path = VOCABULARY) -> None:
        with gzip.open(vocabulary, "rt", encoding="utf-8") as lines:
            next(lines)  # the file's head line names its version
            merges = [tuple(line.split()) for _, line in zip(range(MERGES), lines, strict=False)]
        characters = list(byte_alphabet().values())
        tokens = [*characters, *(c + WORD_END for c in characters)]
        tokens += ["".join(pair) for pair in merges]
        tokens += [START, END]
        self.encoder = {token: number for number, token in enumerate(tokens)}
        self.decoder = {number: token for token, number in self.encoder.items()}
        self.byte_decoder = {c: byte for byte, c in byte_alphabet().items()}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._word = lru_cache(maxsize=65536)(self._encode_word)

    def encode(self, text: str) -> list[int]:
        """The text's token numbers, without start and end."""
        alphabet = byte_alphabet()
        numbers: list[int] = []
        for word in PATTERN.findall(clean(text)):
            numbers += self._word("".join(alphabet[byte] for byte in word.encode("utf-8")))
        return numbers

    def decode(self, tokens: Sequence[int]) -> str:
        """The text that token numbers stand for: lower case, a space after each word."""
        characters = "".join(self.decoder[int(number)] for number in tokens)
        spaced = characters.replace(WORD_END, " ")
        # A space is no character of the byte alphabet: those here are the ends of words.
        data = bytes(self.byte_decoder.get(c, 0x20) for c in spaced)
        return data.decode("utf-8", errors="replace")

    def _encode_word(self, word: str) -> tuple[int, ...]:
        if word in (START, END):
            return (self.encoder[word],)
        parts = [*word[:-1], word[-1] + WORD_END]
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, MERGES))
            if best not in self._ranks:
                break
            merged: list[str] = []
            i = 0
            while i < len(parts):
                if i + 1 < len(parts) and (parts[i], parts[i + 1]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            parts = merged
        return tuple(self.encoder[part] for part in parts)


def clean(text: str) -> str:
    """Mends broken Unicode, resolves HTML entities (twice), folds white space, lowers case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return regex.sub(r"\s+", " ", text).strip().lower()


@cache
def tokenizer() -> SimpleTokenizer:
    """The one tokenizer of this process, read from disk at its first use."""
    return SimpleTokenizer()


def count_tokens(text: str) -> int:
    """How many places of the context a text takes, start and end included."""
    return len(tokenizer().encode(text)) + 2


def tokenize(
    texts: str | Sequence[str], context_length: int = 77, truncate: bool = False
) -> Tensor:
    """One text or several -> token rows [N, context_length], int32, padded with zeros.

    77 is the published context length. With `truncate` a text that is too long is cut and still
    ends in the end token; without, it raises TextTooLongError (a RuntimeError) that names it.
    """
    if isinstance(texts, str):
        texts = [texts]
    start, end = tokenizer().encoder[START], tokenizer().encoder[END]
    rows = torch.zeros(len(texts), context_length, dtype=torch.int)
    for row, text in zip(rows, texts, strict=True):
        tokens = [start, *tokenizer().encode(text), end]
        if len(tokens) > context_length:
            if not truncate:
                raise TextTooLongError(text, len(tokens), context_length)
            tokens = [*tokens[: context_length - 1], end]
        row[: len(tokens)] = torch.tensor(tokens)
    return rows
