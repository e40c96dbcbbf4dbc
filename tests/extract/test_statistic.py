"""Record keys by statistic: records from before there were several statistics belong to `Magnitudes`."""

from __future__ import annotations

import hashlib
from types import MappingProxyType

import numpy as np
import pytest
import torch

from massact.checkpoints.source import Identity
from massact.errors import MeasureError
from massact.extract import Magnitudes, Probe, RecordStore, Statistic, measure, provenance
from massact.extract.magnitudes import magnitudes
from massact.extract.quantity import Quantity, mean_of
from massact.extract.statistic import BLOCK_OUTPUT, Array, HookPoint
from tests.models import tiny_model

TOKENS = torch.arange(18).reshape(3, 6)


class Norms(Statistic):
    """The mean norm of the residual stream, and of what the MLP adds to it."""

    MLP = HookPoint(("mlp",))
    name = "norms"
    hooks = (MLP, BLOCK_OUTPUT)
    arrays = MappingProxyType(
        {"mlp": Array("float32", "norm of the MLP's output"), "stream": Array("float32", "norm of the stream")}
    )
    quantities = MappingProxyType({"stream": Quantity("norm", "norm of the stream", mean_of("stream"))})

    def reduce(self, block):
        return {
            "mlp": block.tensors[self.MLP].norm(dim=-1).mean(-1),
            "stream": block.output.norm(dim=-1).mean(-1),
        }


@pytest.fixture
def fixed(monkeypatch):
    """Versions and arithmetic that no machine changes."""
    monkeypatch.setattr(
        provenance, "library_versions", lambda: {"torch": "1", "transformers": "2", "transformer-lens": "3"}
    )
    monkeypatch.setattr(provenance, "_arithmetic", lambda: "float32 highest")
    probe = Probe(np.arange(12).reshape(3, 4), "t", -1)
    return Identity(7, "step7", "x", "ab" * 32, {}, 0, "cfg"), probe


def test_records_of_magnitudes_keep_their_keys_and_their_bytes(fixed, tmp_path):
    """Written by the version before statistics had objects of their own: every stored record is still found."""
    key = provenance.record_key(*fixed, "float32", "cpu")
    assert key == "b14ad8365cc3faaf1836fef97bc9bb98b039144fc13ab81784278c719a7cea3c"
    assert provenance.record_key(*fixed, "float32", "cpu", Magnitudes()) == key
    top = np.arange(18, dtype=np.float32).reshape(3, 2, 3)[::-1, ::-1, ::-1] + 1
    places = np.zeros((3, 2, 3), dtype=np.int32)
    store = RecordStore(tmp_path)
    store.write(key, magnitudes(top, places + 1, places + 2, top[..., -1] * 0.5, "plain hooks: why"))
    content = store.path(key).read_bytes()
    assert hashlib.sha256(content).hexdigest() == "abe4f75d6c028bcb54de48c8063aca2c2385f603e80e929a7d62c64d21a9652e"


def test_each_statistic_version_and_option_has_records_of_its_own(fixed):
    class Newer(Norms):
        version = 2

    class Other(Norms):
        def options(self):
            return {"order": 2}

    kinds = (Magnitudes(), Magnitudes(5), Norms(), Newer(), Other())
    keys = [provenance.record_key(*fixed, "float32", "cpu", kind) for kind in kinds]
    assert len(set(keys)) == len(kinds)
    assert [key.kind for key in keys] == list(kinds)


def test_several_statistics_are_measured_in_the_same_passes_and_each_as_alone():
    model = tiny_model()
    both = measure(model, TOKENS, statistics=(Magnitudes(), Norms()), sequences_at_once=2)
    plain = measure(model, TOKENS)
    for name, array in plain.arrays().items():
        assert np.array_equal(both.arrays()[name], array)
    alone = measure(model, TOKENS, statistics=(Norms(),))
    for name, array in alone.arrays("norms").items():
        assert np.array_equal(both.arrays("norms")[name], array)
        assert array.shape == (3, 2) and array.dtype == np.float32
    assert list(both.reduced) == ["magnitudes", "norms"]
    assert repr(alone) == "Measurement(norms)"
    with pytest.raises(MeasureError, match="magnitudes was not measured, only norms"):
        _ = alone.top


def test_a_tensor_read_early_is_the_one_that_was_read():
    model, inputs = tiny_model(), []
    blocks = model.gpt_neox.layers
    handles = [block.mlp.register_forward_hook(lambda m, a, output: inputs.append(output.clone())) for block in blocks]
    norms = measure(model, TOKENS, statistics=(Norms(),)).arrays("norms")["mlp"]
    for handle in handles:
        handle.remove()
    expected = torch.stack([output.norm(dim=-1).mean(-1) for output in inputs[-len(blocks) :]], dim=1)
    assert np.array_equal(norms, expected.numpy())


def test_what_cannot_be_measured_is_refused_in_one_line():
    class NoPart(Norms):
        hooks = (HookPoint(("no_such_part", "nor_this")),)

    with pytest.raises(MeasureError, match=r"layer 0 of GPTNeoXModel has no no_such_part or nor_this"):
        measure(tiny_model(), TOKENS, statistics=(NoPart(),))
    with pytest.raises(MeasureError, match="two statistics are called norms"):
        measure(tiny_model(), TOKENS, statistics=(Norms(), NoPart()))
    with pytest.raises(MeasureError, match="no statistic to measure"):
        measure(tiny_model(), TOKENS, statistics=())


@pytest.mark.parametrize(
    "arrays",
    [
        {"mlp": np.ones((2, 3), np.float32)},
        {"mlp": np.ones((2, 3)), "stream": np.ones((2, 3), np.float32)},
        {"mlp": np.ones((2, 3), np.float32), "stream": np.ones((2, 4), np.float32)},
        {"mlp": np.ones((2, 3, 1), np.float32), "stream": np.ones((2, 3), np.float32)},
        {"mlp": np.full((2, 3), np.nan, np.float32), "stream": np.ones((2, 3), np.float32)},
        {"mlp": np.ones((3, 3), np.float32), "stream": np.ones((3, 3), np.float32)},
    ],
)
def test_arrays_that_a_statistic_does_not_give_are_not_believed(arrays):
    whole = {name: np.ones((2, 3), np.float32) for name in ("mlp", "stream")}
    Norms().check(whole, {"sequences": 2})
    with pytest.raises(ValueError, match=r"arrays|shapes|finite|number of sequences"):
        Norms().check(arrays, {"sequences": 2})
