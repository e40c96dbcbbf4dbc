"""What makes the spike appear: a half-fraction of a factorial over six settings of the recipe, on one architecture.

    python benchmarks/recipe_factorial.py              # 32 trainings, two at a time; finished ones are kept
    python benchmarks/recipe_factorial.py --effects    # main effects and the largest interactions, as Markdown

2^(6-1), resolution VI: the sign of the sixth setting is the product of the other five, so that main effects and
interactions of two are free of each other (Box and Hunter 1961). One row a training in docs/recipe_factorial.csv.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import itertools
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

OUT = Path("docs/recipe_factorial.csv")
PROCESSES = 2
SETTINGS: dict[str, tuple[Any, Any]] = {
    "learning_rate": (5e-3, 1e-2),
    "weight_decay": (0.1, 1.0),
    "first_token": ("text", "endoftext"),
    "window": (16, 32),
    "batch": (32, 64),
    "epsilon": (1e-8, 1e-5),
}
ARCHITECTURE = {"n_layers": 3, "d_model": 96, "n_heads": 4, "d_mlp": 384}
STEPS = 1024


def design() -> pd.DataFrame:
    """Signs -1 and +1 of the settings, one row a training."""
    rows = [(*signs, int(np.prod(signs))) for signs in itertools.product((-1, 1), repeat=len(SETTINGS) - 1)]
    return pd.DataFrame(rows, columns=list(SETTINGS))


def train_one(number: int, signs: dict[str, int]) -> dict[str, Any]:
    """Train one member and return its row."""
    from massact import Architecture
    from massact.recipe import Recipe
    from screening import screen

    v = {name: levels[(signs[name] + 1) // 2] for name, levels in SETTINGS.items()}
    first_token = 0 if v["first_token"] == "endoftext" else None
    fixed = {"steps": STEPS, "warmup": 32, "checkpoints": 22, "vocab_size": 512, "final_fraction": 0.1}
    fixed |= {"name": "factorial", "beta1": 0.9, "beta2": 0.95, "clip": 1.0}
    recipe = Recipe.of_dict({**fixed, **v, "first_token": first_token})
    architecture = Architecture(**ARCHITECTURE, vocab_size=512, context=recipe.window)
    done = screen(f"factorial-{number}", architecture, recipe)
    return {
        "run": number,
        **v,
        "validation_loss": round(done.summary.validation_loss, 4),
        "seconds": round(done.seconds),
        **{f"end_ratio_{layer}": round(float(r), 3) for layer, r in enumerate(done.ratios[-1])},
        "largest_ratio": round(float(np.max(done.ratios)), 3),
        "at_position_0": round(float((done.measured[-1].token[..., 0] == 0).mean()), 3),
    }


def effects() -> pd.DataFrame:
    """Effect of every setting and pair on the log of the end ratio: the factor from its first level to its second.

    The spread of an effect is that of the ten interactions of three, which are taken to be nothing but noise.
    """
    done = pd.read_csv(OUT)
    y = np.log(done.filter(like="end_ratio_").mean(axis=1).to_numpy())
    signs = {n: np.where(done[n] == levels[1], 1, -1) for n, levels in SETTINGS.items()}

    def effect(names: tuple[str, ...]) -> float:
        return float(2 * np.mean(y * np.prod([signs[n] for n in names], axis=0)))

    # In this fraction each interaction of three is alias of another one: ten of the twenty are different.
    noise = np.sqrt(np.mean([effect(t) ** 2 for t in itertools.combinations(SETTINGS, 3) if "epsilon" in t]))
    rows = [(n, effect(n)) for k in (1, 2) for n in itertools.combinations(SETTINGS, k)]
    return pd.DataFrame(
        [(" x ".join(n), np.exp(e), e / noise) for n, e in rows], columns=["setting", "factor", "effect / noise"]
    )


def main(arguments: list[str]) -> None:
    if "--effects" in arguments:
        table = effects()
        shown = table[(table.index < len(SETTINGS)) | (table["effect / noise"].abs() > 3)]
        print("| setting | factor on the end ratio | effect / noise |\n|---|---|---|")
        for row in shown.itertuples(index=False):
            print(f"| {row[0]} | {row[1]:.2f} | {row[2]:.1f} |")
        return
    done = pd.read_csv(OUT) if OUT.is_file() else pd.DataFrame({"run": []})
    left = [(i, row.to_dict()) for i, row in design().iterrows() if i not in set(done["run"])]
    with ProcessPoolExecutor(PROCESSES) as pool:
        for future in as_completed([pool.submit(train_one, i, signs) for i, signs in left]):
            done = pd.concat([done, pd.DataFrame([future.result()])], ignore_index=True)
            done.sort_values("run").to_csv(OUT, index=False)
            print(f"{len(done)} of {len(design())}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
