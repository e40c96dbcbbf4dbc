"""Train small GPT-NeoX models by Pythia's recipe, and measure models in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy
from massact.recipe import Recipe

if TYPE_CHECKING:
    from massact.train.corpus import read_works, split_works
    from massact.train.data import TrainingText
    from massact.train.live import LiveMeasurement
    from massact.train.loop import TrainSummary, train
    from massact.train.model import build_model, hf_config
    from massact.train.subject import Subject
    from massact.train.tokenizer import train_tokenizer

__all__ = [
    "LiveMeasurement",
    "Recipe",
    "Subject",
    "TrainSummary",
    "TrainingText",
    "build_model",
    "hf_config",
    "read_works",
    "split_works",
    "train",
    "train_tokenizer",
]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "LiveMeasurement": "live",
        "Subject": "subject",
        "TrainSummary": "loop",
        "TrainingText": "data",
        "build_model": "model",
        "hf_config": "model",
        "read_works": "corpus",
        "split_works": "corpus",
        "train": "loop",
        "train_tokenizer": "tokenizer",
    },
)
