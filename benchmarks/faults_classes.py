"""Small random models of many causal-LM classes, swept as a folder and as a remote source with a bridge.

    python benchmarks/faults_classes.py

Each has width 16, 3 layers, 4 heads and a vocabulary of 64 (torch seeds 0 and 1: two checkpoints), is saved, and is
measured through a sweep both ways. The reference is Hugging Face's own: `output_hidden_states` for all layers but the
last, whose hidden state has the final norm applied, and a forward hook on the last block, named here class by class.
An outcome is "bridge" or "plain hooks" when the measurement equals the reference to the last bit, or the line in which
the class is refused; anything else counts as a fault, and the script then exits with 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
STEPS = (0, 1)
SHAPE = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "head_dim": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SEQUENCES, POSITIONS = 3, 9


@dataclass(frozen=True)
class Small:
    """A class, how it differs from `SHAPE` (None leaves a number out), and where its blocks are.

    `blocks`: the path from the whole model, or None for a class that must be refused.
    """

    kind: str
    blocks: str | None = "model.layers"
    name: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.name or self.kind


MAMBA_HEADS = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8}
MIXED = ["mamba", "attention", "mamba"]
LINEAR_HEADS = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
DECODER = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_hidden_layers": None,
    "num_attention_heads": None,
    "hidden_size": None,
}
NO_HEAD_DIM = {"head_dim": None}
CLASSES = (
    Small("GPTNeoXForCausalLM", "gpt_neox.layers"),
    Small("GPTNeoXJapaneseForCausalLM", "gpt_neox_japanese.layers"),
    Small("GPT2LMHeadModel", "transformer.h"),
    Small("GPTBigCodeForCausalLM", "transformer.h"),
    Small("GPTJForCausalLM", "transformer.h", numbers={"rotary_dim": 4}),
    Small("CodeGenForCausalLM", "transformer.h", numbers={"rotary_dim": 4}),
    Small(
        "GPTNeoForCausalLM",
        "transformer.h",
        numbers={"attention_types": [[["global", "local", "global"], 1]], "window_size": 4},
    ),
    Small("OpenAIGPTLMHeadModel", "transformer.h"),
    Small("CTRLLMHeadModel", "transformer.h"),
    Small("OPTForCausalLM", "model.decoder.layers", numbers={"ffn_dim": 32}),
    Small(
        "OPTForCausalLM",
        "model.decoder.layers",
        name="OPTForCausalLM, post-norm and projecting",
        numbers={"ffn_dim": 32, "do_layer_norm_before": False, "word_embed_proj_dim": 8},
    ),
    Small("BloomForCausalLM", "transformer.h"),
    Small("FalconForCausalLM", "transformer.h", numbers=NO_HEAD_DIM),
    Small("MptForCausalLM", "transformer.blocks"),
    Small("XGLMForCausalLM", numbers={"ffn_dim": 32}),
    Small("BioGptForCausalLM", "biogpt.layers"),
    Small("XLNetLMHeadModel", "transformer.layer",
          numbers={"max_position_embeddings": None, "d_inner": 32, "d_head": 4}),
    Small("XLMWithLMHeadModel", "transformer.layer_norm2"),
    Small("LlamaForCausalLM"),
    Small("MistralForCausalLM"),
    Small("MixtralForCausalLM", numbers=EXPERTS),
    Small("GemmaForCausalLM"),
    Small("Gemma2ForCausalLM"),
    Small("Gemma3ForCausalLM"),
    Small("Qwen2ForCausalLM"),
    Small("Qwen2MoeForCausalLM", numbers={**EXPERTS, "shared_expert_intermediate_size": 16}),
    Small("Qwen3ForCausalLM"),
    Small("Qwen3MoeForCausalLM", numbers=EXPERTS),
    Small("Qwen3NextForCausalLM", numbers={**EXPERTS, **LINEAR_HEADS, "shared_expert_intermediate_size": 16}),
    Small("OlmoForCausalLM"),
    Small("Olmo2ForCausalLM"),
    Small("OlmoeForCausalLM", numbers=EXPERTS),
    Small("OlmoHybridForCausalLM"),
    Small("PhiForCausalLM"),
    Small("Phi3ForCausalLM"),
    Small("PersimmonForCausalLM"),
    Small("StableLmForCausalLM"),
    Small("Starcoder2ForCausalLM"),
    Small("SmolLM3ForCausalLM"),
    Small("NemotronForCausalLM"),
    Small("GraniteForCausalLM"),
    Small("GraniteMoeForCausalLM", numbers=EXPERTS),
    Small("GraniteMoeHybridForCausalLM", numbers={**EXPERTS, **MAMBA_HEADS, "layer_types": MIXED}),
    Small("CohereForCausalLM"),
    Small("GlmForCausalLM"),
    Small("HeliumForCausalLM"),
    Small("DiffLlamaForCausalLM"),
    Small("MiniMaxForCausalLM", numbers=EXPERTS),
    Small("GptOssForCausalLM", numbers=EXPERTS),
    Small("DeepseekV3ForCausalLM", numbers={
        "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4,
        "num_key_value_heads": 4, "first_k_dense_replace": 1, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
        "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": None,
    }),
    Small("RecurrentGemmaForCausalLM", numbers={"lru_width": 16, "attention_window_size": 8}),
    Small("JambaForCausalLM", numbers={**EXPERTS, "attn_layer_period": 3, "attn_layer_offset": 1}),
    Small("BambaForCausalLM", numbers={**MAMBA_HEADS, "attn_layer_indices": [1]}),
    Small("ZambaForCausalLM",
          numbers={"n_mamba_heads": 2, "layers_block_type": ["mamba", "hybrid", "hybrid"], **NO_HEAD_DIM}),
    Small("Lfm2ForCausalLM", numbers={"layer_types": ["conv", "full_attention", "conv"]}),
    Small("MambaForCausalLM", "backbone.layers"),
    Small("FalconMambaForCausalLM", "backbone.layers"),
    Small("Mamba2ForCausalLM", "backbone.layers", numbers={
        "num_heads": 4, "head_dim": 8, "state_size": 8, "n_groups": 1, "expand": 2, "chunk_size": 8,
    }),
    Small("RwkvForCausalLM", "rwkv.blocks"),
    Small("BertLMHeadModel", "bert.encoder.layer", numbers={"is_decoder": True}),
    Small("RobertaForCausalLM", "roberta.encoder.layer", numbers={"is_decoder": True}),
    Small("BartForCausalLM", "model.decoder.layers", numbers=DECODER),
    Small("OPTForCausalLM", "model.decoder.layers", name="OPTForCausalLM, post-norm",
          numbers={"ffn_dim": 32, "do_layer_norm_before": False}),
    Small("T5ForConditionalGeneration", None, numbers={"d_ff": 32, "d_kv": 4}),
    Small("BartForConditionalGeneration", None, numbers=DECODER),
    Small("CpmAntForCausalLM", None),
    Small("HrmTextForCausalLM", None),
)  # fmt: skip


def made(small: Small, seed: int) -> Any:
    """A random model in evaluation mode."""
    import torch
    import transformers

    kind: Any = getattr(transformers, small.kind)
    numbers = {name: value for name, value in {**SHAPE, **small.numbers}.items() if value is not None}
    torch.manual_seed(seed)
    return kind(kind.config_class(**numbers)).eval()


def tokens() -> Any:
    """Random ids that are not special ones."""
    import torch

    return torch.randint(3, SHAPE["vocab_size"], (SEQUENCES, POSITIONS), generator=torch.Generator().manual_seed(7))


def reference(folder: Path, blocks: str) -> dict[str, Any]:
    """The arrays of a measurement, by sorting all magnitudes of Hugging Face's own hidden states."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    last: list[Any] = []
    block = model.get_submodule(blocks)[-1]
    handle = block.register_forward_hook(lambda m, a, out: last.append(out if torch.is_tensor(out) else out[0]))
    with torch.no_grad():
        stated = model(tokens(), output_hidden_states=True, use_cache=False).hidden_states
    handle.remove()
    final = last[0] if last[0].shape[:2] == (SEQUENCES, POSITIONS) else last[0].transpose(0, 1)
    # Mamba and RWKV state every block's output, the others the embeddings and every output but the last.
    inner = stated[: len(stated) - 2] if _same(stated[-2], final) else stated[1:-1]
    found: dict[str, list[Any]] = {"top": [], "token": [], "dimension": [], "median": []}
    for hidden in (*inner, final):
        flat = hidden.abs().flatten(1)
        order = flat.sort(dim=1, descending=True, stable=True)
        found["top"].append(order.values[:, :3])
        found["token"].append(order.indices[:, :3] // hidden.shape[2])
        found["dimension"].append(order.indices[:, :3] % hidden.shape[2])
        found["median"].append(flat.median(dim=1).values)
    return {name: np.stack([t.numpy() for t in tensors], axis=1) for name, tensors in found.items()}


def _same(one: Any, other: Any) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def source_of(root: Path, *, remote: bool) -> Any:
    """A folder of checkpoints, as a local or as a remote source."""
    from massact.checkpoints import FolderSource

    if not remote:
        return FolderSource(root)

    class Fetched(FolderSource):
        """A folder that a sweep treats as a remote source, so that its models are measured by a bridge."""

        def identify_many(self, steps: Any) -> dict[int, Any]:
            return {step: self.identify(step) for step in steps}

        def final(self) -> None:
            return None

        def cached(self, step: int) -> bool:
            return True

        def folder(self) -> Path:
            return self.root

        def release(self, identity: Any, *, keep: bool = False) -> None:
            return None

        def awaited(self, seconds: float) -> bool:
            return True

    return Fetched(root)


def swept(root: Path, *, remote: bool) -> Any:
    """The result of one sweep over all steps."""
    from massact.extract.options import SweepOptions
    from massact.extract.probe import Probe
    from massact.extract.store import RecordStore
    from massact.extract.sweep import measure_checkpoints

    probe = Probe.of(tokens())
    with tempfile.TemporaryDirectory() as records:
        result, _ = measure_checkpoints(
            source_of(root, remote=remote),
            list(STEPS),
            lambda folder: probe,
            RecordStore(Path(records)),
            dtype="float32",
            device="cpu",
            label=root.name,
            options=SweepOptions(progress=False),
        )
    return result


def outcome(small: Small, root: Path, *, remote: bool) -> tuple[str, str]:
    """The kind of outcome (bridge, plain hooks, refused, fault) and its message."""
    import numpy as np

    try:
        result = swept(root, remote=remote)
    except Exception as error:
        return "fault", f"the sweep ended: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
    if result.failed:
        lines = {str(failure) for failure in result.failed.values()}
        line = min(lines).replace(str(root), "ROOT")
        whole = len(result.failed) == len(STEPS) and not any("\n" in line for line in lines)
        return ("refused" if whole and small.blocks is None else "fault"), line
    if small.blocks is None:
        return "fault", "measured, but its blocks hand on no residual stream"
    for step, measurement in result.measured.items():
        expected = reference(root / f"step{step}", small.blocks)
        wrong = [name for name, array in expected.items() if not np.array_equal(measurement.arrays()[name], array)]
        if wrong:
            return "fault", f"step {step}: other {', '.join(wrong)} than Hugging Face's"
    way, reasons = result.attached()
    return str(way), "; ".join(reasons)


def saved(small: Small, root: Path) -> None:
    """Write the checkpoints of a class."""
    for step in STEPS:
        made(small, seed=step).save_pretrained(root / f"step{step}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="parts of class names")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    counts: Counter[tuple[str, str]] = Counter()
    chosen = [small for small in CLASSES if not args.only or any(part in small.label for part in args.only)]
    for small in chosen:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / small.kind
            saved(small, root)
            for source in ("folder", "remote"):
                kind, said = outcome(small, root, remote=source == "remote")
                counts[source, kind] += 1
                print(f"{small.label:44} {source:7} {kind:12} {said}", flush=True)
    print(f"{len(chosen)} kinds of {len({small.kind for small in chosen})} classes, {len(STEPS)} checkpoints each")
    for (source, kind), count in sorted(counts.items()):
        print(f"{source}: {count} {kind}")
    return int(any(kind == "fault" for _, kind in counts))


if __name__ == "__main__":
    sys.exit(main())
