"""Windows of training text. They depend only on (seed, step), so a resumed run sees the same windows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from massact.disk import storing
from massact.errors import TrainError
from massact.train.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from numpy import ndarray
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TrainingText:
    """A tokenizer and the encoded texts: one stream for training, and one for validation only."""

    tokenizer: PreTrainedTokenizerBase
    stream: Int[ndarray, " token"]
    validation: Int[ndarray, " token"]

    @classmethod
    def of(cls, works: Sequence[str], validation_works: Sequence[str], vocab_size: int) -> TrainingText:
        """Train a tokenizer on the works, and encode works and validation works. The same texts give the same ids.

        Raises
        ------
        StorageError
            When the system's folder for temporary files cannot be written to.
        """
        from transformers import PreTrainedTokenizerFast

        raw = train_tokenizer(works, vocab_size)
        temporary = storing(Path(tempfile.gettempdir()), otherwise="set TMPDIR to another folder")
        with temporary, tempfile.TemporaryDirectory() as scratch:  # the form in which checkpoints store it
            raw.save_pretrained(scratch)
            tokenizer = PreTrainedTokenizerFast.from_pretrained(scratch)
        return cls(tokenizer, encode_works(tokenizer, works), encode_works(tokenizer, validation_works))


def encode_works(tokenizer: PreTrainedTokenizerBase, works: Sequence[str]) -> Int[ndarray, " token"]:
    """All works as one stream of ids, without special tokens between them."""
    ids = [np.asarray(tokenizer(work, add_special_tokens=False)["input_ids"], dtype=np.int64) for work in works]
    return np.concatenate(ids)


def windows_at(
    stream: Int[ndarray, " token"], *, seed: int, step: int, batch: int, window: int, first_token: int | None
) -> Int[Tensor, "batch window"]:
    """The batch of one step: windows from random positions of the stream, each after `first_token` unless None."""
    text = window if first_token is None else window - 1
    if len(stream) < text:
        raise TrainError(f"the text has {len(stream)} tokens, fewer than one window", f"give at least {text}")
    starts = np.random.default_rng((seed, step)).integers(0, len(stream) - text + 1, size=batch)
    rows = stream[starts[:, None] + np.arange(text)]
    if first_token is not None:
        rows = np.concatenate([np.full((batch, 1), first_token), rows], axis=1)
    return torch.from_numpy(rows)
