"""A whole sweep over the checkpoints of a shipped family beside the sum of its bare forward passes, in paired runs.

    python benchmarks/sweep_speed.py --model pocket-a --pairs 5 --sequences 10 100 1000

Bare: every checkpoint's plain model, loaded before the clock starts, one pass over the probe in the same batches.
Sweep: `massact.extract.sweep.measure_checkpoints` into an empty store: it hashes, reads, measures, writes and syncs.
The first sweep of a process also imports libraries; it is shown apart. Times on the wall and of the processor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def probe_of(sequences: int, length: int, vocabulary: int):
    import numpy as np

    from massact.extract.probe import Probe

    tokens = np.random.default_rng(0).integers(1, vocabulary, (sequences, length))
    tokens[:, 0] = 0
    return Probe(tokens, "random", 0)


Time = tuple[float, float]  # seconds on the wall, and of processor time: the latter is steadier on a busy machine


def since(began: Time) -> Time:
    return time.perf_counter() - began[0], time.process_time() - began[1]


def now() -> Time:
    return time.perf_counter(), time.process_time()


def sweep(source, probe) -> Time:
    """Time of one sweep into an empty store."""
    from massact.checkpoints.files import _content_sha256
    from massact.extract.options import SweepOptions
    from massact.extract.store import RecordStore
    from massact.extract.sweep import measure_checkpoints

    _content_sha256.cache_clear()  # every sweep hashes all weights, as a process's first one does
    with tempfile.TemporaryDirectory() as folder:
        began = now()
        result, _ = measure_checkpoints(
            source,
            source.steps(),
            lambda small: probe,
            RecordStore(Path(folder)),
            dtype="float32",
            device="cpu",
            label="sweep",
            options=SweepOptions(progress=False),
        )
        took = since(began)
    assert len(result.measured) == len(source.steps()), result.failed
    return took


def bare(models, probe) -> Time:
    """Time of one forward pass of every model over the probe, in the batches that `measure` takes."""
    import torch

    from massact.extract.hooks import TOKENS_AT_ONCE

    tokens = torch.from_numpy(probe.tokens)
    batches = tokens.split(max(1, TOKENS_AT_ONCE // tokens.shape[1]))
    began = now()
    with torch.no_grad():
        for model in models:
            for batch in batches:
                model.gpt_neox(batch, use_cache=False)
    return since(began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket-a")
    parser.add_argument("--sequences", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    import torch
    from transformers import AutoModelForCausalLM

    from massact.checkpoints import FolderSource

    torch.set_num_threads(args.threads)
    source = FolderSource(Path("data/pocket") / f"{args.model}-seed0")
    models = [
        AutoModelForCausalLM.from_pretrained(source.root / f"step{s}", dtype=torch.float32).eval()
        for s in source.steps()
    ]
    config = models[0].config
    print(f"{args.model}: {len(models)} checkpoints, windows of {config.max_position_embeddings}")
    first = sweep(source, probe_of(args.sequences[0], config.max_position_embeddings, config.vocab_size))
    print(f"first sweep of the process, imports included: {first[0]:.2f} s")
    for sequences in args.sequences:
        probe = probe_of(sequences, config.max_position_embeddings, config.vocab_size)
        bare(models, probe)
        pairs = [(bare(models, probe), sweep(source, probe)) for _ in range(args.pairs)]
        for clock, kind in enumerate(("wall", "processor")):
            ratios = [b[clock] / a[clock] for a, b in pairs]
            bare_s, sweep_s = (statistics.median(pair[i][clock] for pair in pairs) for i in (0, 1))
            each = " ".join(f"{ratio:.2f}" for ratio in ratios)
            print(
                f"{sequences} sequences, {kind} time: bare {bare_s:.3f} s, sweep {sweep_s:.3f} s, "
                f"ratio {statistics.median(ratios):.2f} ({each})"
            )


if __name__ == "__main__":
    main()
