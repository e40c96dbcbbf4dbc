"""Damaged configurations and weights between two good checkpoints of a sweep: numbers of cases tried and passed.

A trial holds when nothing escapes from the sweep, both good checkpoints have exactly their numbers, and the damaged one
either has a status or has exactly the numbers that it had before it was damaged.

    python benchmarks/faults_checkpoints.py --seed 0
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from massact.checkpoints import FolderSource, HubSource
from massact.checkpoints.files import git_blob_sha1
from massact.checkpoints.ledger import Ledger, Listed
from massact.extract.options import SweepOptions
from massact.extract.probe import Probe
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints

PROBE = Probe(np.random.default_rng(0).integers(0, 60, (2, 9)), "random", -1)
STEPS = (0, 1, 2)
REPOSITORY = "someone/model"
Damage = Callable[[Path], None]


def write_models(root: Path) -> dict[str, Path]:
    """Three checkpoints of each kind: GPT-NeoX in one file, in shards and in PyTorch's old and new files, and Llama."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": 64,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
    }
    for step in STEPS:
        torch.manual_seed(step)
        neox: Any = GPTNeoXForCausalLM(GPTNeoXConfig(**sizes))
        neox.save_pretrained(root / "neox" / f"step{step}")
        neox.save_pretrained(root / "shards" / f"step{step}", max_shard_size="10KB")
        LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(root / "llama" / f"step{step}")
        for kind, zipped in (("zip", True), ("legacy", False)):
            folder = root / kind / f"step{step}"
            folder.mkdir(parents=True)
            shutil.copyfile(root / "neox" / f"step{step}" / "config.json", folder / "config.json")
            path = folder / "pytorch_model.bin"
            torch.save(neox.state_dict(), path, _use_new_zipfile_serialization=zipped)
    return {kind: root / kind for kind in ("neox", "llama", "shards", "zip", "legacy")}


def changed(change: Callable[[dict[str, Any]], Any]) -> Damage:
    """Another config.json."""

    def damage(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return damage


def with_key(key: str, value: Any) -> Damage:
    """One key of config.json set."""
    return changed(lambda config: {**config, key: value})


def config_damages(folder: Path) -> Iterator[tuple[str, Damage]]:
    """Each key removed or set to an invalid value, keys that request foreign code or files, files that are not JSON."""
    values = {"text": "text", "zero": 0, "negative": -1, "huge": 10**12, "nan": float("nan"), "nested": {"a": [1]}}
    for key in json.loads((folder / "config.json").read_text()):
        yield f"{key} dropped", changed(lambda config, key=key: {k: v for k, v in config.items() if k != key})
        for kind, value in values.items():
            yield f"{key} {kind}", with_key(key, value)
    kernel = "someone/kernel"
    for key in (
        "attn_implementation",
        "_attn_implementation",
        "experts_implementation",
        "_attn_implementation_internal",
    ):
        yield f"{key} from the hub", with_key(key, kernel)
        yield f"{key} from the hub, nested", with_key("text_config", {key: kernel})
    yield "attn_implementation as a dictionary", with_key("attn_implementation", {"": kernel})
    for auto_map in ({"AutoConfig": "a.B", "AutoModelForCausalLM": "a.C"}, {"AutoConfig": "x/y--a.B"}, "a.B", []):
        yield (
            f"auto_map {auto_map}",
            changed(lambda c, auto_map=auto_map: {**c, "auto_map": auto_map, "model_type": "x"}),
        )
    for method in ("bitsandbytes", "gptq", "awq", "compressed-tensors", "fp8", "mxfp4", "unknown", None, 7):
        yield f"quantization {method}", with_key("quantization_config", {"quant_method": method, "bits": 4})
    yield "quantization text", with_key("quantization_config", "text")
    for key in ("configuration_files", "transformers_weights", "fusion_config", "kernel_config"):
        yield f"{key}", with_key(key, ["config.4.0.0.json"])
    for kind, content in {
        "empty": b"",
        "list": b"[]",
        "null": b"null",
        "binary": bytes(range(256)),
        "deep": b"[" * 100_000,
        "byte order mark": b"\xef\xbb\xbf{}",
        "empty object": b"{}",
        "html": b"<html>404</html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\n",
    }.items():
        yield f"config.json {kind}", lambda folder, content=content: void((folder / "config.json").write_bytes(content))
    yield "config.json gone", lambda folder: (folder / "config.json").unlink()
    yield "config.json a folder", replaced("config.json", lambda path: path.mkdir())
    yield "config.json a pipe", replaced("config.json", os.mkfifo)
    yield "config.json a dangling link", replaced("config.json", lambda path: path.symlink_to("nowhere"))


def weight_damages(kind: str, folder: Path, rng: np.random.Generator) -> Iterator[tuple[str, Damage]]:
    """Truncations, flipped bits of headers, foreign content, and what belongs to one kind of file."""
    name = next(p.name for p in sorted(folder.iterdir()) if p.suffix in (".safetensors", ".bin"))
    content = (folder / name).read_bytes()
    for end in (0, 1, 7, 8, 100, *rng.integers(9, len(content), 6).tolist(), len(content) - 1):
        yield f"{kind} cut at {end}", lambda f, end=end: rewrite(f / name, lambda c: c[:end])
    for what in (b"not weights", b"<html>404</html>", b"\0" * 4096, b"version https://git-lfs.github.com/spec/v1\n"):
        yield f"{kind} {what[:12]!r}", lambda f, what=what: void((f / name).write_bytes(what))
    yield f"{kind} longer", lambda f: rewrite(f / name, lambda c: c + b"x")
    yield f"{kind} gone", lambda f: (f / name).unlink()
    yield f"{kind} a folder", replaced(name, lambda path: path.mkdir())
    yield f"{kind} a pipe", replaced(name, os.mkfifo)
    if name.endswith(".safetensors"):
        header = 8 + int.from_bytes(content[:8], "little")
        for bit in rng.choice(header * 8, 40, replace=False).tolist():
            yield f"{kind} header bit {bit}", lambda f, bit=bit: rewrite(f / name, lambda c: flipped(c, bit))
    else:
        yield from pickle_damages(kind, name)
    if kind == "neox":
        yield from tensor_damages(name)
    if kind == "shards":
        yield from index_damages()


def pickle_damages(kind: str, name: str) -> Iterator[tuple[str, Damage]]:
    """Files that torch reads but that do not contain named tensors."""
    import torch

    tensors: dict[str, Any] = {"a": torch.ones(2)}
    contents = {
        "list": [torch.ones(2)],
        "tensor": torch.ones(2),
        "text": "text",
        "number": 1,
        "nested": {"model": tensors},
        "numbers": {"a": 1},
        "empty": {},
        "no names": {1: torch.ones(2)},
        "sparse": {"a": torch.ones(2, 2).to_sparse()},
    }
    for what, value in contents.items():
        yield f"{kind} {what}", lambda f, value=value: torch.save(value, f / name)


def tensor_damages(name: str) -> Iterator[tuple[str, Damage]]:
    """Whole files that hold other tensors than the configuration describes."""
    import torch
    from safetensors.torch import load_file, save_file

    def rewritten(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Damage:
        return lambda f: save_file(change(load_file(f / name)), f / name, metadata={"format": "pt"})

    norm = "gpt_neox.layers.1.input_layernorm.weight"
    for dtype in (torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool, torch.float8_e4m3fn, torch.complex64):
        yield f"all in {dtype}", rewritten(lambda t, d=dtype: {n: v.to(d) for n, v in t.items()})
        yield f"one in {dtype}", rewritten(lambda t, d=dtype: {**t, norm: t[norm].to(d)})
    yield "a tensor gone", rewritten(lambda t: {n: v for n, v in t.items() if n != norm})
    yield "a tensor more", rewritten(lambda t: {**t, "gpt_neox.layers.2.input_layernorm.weight": torch.ones(16)})
    yield "a tensor of another shape", rewritten(lambda t: {**t, norm: torch.ones(17)})
    yield "a tensor without numbers", rewritten(lambda t: {**t, norm: torch.ones(0)})
    yield "a scalar", rewritten(lambda t: {**t, norm: torch.ones(())})
    yield "a tensor renamed", rewritten(lambda t: {("x" if n == norm else n): v for n, v in t.items()})
    yield (
        "no unembedding",
        rewritten(lambda t: {n: v for n, v in t.items() if "embed_out" not in n and "lm_head" not in n}),
    )
    yield "no tensors", rewritten(lambda t: {})
    yield "NaN", rewritten(lambda t: {**t, norm: t[norm] * float("nan")})
    yield "infinite", rewritten(lambda t: {**t, norm: t[norm] * float("inf")})


def index_damages() -> Iterator[tuple[str, Damage]]:
    """Indices that do not belong to the shards."""
    index = "model.safetensors.index.json"

    def mapped(change: Callable[[dict[str, str]], Any]) -> Damage:
        def damage(folder: Path) -> None:
            said = json.loads((folder / index).read_text())
            (folder / index).write_text(json.dumps({**said, "weight_map": change(said["weight_map"])}))

        return damage

    elsewhere = ("../step2/model-00001-of-00002.safetensors", "/etc/passwd", "..", "", "model.safetensors", "a/b")
    for target in elsewhere:
        yield f"index to {target!r}", mapped(lambda m, target=target: dict.fromkeys(m, target))
        yield f"index to {target!r} once", mapped(lambda m, target=target: {**m, next(iter(m)): target})
    yield "index empty", mapped(lambda m: {})
    yield "index list", mapped(list)
    yield "index numbers", mapped(lambda m: dict.fromkeys(m, 1))
    yield "index null", mapped(lambda m: None)
    yield "index without a tensor", mapped(lambda m: dict(list(m.items())[1:]))
    yield "index with a tensor more", mapped(lambda m: {**m, "x": next(iter(m.values()))})
    yield "index swapped", mapped(lambda m: dict(zip(m, reversed(list(m.values())), strict=True)))
    for what, content in {"list": b"[]", "empty": b"", "binary": b"\xff\xfe", "deep": b"[" * 100_000}.items():
        yield f"index file {what}", lambda f, content=content: void((f / index).write_bytes(content))
    yield "index gone", lambda f: (f / index).unlink()

    def two_sets(folder: Path) -> None:
        for path in sorted(folder.glob("model-*-of-*.safetensors"))[:1]:
            shutil.copyfile(path, folder / "model-00001-of-00001.safetensors")

    def twice(folder: Path) -> None:
        first, second, *_ = sorted(folder.glob("model-*-of-*.safetensors"))
        shutil.copyfile(first, second)

    yield "two sets of shards", two_sets
    yield "one shard twice", twice


def hub_damages(rng: np.random.Generator, folder: Path) -> Iterator[tuple[str, Damage]]:
    """Flipped bits in each file of a cache, whose hashes are known."""
    for name in ("config.json", "model.safetensors"):
        content = (folder / name).read_bytes()
        for bit in rng.choice(len(content) * 8, 20, replace=False).tolist():

            def damage(f: Path, name: str = name, bit: int = bit) -> None:
                (f / name).resolve().write_bytes(flipped((f / name).read_bytes(), bit))

            yield f"{name} bit {bit}", damage


def flipped(content: bytes, bit: int) -> bytes:
    """The same bytes with one bit turned."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def replaced(name: str, make: Callable[[Path], Any]) -> Damage:
    """A file replaced by something else of its name."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return damage


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """A file with other content."""
    path.write_bytes(change(path.read_bytes()))


def void(value: Any) -> None:
    """Call it and return nothing."""


def sweep(source: Any, folder: Path) -> Any:
    """The result of a sweep with a separate store."""
    return measure_checkpoints(
        source, STEPS, lambda _: PROBE, RecordStore(folder / "records"), dtype="float32", device="cpu", label="damaged",
        options=SweepOptions(progress=False),
    )[0]  # fmt: skip


def held(result: Any, expected: dict[int, Any], damaged: int) -> str:
    """What happened to the damaged checkpoint, or `ESCAPED` and what is wrong."""
    for step, wanted in expected.items():
        found = result.measured.get(step)
        if found is None and step != damaged:
            return f"ESCAPED: good step {step} not measured ({result.failed.get(step)})"
        if found is not None and not all(np.array_equal(a, wanted.arrays()[n]) for n, a in found.arrays().items()):
            worst = max(float(np.abs(a - wanted.arrays()[n]).max()) for n, a in found.arrays().items())
            return f"ESCAPED: step {step} has other numbers, by {worst:.1e}"
    status = result.statuses().get(damaged, "ESCAPED: no status")
    return "same numbers" if status == "measured" else status


def cache_of(family: Path, root: Path, *, links: bool) -> tuple[Path, Path]:
    """A Hub's cache of these checkpoints, and a ledger of what the Hub states of them."""
    repository = root / "hf" / f"models--{REPOSITORY.replace('/', '--')}"
    ledger = Ledger(root / "ledger.json")
    for step in STEPS:
        commit, listed = f"{step:040x}", {}
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (repository / "blobs").mkdir(exist_ok=True)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / f"step{step}").write_text(commit)
        for path in (family / f"step{step}").iterdir():
            content = path.read_bytes() + (b" " * step if path.suffix == ".json" else b"")  # so that none is shared
            large = path.suffix == ".safetensors"
            name = hashlib.sha256(content).hexdigest() if large else git_blob_sha1(content)
            listed[path.name] = Listed(len(content), name if large else None, "0" * 40 if large else name)
            if links:
                (repository / "blobs" / name).write_bytes(content)
                (snapshot / path.name).symlink_to(Path("../../blobs") / name)
            else:
                (snapshot / path.name).write_bytes(content)
        ledger.put(commit, listed)
        ledger.note(f"step{step}", commit)
    ledger.save()
    return root / "hf", root / "ledger.json"


def local_trials(models: dict[str, Path], rng: np.random.Generator) -> Iterator[tuple[str, str, str, Damage]]:
    """Group, kind of model, name of the damage, and what does it."""
    for kind in ("neox", "llama"):
        for name, damage in config_damages(models[kind] / "step0"):
            yield "configurations", kind, f"{kind} {name}", damage
    for kind in ("neox", "shards", "zip", "legacy"):
        for name, damage in weight_damages(kind, models[kind] / "step0", rng):
            yield "weights", kind, name, damage


def main() -> None:
    """Try all of them, and print how many passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a part of the damages' names")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    rng = np.random.default_rng(arguments.seed)
    counts: Counter[tuple[str, str]] = Counter()
    escaped: list[str] = []
    began = time.perf_counter()

    def note(group: str, name: str, outcome: str) -> None:
        counts[group, outcome.partition(":")[0]] += 1
        if outcome.startswith("ESCAPED"):
            escaped.append(f"{group}: {name}: {outcome}")

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        models = write_models(root / "models")
        expected = {kind: sweep(FolderSource(f), root / "good" / kind).measured for kind, f in models.items()}
        for number, (group, kind, name, damage) in enumerate(local_trials(models, rng)):
            if arguments.only not in name:
                continue
            damaged = number % len(STEPS)
            family = shutil.copytree(models[kind], root / "trial" / "family")
            damage(family / f"step{damaged}")
            note(group, name, outcome_of(FolderSource(family), root / "trial", expected[kind], damaged))
            shutil.rmtree(root / "trial")
        for links in (True, False):
            for number, (name, damage) in enumerate(hub_damages(rng, models["neox"] / "step0")):
                cache, ledger = cache_of(models["neox"], root / "trial", links=links)
                snapshots = cache / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots"
                damaged = number % len(STEPS)
                damage(snapshots / f"{damaged:040x}")
                source = HubSource(REPOSITORY, steps=STEPS, offline=True, cache=cache, ledger=ledger)
                kind = "cache with links" if links else "cache with copies"
                outcome = outcome_of(source, root / "trial", expected["neox"], damaged)
                if outcome == "same numbers":
                    outcome = "ESCAPED: not noticed"
                note(kind, name, outcome)
                shutil.rmtree(root / "trial")
    for group in dict.fromkeys(group for group, _ in counts):
        said = {outcome: n for (g, outcome), n in sorted(counts.items()) if g == group}
        tried = sum(said.values())
        sys.stdout.write(f"{group}: {tried} tried, {tried - said.pop('ESCAPED', 0)} held ({said})\n")
    sys.stdout.write("".join(f"{line}\n" for line in escaped))
    sys.stdout.write(f"{time.perf_counter() - began:.0f} s\n")


def outcome_of(source: Any, folder: Path, expected: dict[int, Any], damaged: int) -> str:
    """The outcome of one trial; any exception counts as escaped."""
    try:
        return held(sweep(source, folder), expected, damaged)
    except Exception as error:
        return f"ESCAPED: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


if __name__ == "__main__":
    main()
