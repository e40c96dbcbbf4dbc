"""The probe of any model: a text in the model's own tokens, given token ids, or random token ids.

The tokenizer is the one saved with the checkpoint. Whether sequences begin with a special token is the tokenizer's own
rule: Llama's puts one in front, GPT-NeoX's does not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from massact.errors import ConfigError, MeasureError, MissingInputError
from massact.extract.probe import Probe, chunk

RANDOM = "random"
LONGEST = 1024  # tokens of a sequence, of a model that reads more and whose configuration states no probe
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json", "spiece.model")
_REMEDY = "give token ids, a text, or random tokens: --probe FILE.npy, FILE.txt or random (probe.text=...)"
_WORD = "a"

Encoder = Callable[[str, bool], list[int]]


def encoder_of(folder: Path) -> Encoder:
    """The tokenizer saved in a folder, as a function of a text and whether to add special tokens.

    Raises
    ------
    MissingInputError
        No tokenizer in the folder.
    MeasureError
        A tokenizer that cannot be read.
    """
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise MissingInputError(f"{folder} has no tokenizer", _REMEDY)
    try:
        if (folder / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
            return lambda text, special: list(fast.encode(text, add_special_tokens=special).ids)
        from transformers import AutoTokenizer

        slow: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        return lambda text, special: list(slow.encode(text, add_special_tokens=special))
    except Exception as error:  # whatever a tokenizer's files make the libraries raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MeasureError(f"the tokenizer in {folder} cannot be read ({reason})", _REMEDY) from None


def first_token_of(encode: Encoder) -> int | None:
    """The special token that a tokenizer puts in front of every text; None if it puts none there.

    >>> first_token_of(lambda text, special: [1, 65] if special else [65])
    1
    >>> first_token_of(lambda text, special: [65, 2] if special else [65]) is None  # one at the end does not count
    True
    """
    plain, special = encode(_WORD, False), encode(_WORD, True)
    in_front = len(special) > len(plain) and special[0] != plain[0] if plain else bool(special)
    return special[0] if in_front else None


def text_probe(folder: Path, text: str, *, name: str, sequences: int, length: int) -> Probe:
    """Consecutive chunks of a text in the tokens of a folder's tokenizer, begun by its own rule.

    Raises
    ------
    MissingInputError, MeasureError
        As `encoder_of`.
    ConfigError
        A text that is too short.
    """
    return encoded_probe(encoder_of(folder), text, name=name, sequences=sequences, length=length)


def encoded_probe(encode: Encoder, text: str, *, name: str, sequences: int, length: int) -> Probe:
    """As `text_probe`, with the tokenizer as a function."""
    ids = np.asarray(encode(text, False), dtype=np.int64)
    return chunk(ids, sequences=sequences, length=length, first_token=first_token_of(encode), text=name)


def random_probe(vocab_size: int, *, sequences: int, length: int, seed: int = 0) -> Probe:
    """Token ids drawn uniformly from a vocabulary; `text` names the seed."""
    ids = np.random.default_rng(seed).integers(0, vocab_size, (sequences, length))
    return Probe(ids, f"{RANDOM} seed {seed}", -1)


def file_probe(path: Path, folder: Path, *, sequences: int, length: int) -> Probe:
    """The first `sequences` of a file: token ids (.npy, of shape (sequence, position)), or a text to be encoded.

    Of an array all positions are read; `length` is for texts.

    Raises
    ------
    MissingInputError
        No such file.
    ConfigError
        An array of another shape or kind, too few sequences, a text that is not UTF-8 or too short.
    MeasureError
        As `encoder_of`.
    """
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist", "give a text or an array of token ids (.npy)")
    if path.suffix == ".npy":
        return Probe.of(_token_array(path, sequences), text=path.name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text ({error})", "save it as UTF-8") from None
    return text_probe(folder, text, name=path.name, sequences=sequences, length=length)


def _token_array(path: Path, sequences: int) -> Int[ndarray, "sequence position"]:
    try:
        ids = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{path} is not an array that numpy saved ({reason})", "write it with numpy.save") from None
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        raise ConfigError(
            f"{path} holds an array of shape {ids.shape} and type {ids.dtype}",
            "save whole numbers of shape (sequence, position)",
        )
    if len(ids) < sequences:
        raise ConfigError(f"{path} holds {len(ids)} sequences, {sequences} are requested", "lower probe.sequences")
    return ids[:sequences]
