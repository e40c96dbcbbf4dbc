"""What the screens of recipes share: one training, measured as it goes, of which nothing else is kept."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROBE_SEQUENCES = 10
HELD_OUT_WORKS = 2


@dataclass(frozen=True)
class Screened:
    """Measurements in the order of steps, what `train` says at the end, and how long it took."""

    measured: list[Any]
    summary: Any
    seconds: float

    @property
    def ratios(self) -> list[Any]:
        """Ratio of means (layer,) at each measured step."""
        return [m.top[..., 0].mean(0) / m.median.mean(0) for m in self.measured]


def screen(name: str, architecture: Any, recipe: Any, seed: int = 0) -> Screened:
    """Train once on the shipped text, one thread, measured at the recipe's checkpoints on held-out text."""
    import torch
    from transformers.utils import logging as hf_logging

    from massact.extract import measure
    from massact.extract.probe import chunk
    from massact.recipe import checkpoint_steps
    from massact.train import TrainingText, read_works, split_works, train
    from massact.train.data import encode_works

    hf_logging.disable_progress_bar()
    torch.set_num_threads(1)
    works, held_out = split_works(read_works(Path("data/corpus/shakespeare.txt.gz")), HELD_OUT_WORKS)
    text = TrainingText.of(works, held_out, recipe.vocabulary)
    ids = encode_works(text.tokenizer, ["\n\n".join(held_out)])
    probe = chunk(ids, sequences=PROBE_SEQUENCES, length=recipe.window, first_token=recipe.first_token, text="held out")
    wanted = set(checkpoint_steps(recipe.steps, recipe.checkpoints))
    measured: list[Any] = []

    def watch(step: int, model: Any) -> None:
        if step in wanted:
            measured.append(measure(model, torch.from_numpy(probe.tokens)))

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        summary = train(
            architecture,
            recipe,
            Path(scratch),
            name=name,
            seed=seed,
            text=text,
            watch=watch,
            keep_checkpoints=False,
            progress=False,
        )
    return Screened(measured, summary, time.perf_counter() - began)
