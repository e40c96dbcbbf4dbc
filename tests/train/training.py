"""Parts of the trainings in the tests: a tiny model, windows of text, a probe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel

from massact import Architecture
from massact.extract import Measurement, Probe, RecordStore
from massact.extract.probe import chunk
from massact.fit import fit_table
from massact.train import LiveMeasurement, Subject, TrainingText, build_model, read_works, split_works
from massact.train.data import windows_at
from massact.trajectories import aggregate

TEXT = torch.tensor(list(("It was the best of times, it was the worst of times. " * 40).encode()))
TOKENS = torch.cat([torch.zeros(2, 1, dtype=torch.long), TEXT[:14].reshape(2, 7)], dim=1)
PROBE = Probe.of(TOKENS, first_token=0)
BATCH, WINDOW = 4, 8


def tiny_gpt2(seed: int = 0) -> GPT2LMHeadModel:
    """Two layers with dropout, so that an eye is kept on the random state."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=256, n_positions=WINDOW))


class Windows(Dataset):
    """Windows of the text, each begun with token 0."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        begin = 13 * index % (len(TEXT) - WINDOW)
        ids = torch.cat([torch.zeros(1, dtype=torch.long), TEXT[begin : begin + WINDOW - 1]])
        return {"input_ids": ids, "labels": ids}


def live(folder, model, steps, **more) -> LiveMeasurement:
    subject = Subject.of_model(model, name="tiny", tokens_per_step=BATCH * WINDOW)
    return LiveMeasurement(
        subject, PROBE, steps, store=RecordStore(folder / "records"), journal=folder / "measured.json", **more
    )


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


CORPUS = Path(__file__).parents[2] / "data" / "corpus" / "shakespeare.txt.gz"
REAL_BATCH, REAL_WINDOW, REAL_STEPS = 32, 32, 768
REAL = Architecture(n_layers=3, d_model=64, n_heads=2, d_mlp=256, vocab_size=512, context=REAL_WINDOW)


class Shipped(Dataset):
    """The shipped text as the pocket family sees it, and held-out sequences of it to measure on."""

    def __init__(self) -> None:
        works, held_out = split_works(read_works(CORPUS), 2)
        text = TrainingText.of(works, held_out, REAL.vocab_size)
        self.probe = chunk(text.validation, sequences=10, length=REAL_WINDOW, first_token=0, text="shakespeare")
        steps = [
            windows_at(text.stream, seed=0, step=step, batch=REAL_BATCH, window=REAL_WINDOW, first_token=0)
            for step in range(REAL_STEPS)
        ]
        self.rows = torch.cat(steps)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[index], "labels": self.rows[index]}

    def live(self, folder: Path, steps: list[int]) -> LiveMeasurement:
        subject = Subject(
            family="own", recipe="shipped", model="real", architecture=REAL.as_dict(),
            tokens_per_step=REAL_BATCH * REAL_WINDOW,
        )  # fmt: skip
        return LiveMeasurement(
            subject, self.probe, steps, store=RecordStore(folder / "records"), journal=folder / "measured.json"
        )


def real_model() -> torch.nn.Module:
    return build_model(REAL, 0)


def assert_spike_appeared(live: LiveMeasurement) -> None:
    """A training that learned, by what was measured of it; and its table goes through a fit."""
    measured = live.result().measured
    first, last = measured[0], measured[REAL_STEPS]
    assert last.ratio.mean(0).max() > 1.5 * first.ratio.mean(0).max()
    # The spike is on the first token, in one dimension, in most sequences.
    layer = int(last.ratio.mean(0).argmax())
    assert (last.token[:, layer, 0] == 0).mean() > 0.5
    assert np.bincount(last.dimension[:, layer, 0]).max() > 5
    fits = fit_table(aggregate(live.records()), live.subject.architecture, form="eq9", quantities=["ratio"])
    assert len(fits) == REAL.n_layers
    assert fits["r2"].min() > 0.5


def assert_same(a: Measurement, b: Measurement) -> None:
    assert all(np.array_equal(a.arrays()[name], b.arrays()[name]) for name in a.arrays())
