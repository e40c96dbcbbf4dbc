"""A small training text: excerpts of the shipped one, so that tests take seconds instead of minutes."""

from __future__ import annotations

from pathlib import Path

from massact.train import read_works
from massact.train.corpus import write_works

SHIPPED = Path(__file__).parents[1] / "data/corpus/shakespeare.txt.gz"


def small_corpus(folder: Path, works: int = 4, characters: int = 20_000) -> Path:
    """The beginnings of the first works, in a corpus file of the same form."""
    path = folder / "small.txt.gz"
    write_works([work[:characters] for work in read_works(SHIPPED)[:works]], path)
    return path
