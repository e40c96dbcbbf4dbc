"""Folders of checkpoints as user trainings write them: small random models with a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

TOKENS_PER_STEP = 4096


def write_run(
    root: Path, kind: str = "llama", *, name: str = "checkpoint-{}", steps: tuple[int, ...] = (0, 10, 20, 50, 100, 200),
    tokenizer: bool = True,
) -> Path:  # fmt: skip
    """Checkpoints of one model whose largest activation grows, with the state that Hugging Face's Trainer writes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from tests.gallery import KINDS

    (small,) = (each for each in KINDS if each.name == kind)
    settings = {**small.config, "vocab_size": 300}
    for number, step in enumerate(steps):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))
        with torch.no_grad():
            model.get_input_embeddings().weight[:, 5] += 0.02 * number
        folder = root / name.format(step)
        model.save_pretrained(folder)
        if tokenizer:
            byte_tokenizer().save_pretrained(folder)
        state = {"global_step": step, "num_input_tokens_seen": step * TOKENS_PER_STEP}
        (folder / "trainer_state.json").write_text(json.dumps(state))
    return root


def byte_tokenizer():
    """A byte tokenizer that puts <s> in front."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({"<s>": 0, **{letter: at for at, letter in enumerate(letters, 1)}}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")
