"""What makes the spike larger at pocket size: train variants of one recipe, one thread each, measured as they train.

    python benchmarks/recipe_screen.py                 # all variants not yet in docs/recipe_screen.csv
    python benchmarks/recipe_screen.py base lr10       # these
    python benchmarks/recipe_screen.py --table         # the table as Markdown

A finished variant is one row of docs/recipe_screen.csv and is not trained again.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import sys
from pathlib import Path
from typing import Any

import pandas as pd

from massact import Architecture
from massact.recipe import Recipe
from screening import screen

OUT = Path("docs/recipe_screen.csv")
BASE: dict[str, Any] = {
    "layers": 4,
    "width": 128,
    "heads": 4,
    "mlp_ratio": 4,
    "steps": 1024,
    "batch": 16,
    "window": 64,
    "learning_rate": 5e-3,
    "warmup": 32,
    "weight_decay": 0.1,
    "epsilon": 1e-8,
    "beta2": 0.95,
    "seed": 0,
}
SHORT = {"window": 32, "batch": 32}
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "lr10": {"learning_rate": 1e-2},
    "lr20": {"learning_rate": 2e-2},
    "wd0": {"weight_decay": 0.0},
    "wd30": {"weight_decay": 0.3},
    "w32b32": SHORT,
    "w128b8": {"window": 128, "batch": 8},
    "b8": {"batch": 8},
    "H1": {"heads": 1},
    "H8": {"heads": 8},
    "d192": {"width": 192},
    "mlp8": {"mlp_ratio": 8},
    "L2": {"layers": 2},
    "eps": {"epsilon": 1e-5},
    "b2_99": {"beta2": 0.99},
    "w32b32lr10": {**SHORT, "learning_rate": 1e-2},
    "w16b64": {"window": 16, "batch": 64},
    "w16b64lr10": {"window": 16, "batch": 64, "learning_rate": 1e-2},
    "w32b16": {"window": 32, "batch": 16},
    "w32b64lr10": {"window": 32, "batch": 64, "learning_rate": 1e-2},
    "w32b32s2048": {**SHORT, "steps": 2048},
    "w32b32wd0": {**SHORT, "weight_decay": 0.0},
    "w32b32H1": {**SHORT, "heads": 1},
    "w32b32eps5": {**SHORT, "epsilon": 1e-5},
    "w32b32warm128": {**SHORT, "warmup": 128},
    "w32b32s3": {**SHORT, "seed": 1},
    "w32b32lr7d192": {**SHORT, "learning_rate": 7e-3, "width": 192},
    "w32b32lr10d192H2": {**SHORT, "learning_rate": 1e-2, "width": 192, "heads": 2},
    "w32b32d96L3": {**SHORT, "learning_rate": 7e-3, "width": 96, "layers": 3},
    "w32b32d64L6lr8": {**SHORT, "learning_rate": 8e-3, "width": 64, "layers": 6},
    "d64L6lr10": {"learning_rate": 1e-2, "width": 64, "layers": 6},
    "w32b32lr10L6d64H2": {**SHORT, "learning_rate": 1e-2, "width": 64, "layers": 6, "heads": 2},
    "w32b32lr10s4096": {**SHORT, "learning_rate": 1e-2, "steps": 4096},
    "w16b64s4096lr7": {"window": 16, "batch": 64, "learning_rate": 7e-3, "steps": 4096},
    "L6d64known": {"learning_rate": 8e-3, "width": 64, "layers": 6, "steps": 2896},
    "L8d48w32lr10s3072": {**SHORT, "learning_rate": 1e-2, "width": 48, "layers": 8, "heads": 2, "steps": 3072},
    "L6d64wd30s3072": {
        **SHORT, "learning_rate": 1e-2, "width": 64, "layers": 6, "heads": 2, "steps": 3072, "weight_decay": 0.3,
    },
    "L8d64H4s4096": {**SHORT, "learning_rate": 1e-2, "width": 64, "layers": 8, "steps": 4096},
    "L3d96wd100": {**SHORT, "learning_rate": 7e-3, "width": 96, "layers": 3, "steps": 2048, "weight_decay": 1.0},
    "L3d96wd300": {**SHORT, "learning_rate": 7e-3, "width": 96, "layers": 3, "steps": 2048, "weight_decay": 3.0},
    "L4d128wd100s4096": {**SHORT, "learning_rate": 7e-3, "steps": 4096, "weight_decay": 1.0},
    "L4d128wd100": {**SHORT, "learning_rate": 7e-3, "steps": 2048, "weight_decay": 1.0},
    "L6d64wd100": {
        **SHORT, "learning_rate": 1e-2, "width": 64, "layers": 6, "steps": 3072, "weight_decay": 1.0,
    },
    "L8d48wd100": {
        **SHORT, "learning_rate": 1e-2, "width": 48, "layers": 8, "heads": 2, "steps": 3072, "weight_decay": 1.0,
    },
}  # fmt: skip


def row_of(name: str) -> dict[str, Any]:
    """Train one variant and return its row: settings, losses, seconds, ratios at the end and at their largest."""
    v = {**BASE, **VARIANTS[name]}
    architecture = Architecture(
        n_layers=v["layers"],
        d_model=v["width"],
        n_heads=v["heads"],
        d_mlp=v["mlp_ratio"] * v["width"],
        vocab_size=512,
        context=v["window"],
    )
    names = ("steps", "batch", "window", "learning_rate", "warmup", "weight_decay", "epsilon", "beta2")
    fixed = {"vocab_size": 512, "checkpoints": 24, "final_fraction": 0.1, "beta1": 0.9, "clip": 1.0}
    recipe = Recipe.of_dict({"name": "screen", **fixed, **{name: v[name] for name in names}})
    done = screen(name, architecture, recipe, v["seed"])
    largest = [max(float(r[layer]) for r in done.ratios) for layer in range(v["layers"])]
    return {
        "variant": name,
        **v,
        "validation_loss": round(done.summary.validation_loss, 3),
        "seconds": round(done.seconds),
        "end_ratio": "/".join(f"{r:.0f}" for r in done.ratios[-1]),
        "largest_ratio": "/".join(f"{r:.0f}" for r in largest),
    }


def main(arguments: list[str]) -> None:
    done = pd.read_csv(OUT) if OUT.is_file() else pd.DataFrame({"variant": []})
    if "--table" in arguments:
        columns = [c for c in done.columns if len(set(done[c])) > 1]
        print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
        for row in done[columns].itertuples(index=False):
            print("| " + " | ".join(str(value) for value in row) + " |")
        return
    for name in arguments or VARIANTS:
        if name not in set(done["variant"]):
            done = pd.concat([done, pd.DataFrame([row_of(name)])], ignore_index=True)
            done.to_csv(OUT, index=False)


if __name__ == "__main__":
    main(sys.argv[1:])
