"""The token sequences on which every checkpoint of a model is measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from massact.errors import ConfigError, MeasureError, MissingInputError
from massact.extract.token_ids import token_ids

CORPUS = "shakespeare"
REDPAJAMA = "redpajama"
# The files of the sample: one JSON object (document) per line.
REDPAJAMA_FILES = (
    "arxiv_sample.jsonl",
    "book_sample.jsonl",
    "c4_sample.jsonl",
    "cc_2019-30_sample.jsonl",
    "cc_2020-05_sample.jsonl",
    "cc_2021-04_sample.jsonl",
    "cc_2022-05_sample.jsonl",
    "cc_2023-06_sample.jsonl",
    "github_sample.jsonl",
    "stackexchange_sample.jsonl",
    "wikipedia_sample.jsonl",
)


@dataclass(frozen=True)
class Probe:
    """Token sequences and their origin. `chunk` makes a probe from a text, `Probe.of` from your own sequences.

    `first_token` is -1 when sequences begin with text. `source` names the dataset that the text was fetched from.
    """

    tokens: Int[ndarray, "sequence position"]
    text: str
    first_token: int
    source: str = ""

    @classmethod
    def of(cls, tokens: Any, *, text: str = "own", first_token: int | None = None) -> Probe:
        """A probe of your own sequences, all of one length.

        Parameters
        ----------
        tokens : int (sequence, position)
            A tensor, an array, lists of ids or a tokenizer's encoding without padding
            (`massact.extract.token_ids`). Any first token must be included.
        text
            The name of the text in tables.
        first_token
            The id with which every sequence begins, if it is not text, such as <|endoftext|>.

        Raises
        ------
        MeasureError
            When ids have another shape or type, are negative or padded, or do not begin with `first_token`.

        >>> Probe.of([[0, 17, 4], [0, 9, 2]], first_token=0).length
        3
        """
        ids = token_ids(tokens)
        if first_token is not None and (ids[:, 0] != first_token).any():
            raise MeasureError(
                f"not every sequence of the probe begins with token {first_token}",
                "prepend it to each, or leave first_token out",
            )
        return cls(ids, text, -1 if first_token is None else first_token)

    @property
    def length(self) -> int:
        """Tokens in each sequence, the first token included."""
        return int(self.tokens.shape[1])

    @cached_property
    def sha256(self) -> str:
        """Hash of the shape and the ids."""
        header = f"{self.tokens.shape[0]}x{self.tokens.shape[1]}:".encode()
        return hashlib.sha256(header + self.tokens.astype("<i8").tobytes()).hexdigest()


def encode(tokenizer_file: Path, text: str) -> Int[ndarray, " token"]:
    """Token ids of a text by a saved `tokenizer.json`, without special tokens."""
    from tokenizers import Tokenizer

    if not tokenizer_file.is_file():
        raise MissingInputError(
            f"{tokenizer_file} does not exist", "a checkpoint needs its tokenizer.json to be probed with text"
        )
    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise MeasureError(f"{tokenizer_file} is not a tokenizer ({error})", "copy one from another step") from None
    return np.asarray(tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)


def chunk(ids: Int[ndarray, " token"], *, sequences: int, length: int, first_token: int | None, text: str) -> Probe:
    """Consecutive chunks of one stream of ids, as in the reference code of Sun et al. 2024.

    With a `first_token`, each sequence is that token followed by `length - 1` tokens of text.

    Raises
    ------
    ConfigError
        When the text is too short.
    """
    body = length if first_token is None else length - 1
    if len(ids) < sequences * body:
        fitting = len(ids) // body
        raise ConfigError(
            f"the text has {len(ids)} tokens, but {sequences} sequences of {length} need {sequences * body}",
            f"lower probe.sequences to {fitting} or probe.length" if fitting else "lower probe.length",
        )
    rows = ids[: sequences * body].reshape(sequences, body)
    if first_token is not None:
        rows = np.concatenate([np.full((sequences, 1), first_token, dtype=np.int64), rows], axis=1)
    return Probe(rows, text, -1 if first_token is None else first_token)


def sampled_documents(paths: Sequence[Path], *, documents: int, seed: int) -> str:
    """Random documents of JSON-lines files, in the order drawn, joined by blank lines. Reads the files twice.

    Raises
    ------
    ConfigError
        When the files hold fewer documents.
    """
    counts = [sum(1 for _ in _lines(path)) for path in paths]
    if sum(counts) < documents:
        raise ConfigError(f"{len(paths)} files hold {sum(counts)} documents", f"lower probe.documents from {documents}")
    chosen = np.random.RandomState(seed).choice(sum(counts), documents, replace=False)
    selected, texts, first = set(chosen.tolist()), {}, 0
    for path, count in zip(paths, counts, strict=True):
        for number, line in enumerate(_lines(path), start=first):
            if number in selected:
                texts[number] = json.loads(line)["text"]
        first += count
    return "\n\n".join(texts[number] for number in chosen.tolist())


def _lines(path: Path) -> Iterator[bytes]:
    """Lines that end in a line feed. Other separators may occur in JSON strings."""
    with path.open("rb") as file:
        yield from file
