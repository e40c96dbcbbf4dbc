"""What measuring costs beside a bare forward pass: time in paired runs (ABAB), memory in processes of their own.

    python benchmarks/extract_speed.py --size 70m --pairs 5

Bare: Hugging Face's block stack with sdpa attention, no unembedding, no hooks. Ours: `massact.extract.measure` on the
bridge the pipeline uses. Cache: TransformerLens's default bridge, `run_with_cache` of all hook points.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
SHAPES = {"14m": (6, 128, 4), "70m": (6, 512, 8), "160m": (12, 768, 12), "410m": (24, 1024, 16), "1b": (16, 2048, 8)}
VARIANTS = ("bare", "ours", "cache")


def plain_model(size: str, dtype: str, device: str):
    """A random-init GPT-NeoX of a Pythia's true shapes."""
    import torch

    from massact import Architecture
    from massact.train import build_model

    layers, width, heads = SHAPES[size]
    architecture = Architecture(n_layers=layers, d_model=width, n_heads=heads, d_mlp=4 * width)
    return build_model(architecture, 0).to(device=device, dtype=getattr(torch, dtype)).eval()


def runner(variant: str, size: str, dtype: str, device: str, sequences: int, length: int) -> Callable[[], None]:
    """A call that makes one pass over all sequences."""
    import torch

    tokens = torch.randint(0, 50304, (sequences, length), generator=torch.Generator().manual_seed(1)).to(device)
    model = plain_model(size, dtype, device)
    if variant == "bare":

        def bare() -> None:
            with torch.no_grad():
                for row in tokens:
                    model.gpt_neox(row[None], use_cache=False)
            if device == "cuda":
                torch.cuda.synchronize()

        return bare
    if variant == "ours":
        from massact.checkpoints.bridge import wrap_model
        from massact.extract import measure

        bridge = wrap_model(model, size, dtype=dtype, device=device)
        return lambda: measure(bridge, tokens) and None
    bridge = default_bridge(model, size, dtype, device)

    def cache() -> None:
        with torch.no_grad():
            for row in tokens:
                bridge.run_with_cache(row[None])
        if device == "cuda":
            torch.cuda.synchronize()

    return cache


def default_bridge(model, size: str, dtype: str, device: str):
    """What `TransformerBridge.boot_transformers` gives whoever changes nothing."""
    import torch
    from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.supported_architectures.neox import NeoxArchitectureAdapter

    from massact.checkpoints.bridge import _stand_in_tokenizer

    ArchitectureAdapterFactory.register_adapter("GPTNeoXForCausalLM", NeoxArchitectureAdapter)
    return TransformerBridge.boot_transformers(
        size, hf_model=model, tokenizer=_stand_in_tokenizer(), dtype=getattr(torch, dtype), device=device
    )


def paired_times(first: Callable[[], None], second: Callable[[], None], pairs: int) -> list[tuple[float, float]]:
    """Seconds of both, one after the other, `pairs` times after one pass to warm up."""
    first()
    second()
    return [(timed(first), timed(second)) for _ in range(pairs)]


def timed(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def memory_above_model(variant: str, args: argparse.Namespace) -> float:
    """Peak resident memory (GB) of a pass above that of the loaded model, in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", variant, "--size", args.size, "--length", str(args.length)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def own_memory(args: argparse.Namespace) -> float:
    import torch

    torch.set_num_threads(args.threads)
    call = runner(args.memory_of, args.size, "float32", "cpu", 1, args.length)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = resident("VmRSS")
    call()
    return (resident("VmHWM") - before) / 1e6


def resident(field: str) -> int:
    """Kilobytes of a memory field of this process (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="70m", choices=SHAPES)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cache-pairs", type=int, default=2, help="pairs against run_with_cache; 0: none")
    parser.add_argument("--sequences", type=int, default=10)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print(own_memory(args))
        return
    import torch

    torch.set_num_threads(args.threads)
    print(f"{args.size} shapes, {args.sequences} x {args.length} tokens, {args.dtype}, {args.device}")
    calls = {
        name: runner(name, args.size, args.dtype, args.device, args.sequences, args.length) for name in VARIANTS[:2]
    }
    report("ours", paired_times(calls["bare"], calls["ours"], args.pairs))
    if args.cache_pairs:
        calls["cache"] = runner("cache", args.size, args.dtype, args.device, args.sequences, args.length)
        pairs = paired_times(calls["ours"], calls["cache"], args.cache_pairs)
        print(f"run_with_cache / ours: {statistics.median(b / a for a, b in pairs):.2f} in time")
    if args.device == "cpu":
        memory = {name: memory_above_model(name, args) for name in VARIANTS}
        print("peak GB above the model: " + ", ".join(f"{k} {v:.2f}" for k, v in memory.items()))


def report(name: str, pairs: list[tuple[float, float]]) -> None:
    ratios = [b / a for a, b in pairs]
    print(f"bare {statistics.median(a for a, _ in pairs):.2f} s, {name} {statistics.median(b for _, b in pairs):.2f} s")
    print(f"{name} / bare: {statistics.median(ratios):.3f} (each pair: {' '.join(f'{r:.3f}' for r in ratios)})")


if __name__ == "__main__":
    main()
