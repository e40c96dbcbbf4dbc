"""Untrained models against the published measurements of Pythia's step 0, layer by layer.

    python benchmarks/untrained_anchor.py --sizes 14m 160m --seeds 5

GPT-NeoX of a Pythia's true shapes with Pythia's initialisation, measured on uniformly random tokens (10 x 2,048), must
give what the published files hold for the untrained checkpoint: that pins hook point, absolute value, median and layer
indexing to the published data without Pythia's weights. Spread: standard deviation over seeds in % of their mean.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import torch

from massact import Architecture
from massact.extract import Measurement, measure
from massact.train import build_model
from massact.trajectories.paper_format import parse_stats

PUBLISHED = Path(__file__).parents[1] / "tests" / "data" / "published_stats"
SHAPES = {"14m": (6, 128, 4), "160m": (12, 768, 12)}
VOCABULARY = 50304
SEQUENCES, LENGTH = 10, 2048


def architecture(size: str) -> Architecture:
    layers, width, heads = SHAPES[size]
    return Architecture(
        n_layers=layers, d_model=width, n_heads=heads, d_mlp=4 * width, vocab_size=VOCABULARY, context=LENGTH
    )


def random_tokens(law: str, generator: torch.Generator) -> torch.Tensor:
    """10 x 2,048 ids, uniform or by Zipf's law (which id is how frequent is random too)."""
    if law == "uniform":
        return torch.randint(VOCABULARY, (SEQUENCES, LENGTH), generator=generator)
    ids = torch.randperm(VOCABULARY, generator=generator)
    share = 1 / torch.arange(1, VOCABULARY + 1, dtype=torch.float64)
    drawn = torch.multinomial(share, SEQUENCES * LENGTH, replacement=True, generator=generator)
    return ids[drawn].reshape(SEQUENCES, LENGTH)


def untrained(size: str, seed: int, *, tokens: str = "uniform", weights: str = "float32") -> Measurement:
    """An untrained model of this seed, measured in float32 on random tokens of a seed of their own."""
    model = build_model(architecture(size), seed).to(getattr(torch, weights)).float().eval()
    return measure(model, random_tokens(tokens, torch.Generator().manual_seed(1000 + seed)))


def anchor_table(size: str, measured: list[Measurement]) -> pd.DataFrame:
    """One row a layer: published, ours (mean over seeds), deviation and spread over seeds, of median and ratio."""
    stats = parse_stats((PUBLISHED / f"exp2_pythia_{size}_step0").read_text(encoding="utf-8"))
    published = {"median": stats[:, 3].mean(0), "ratio": stats[:, 0].mean(0) / stats[:, 3].mean(0)}
    medians = np.stack([m.median.mean(0, dtype=np.float64) for m in measured])
    tops = np.stack([m.top[..., 0].mean(0, dtype=np.float64) for m in measured])
    columns = {}
    for name, ours in {"median": medians, "ratio": tops / medians}.items():
        columns |= {
            f"{name}, published": published[name],
            f"{name}, ours": ours.mean(0),
            f"{name}, deviation %": 100 * (ours.mean(0) / published[name] - 1),
            f"{name}, spread %": 100 * ours.std(0, ddof=1) / ours.mean(0) if len(ours) > 1 else np.nan,
        }
    return pd.DataFrame(columns).rename_axis("layer")


def largest_deviations(table: pd.DataFrame) -> dict[str, float]:
    """Over layers, in %."""
    return {name: float(table[f"{name}, deviation %"].abs().max()) for name in ("median", "ratio")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tokens", default="uniform", choices=("uniform", "zipf"))
    parser.add_argument("--weights", default="float32", choices=("float32", "float16"))
    args = parser.parse_args()
    for size in args.sizes:
        began = time.perf_counter()
        measured = [untrained(size, seed, tokens=args.tokens, weights=args.weights) for seed in range(args.seeds)]
        table = anchor_table(size, measured)
        seconds = time.perf_counter() - began
        print(f"{size}, {args.seeds} seeds, {args.tokens} tokens, {args.weights} weights, {seconds:.0f} s")
        print(table.to_string(float_format=lambda value: f"{value:.4g}"))
        worst = largest_deviations(table)
        print(f"largest deviation: median {worst['median']:.2f} %, ratio {worst['ratio']:.2f} %\n")


if __name__ == "__main__":
    main()
