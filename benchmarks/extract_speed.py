"""Cost of a measurement relative to a bare forward pass: time in paired runs (ABAB), memory in separate processes.

    python benchmarks/extract_speed.py --size 70m --pairs 5
    python benchmarks/extract_speed.py --size smollm2-135m --sequences 1 --cache-pairs 0

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
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
SHAPES = {"14m": (6, 128, 4), "70m": (6, 512, 8), "160m": (12, 768, 12), "410m": (24, 1024, 16), "1b": (16, 2048, 8)}
OTHERS = ("smollm2-135m", "gpt2")
VARIANTS = ("bare", "ours", "cache")
Time = tuple[float, float]  # seconds on the wall, and of processor time: the latter is steadier on a busy machine


def plain_model(size: str, dtype: str, device: str):
    """A random-init model of true shapes: GPT-NeoX of a Pythia's, Llama of SmolLM2-135M's, GPT-2."""
    import torch

    model: Any = pythia(size) if size in SHAPES else gpt2() if size == "gpt2" else smollm2()
    return model.to(device=device, dtype=getattr(torch, dtype)).eval()


def pythia(size: str):
    from massact.train import build_model

    return build_model(pythia_shape(size), 0)


def pythia_shape(size: str):
    from massact import Architecture

    layers, width, heads = SHAPES[size]
    return Architecture(n_layers=layers, d_model=width, n_heads=heads, d_mlp=4 * width)


def forward_share(args: argparse.Namespace, seconds: float) -> float:
    """Speed of a measurement as a part of that of one large matrix product, both by processor time on one thread."""
    import torch

    from massact.extract.plan import forward_flops

    matrix = torch.ones(1024, 1024)
    product = min(timed(lambda: matrix @ matrix)[1] for _ in range(9))
    return forward_flops(pythia_shape(args.size), args.sequences, args.length) / seconds / (2.0 * 1024**3 / product)


def smollm2():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            num_hidden_layers=30,
            hidden_size=576,
            num_attention_heads=9,
            num_key_value_heads=3,
            intermediate_size=1536,
            vocab_size=49152,
            max_position_embeddings=8192,
            tie_word_embeddings=True,
        )
    )


def gpt2():
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config())


def runner(variant: str, size: str, dtype: str, device: str, sequences: int, length: int) -> Callable[[], None]:
    """A call that makes one pass over all sequences."""
    import torch

    model = plain_model(size, dtype, device)
    seeded = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, model.config.vocab_size, (sequences, length), generator=seeded).to(device)
    if variant == "bare":

        def bare() -> None:
            with torch.no_grad():
                for row in tokens:
                    model.base_model(row[None], use_cache=False)
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
    """The default result of `TransformerBridge.boot_transformers`."""
    import torch
    from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.supported_architectures.neox import NeoxArchitectureAdapter

    from massact.checkpoints.bridge import _stand_in_tokenizer

    if size in SHAPES:  # in place of the adapter that `wrap_model` registered
        ArchitectureAdapterFactory.register_adapter("GPTNeoXForCausalLM", NeoxArchitectureAdapter)
    return TransformerBridge.boot_transformers(
        size, hf_model=model, tokenizer=_stand_in_tokenizer(), dtype=getattr(torch, dtype), device=device
    )


def paired_times(first: Callable[[], None], second: Callable[[], None], pairs: int) -> list[tuple[Time, Time]]:
    """Times of both, one after the other, `pairs` times after one pass to warm up."""
    first()
    second()
    return [(timed(first), timed(second)) for _ in range(pairs)]


def timed(call: Callable[[], None]) -> Time:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def memory_above_model(variant: str, args: argparse.Namespace) -> float:
    """Peak resident memory (GB) of a pass above that of the loaded model, in a separate process."""
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
    parser.add_argument("--size", default="70m", choices=[*SHAPES, *OTHERS])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cache-pairs", type=int, default=2, help="pairs against run_with_cache; 0: none")
    parser.add_argument("--sequences", type=int, default=10)
    parser.add_argument("--length", type=int, default=2048, help="cut to the model's context")
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
    args.length = min(args.length, 1024 if args.size == "gpt2" else args.length)
    print(f"{args.size} shapes, {args.sequences} x {args.length} tokens, {args.dtype}, {args.device}")
    calls = {
        name: runner(name, args.size, args.dtype, args.device, args.sequences, args.length) for name in VARIANTS[:2]
    }
    pairs = paired_times(calls["bare"], calls["ours"], args.pairs)
    report("ours", pairs)
    if args.size in SHAPES and args.threads == 1 and (args.dtype, args.device) == ("float32", "cpu"):
        shares = [forward_share(args, mine[1]) for _, mine in pairs]
        print(f"share of a large matrix product's speed: {statistics.median(shares):.2f}")
    if args.cache_pairs:
        calls["cache"] = runner("cache", args.size, args.dtype, args.device, args.sequences, args.length)
        pairs = paired_times(calls["ours"], calls["cache"], args.cache_pairs)
        print(f"run_with_cache / ours: {statistics.median(b[0] / a[0] for a, b in pairs):.2f} in time")
    if args.device == "cpu":
        memory = {name: memory_above_model(name, args) for name in (VARIANTS if args.cache_pairs else VARIANTS[:2])}
        print("peak GB above the model: " + ", ".join(f"{k} {v:.2f}" for k, v in memory.items()))


def report(name: str, pairs: list[tuple[Time, Time]]) -> None:
    for clock, kind in enumerate(("wall", "processor")):
        bare, mine = (statistics.median(pair[i][clock] for pair in pairs) for i in (0, 1))
        ratios = [b[clock] / a[clock] for a, b in pairs]
        each = " ".join(f"{r:.3f}" for r in ratios)
        print(f"{kind} time: bare {bare:.2f} s, {name} {mine:.2f} s")
        print(f"{name} / bare: {statistics.median(ratios):.3f} (each pair: {each})")


if __name__ == "__main__":
    main()
