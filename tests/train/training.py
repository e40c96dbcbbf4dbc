"""What the trainings of the tests are made of: a tiny model, windows of text, a probe."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel

from massact.extract import Probe, RecordStore
from massact.train import LiveMeasurement, Subject

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
