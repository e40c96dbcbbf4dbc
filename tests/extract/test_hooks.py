import numpy as np
import pytest
import torch

from massact.errors import MeasureError
from massact.extract import measure
from tests.models import tiny_model


def reference(model, tokens):
    """Every block output kept, absolute values sorted, torch.median: what `measure` must equal bit for bit."""
    kept = {}
    handles = [
        block.register_forward_hook(
            lambda m, a, out, layer=layer: kept.__setitem__(layer, out[0] if isinstance(out, tuple) else out)
        )
        for layer, block in enumerate(model.gpt_neox.layers)
    ]
    tops, medians = [], []
    with torch.no_grad():
        for row in tokens:
            model.gpt_neox(row[None], use_cache=False)
            flat = [kept[layer][0].abs().flatten() for layer in range(len(handles))]
            tops.append([f.sort(descending=True).values[:3].numpy() for f in flat])
            medians.append([f.median().item() for f in flat])
    for handle in handles:
        handle.remove()
    return np.array(tops), np.array(medians, dtype=np.float32)


def test_equals_the_plain_reference_bit_for_bit():
    model = tiny_model(n_layers=3)
    tokens = torch.randint(0, 300, (4, 17), generator=torch.Generator().manual_seed(1))
    measured = measure(model, tokens)
    tops, medians = reference(model, tokens)
    assert np.array_equal(measured.top, tops)
    assert np.array_equal(measured.median, medians)
    assert measured.top.shape == measured.token.shape == measured.dimension.shape == (4, 3, 3)
    assert measured.top.dtype == np.float32
    assert measured.token.dtype == np.int32


def test_finds_a_planted_spike():
    model = tiny_model()
    with torch.no_grad():
        model.gpt_neox.embed_in.weight[7, 5] = 1000.0
    tokens = torch.tensor([[1, 2, 7, 3], [7, 1, 2, 3]])
    measured = measure(model, tokens)
    assert measured.token[:, 0, 0].tolist() == [2, 0]
    assert measured.dimension[:, :, 0].tolist() == [[5, 5], [5, 5]]


def test_leaves_the_model_as_it_was():
    model = tiny_model().train()
    measure(model, torch.tensor([[1, 2, 3]]))
    assert model.training
    assert not any(block._forward_hooks for block in model.gpt_neox.layers)


def test_overflow_names_sequence_layer_and_remedy():
    model = tiny_model()
    with torch.no_grad():
        model.gpt_neox.embed_in.weight[7] = float("inf")
    with pytest.raises(MeasureError, match=r"sequence 1: layer 0 .*float32") as caught:
        measure(model, torch.tensor([[1, 2], [7, 2]]))
    assert "float32" in caught.value.remedy


@pytest.mark.parametrize("shape", [(3,), (0, 4), (1, 2, 3)])
def test_tokens_of_another_shape_are_refused(shape):
    with pytest.raises(MeasureError, match="shape"):
        measure(tiny_model(), torch.zeros(shape, dtype=torch.long))
