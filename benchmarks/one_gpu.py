"""One GPU in under ten minutes: correctness and cost of a measurement, and the first members of suite=micro.

    python benchmarks/one_gpu.py --minutes 8 --out results/one_gpu

Prints the card, then three parts: `measure` against a stable sort of the same hidden states on the device and against
the host; paired times (bare, ours, bare, ours, ...) and peak memory beside the bare block stack; and, in the time that
is left, the cheapest members of suite=micro, trained side by side and measured while they train. Everything is also
written to `--out`. The parts without training need torch, transformers and numpy alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
from extract_speed import SHAPES, plain_model

FIDELITY = (("14m", 4, 512), ("160m", 2, 512), ("1b", 1, 512))
SPEED = (("70m", "float32"), ("160m", "float32"), ("410m", "float32"), ("1b", "float32"), ("1b", "bfloat16"))


def tokens_of(model: Any, sequences: int, length: int, device: str):
    import torch

    seeded = torch.Generator().manual_seed(1)
    return torch.randint(0, model.config.vocab_size, (sequences, length), generator=seeded).to(device)


def fidelity(size: str, sequences: int, length: int) -> dict[str, Any]:
    """Whether top-3, places and median on the device are those of a stable sort there, and how far the host's are."""
    import numpy as np
    import torch

    from massact.extract import measure

    model = plain_model(size, "float32", "cuda")
    tokens, kept = tokens_of(model, sequences, length, "cuda"), []
    blocks = model.base_model.layers
    handles = [
        block.register_forward_hook(lambda m, a, out: kept.append(out[0] if isinstance(out, tuple) else out))
        for block in blocks
    ]
    equal = True
    ours = measure(model, tokens, sequences_at_once=1)
    kept.clear()
    for row, sequence in enumerate(tokens):
        kept.clear()
        with torch.no_grad():
            model.base_model(sequence[None], use_cache=False)
        for layer, hidden in enumerate(kept):
            flat = hidden[0].abs().flatten()
            order = flat.sort(descending=True, stable=True)
            place = ours.token[row, layer].astype(np.int64) * hidden.shape[-1] + ours.dimension[row, layer]
            equal &= bool((order.values[:3].cpu().numpy() == ours.top[row, layer]).all())
            equal &= bool((order.indices[:3].cpu().numpy() == place).all())
            lower = flat.sort().values[(flat.numel() - 1) // 2].item()
            equal &= bool(lower == ours.median[row, layer])
    for handle in handles:
        handle.remove()
    host = measure(model.cpu(), tokens.cpu())
    apart = {name: float(np.max(np.abs(getattr(host, name) / getattr(ours, name) - 1))) for name in ("top", "median")}
    return {"size": size, "tokens": f"{sequences} x {length}", "equal_to_sort": equal, "relative_to_host": apart}


def speed(size: str, dtype: str, *, sequences: int, length: int, pairs: int) -> dict[str, Any]:
    """Medians of paired times, and peak device memory above the model, of a pass over all sequences."""
    import torch

    from massact.extract import measure

    model = plain_model(size, dtype, "cuda")
    tokens = tokens_of(model, sequences, length, "cuda")

    def bare() -> None:
        with torch.no_grad():
            for row in tokens:
                model.base_model(row[None], use_cache=False)

    def ours() -> None:
        measure(model, tokens)

    times: dict[str, list[float]] = {"bare": [], "ours": []}
    memory: dict[str, float] = {}
    for name, call in (("bare", bare), ("ours", ours)):
        call()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        memory[name] = (torch.cuda.max_memory_allocated() - before) / 1e9
    for _ in range(pairs):
        for name, call in (("bare", bare), ("ours", ours)):
            torch.cuda.synchronize()
            began = time.perf_counter()
            call()
            torch.cuda.synchronize()
            times[name].append(time.perf_counter() - began)
    ratios = [b / a for a, b in zip(times["bare"], times["ours"], strict=True)]
    return {
        "size": size,
        "dtype": dtype,
        "bare_s": statistics.median(times["bare"]),
        "ours_s": statistics.median(times["ours"]),
        "ratio": statistics.median(ratios),
        "range": [min(ratios), max(ratios)],
        "peak_gb_above_model": memory,
    }


def train(members: list[str], workers: int, seconds: float, out: Path) -> list[dict[str, Any]]:
    """Train members of suite=micro by several workers at once; a row for each, finished or not."""
    root = Path(__file__).resolve().parent.parent
    runs, command = out / "runs", [sys.executable, str(root / "run.py"), "stage=suite", "suite=micro"]
    chosen = f"suite.only=[{','.join(members)}]"
    places = [f"paths.runs={runs}", f"paths.records={out / 'records'}", f"paths.trajectories={out / 'trajectories'}"]
    began, processes = time.monotonic(), []
    for worker in range(workers):
        log = (out / f"worker{worker}.log").open("w")
        own = [f"suite.worker={worker}", "protocol.device=cuda", f"hydra.run.dir={out / f'worker{worker}'}"]
        processes.append(
            subprocess.Popen([*command, chosen, *places, *own], cwd=root, stdout=log, stderr=subprocess.STDOUT)
        )
    while time.monotonic() - began < seconds and any(p.poll() is None for p in processes):
        time.sleep(1.0)
    for process in processes:
        process.kill()
    return [outcome_of(runs / "suite" / member, member) for member in members]


def outcome_of(folder: Path, name: str) -> dict[str, Any]:
    """The state of a member: its end if it is finished, otherwise the last measured step."""
    row: dict[str, Any] = {"member": name}
    if (folder / "member.json").is_file():
        said = json.loads((folder / "member.json").read_text())
        row |= {key: said[key] for key in ("status", "step", "seconds", "measuring_seconds", "loss", "what")}
    elif (folder / "measured.json").is_file():
        steps = json.loads((folder / "measured.json").read_text())["steps"]
        row |= {"status": "unfinished", "step": max(map(int, steps), default=0)}
    else:
        row |= {"status": "not begun"}
    table = folder / "trajectory.parquet"
    if table.is_file():
        import pandas as pd

        frame = pd.read_parquet(table)
        means = frame.groupby(["step", "layer"])[["top1", "median"]].mean()
        ratio = means["top1"] / means["median"]
        row |= {"largest_end_ratio": float(ratio.loc[frame["step"].max()].max()), "largest_ratio": float(ratio.max())}
    return row


def cheapest(count: int) -> list[str]:
    """Names of the members of suite=micro's design that take the least time, the most expensive of them first."""
    from hydra import compose, initialize_config_dir

    from massact.compose.suite import members_of
    from massact.config import register
    from massact.settings import settings

    register()
    conf = str((Path(__file__).resolve().parent.parent / "conf").resolve())
    with initialize_config_dir(conf, version_base="1.3"):
        config = settings(compose("config", overrides=["stage=suite", "suite=micro"]))
    design = sorted((m for m in members_of(config) if m.part == "grid" and m.seed == 0), key=lambda m: m.cost)
    return [member.name for member in reversed(design[:count])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything")
    parser.add_argument("--out", type=Path, default=Path("results/one_gpu"))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--members", type=int, default=8, help="members of suite=micro to train; 0: none")
    parser.add_argument("--workers", type=int, default=4)
    args = parser.parse_args()
    import torch
    import transformers

    began = time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    card = torch.cuda.get_device_name()
    said: dict[str, Any] = {"card": card, "torch": torch.__version__, "transformers": transformers.__version__}
    print(said, flush=True)
    said["fidelity"] = [show(fidelity(*case)) for case in FIDELITY]
    sizes = {"sequences": 10, "length": 2048, "pairs": args.pairs}
    said["speed"] = [show(speed(size, dtype, **sizes)) for size, dtype in SPEED if size in SHAPES]
    torch.cuda.empty_cache()
    (args.out / "one_gpu.json").write_text(json.dumps(said, indent=1))
    if args.members:
        left = args.minutes * 60 - (time.monotonic() - began)
        said["micro"] = [show(row) for row in train(cheapest(args.members), args.workers, left, args.out)]
        (args.out / "one_gpu.json").write_text(json.dumps(said, indent=1))


def show(row: dict[str, Any]) -> dict[str, Any]:
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
