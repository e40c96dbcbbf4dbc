"""A bridge is used if it equals Hugging Face's model to the last bit; otherwise plain hooks are."""

from __future__ import annotations

import pytest
import torch
from benchmarks.faults_classes import CLASSES, outcome, saved, tokens
from transformers import AutoModelForCausalLM

from massact.checkpoints import CheckpointStatus, SourceError, load_bridge
from massact.checkpoints.native import known
from massact.checkpoints.parity import BridgeOrPlain
from massact.extract.hooks import block_outputs
from tests.models import tiny_model

BY_LABEL = {small.label: small for small in CLASSES}
MENDED = {
    "OPTForCausalLM": "bridge",
    "OPTForCausalLM, post-norm and projecting": "bridge",
    "OpenAIGPTLMHeadModel": "plain hooks",
    "XLNetLMHeadModel": "plain hooks",
    "GptOssForCausalLM": "plain hooks",
    "JambaForCausalLM": "plain hooks",
    "BambaForCausalLM": "plain hooks",
    "Lfm2ForCausalLM": "plain hooks",
    "Qwen3NextForCausalLM": "plain hooks",
    "OlmoHybridForCausalLM": "plain hooks",
    "GraniteMoeHybridForCausalLM": "plain hooks",
    "HeliumForCausalLM": "plain hooks",
    "MiniMaxForCausalLM": "plain hooks",
    "DiffLlamaForCausalLM": "plain hooks",
    "GPTNeoXJapaneseForCausalLM": "plain hooks",
    "RecurrentGemmaForCausalLM": "plain hooks",
    "GPTNeoXForCausalLM": "bridge",
    "MambaForCausalLM": "bridge",
}


@pytest.mark.parametrize("label", MENDED)
def test_every_class_is_measured_as_hugging_face_computes_it_and_the_method_is_recorded(label, tmp_path):
    small = BY_LABEL[label]
    saved(small, tmp_path)
    assert outcome(small, tmp_path, remote=False) == ("plain hooks", "")
    way, why = outcome(small, tmp_path, remote=True)
    assert way == MENDED[label], why
    assert bool(why) == (way == "plain hooks")
    assert "\n" not in why


@pytest.mark.parametrize("label", [small.label for small in CLASSES if small.blocks is None])
def test_a_class_without_one_residual_stream_is_refused_in_one_line(label, tmp_path):
    small = BY_LABEL[label]
    saved(small, tmp_path)
    for remote in (False, True):
        kind, line = outcome(small, tmp_path, remote=remote)
        assert kind == "refused", line
        assert "\n" not in line


class Tried:
    """What is asked of a bridge's maker."""

    def __init__(self, bridge, model):
        self.bridge, self.model, self.wrapped, self.loaded = bridge, model, 0, 0

    def wrap(self, model):
        self.wrapped += 1
        return self.bridge(model) if callable(self.bridge) else self.bridge

    def again(self):
        self.loaded += 1
        return self.model


def fails(model):
    raise AttributeError("no such part")


def test_a_bridge_that_differs_or_fails_is_tried_once_and_the_model_loaded_again():
    model, other = tiny_model(seed=0), tiny_model(seed=1)
    choice = BridgeOrPlain(block_outputs)
    for bridge, words in ((lambda m: other, "differs from Hugging Face's own layer 0"), (fails, "no such part")):
        tried = Tried(bridge, tiny_model(seed=0))
        config = {"kind": words}
        chosen, why = choice.given(model, config, wrap=tried.wrap, again=tried.again)
        assert chosen is tried.model
        assert words in why
        chosen, again = choice.given(model, config, wrap=tried.wrap, again=tried.again)
        assert (chosen is model, again) == (True, why)
        assert (tried.wrapped, tried.loaded) == (1, 1)


def test_a_class_that_no_adapter_knows_is_never_wrapped():
    class Own(type(tiny_model())):
        pass

    assert not known("Own")
    model = tiny_model()
    model.__class__ = Own
    tried = Tried(fails, None)
    chosen, why = BridgeOrPlain(block_outputs).given(model, {}, wrap=tried.wrap, again=tried.again)
    assert chosen is model
    assert why == "TransformerLens knows no Own"
    assert tried.wrapped == tried.loaded == 0


def test_weights_that_overflow_do_not_count_as_a_difference():
    model = tiny_model()
    with torch.no_grad():
        model.gpt_neox.embed_in.weight[:] = float("nan")
    tried = Tried(lambda m: m, None)
    assert BridgeOrPlain(block_outputs).given(model, {}, wrap=tried.wrap, again=tried.again) == (model, "")


def test_a_bridge_asked_for_by_hand_is_refused_in_one_line_with_the_plain_way_out(tmp_path):
    small = BY_LABEL["GptOssForCausalLM"]
    saved(small, tmp_path)
    with pytest.raises(SourceError, match="cannot build a bridge for GptOssForCausalLM") as caught:
        load_bridge(tmp_path / "step0")
    assert caught.value.status is CheckpointStatus.LOAD_FAILED
    assert "massact.extract.measure" in caught.value.remedy
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "step0", dtype=torch.float32, local_files_only=True)
    assert len(block_outputs(plain, tokens())) == 3
