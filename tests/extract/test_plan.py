import pytest
import torch

from massact import Architecture
from massact.errors import ConfigError
from massact.extract.plan import forward_flops, plan_sweep, require_disk
from massact.train import build_model


def test_finished_checkpoints_make_room_for_the_next():
    sizes = [0, 3, 1, 4, 1, 5]
    given_back = plan_sweep(sizes, depth=1, keep=False, seconds_each=2.0, bandwidth_mb_s=1.0)
    kept = plan_sweep(sizes, depth=1, keep=True, seconds_each=2.0, bandwidth_mb_s=1.0)
    assert (given_back.fetch_bytes, given_back.peak_bytes) == (14, 6)
    assert kept.peak_bytes == 14
    assert given_back.measure_seconds == 12.0


def test_a_plan_says_what_it_takes():
    plan = plan_sweep([2 * 10**9] * 3, depth=0, keep=False, seconds_each=3600.0, bandwidth_mb_s=50.0)
    assert str(plan) == "3 checkpoints to measure, about 3.0 h; 6.00 GB to fetch, 2.00 GB on disk at once"


def test_what_cannot_fit_is_refused_with_numbers(tmp_path):
    fits = plan_sweep([10**6], depth=1, keep=False, seconds_each=1.0, bandwidth_mb_s=1.0)
    require_disk(fits, tmp_path / "not" / "there", None)
    with pytest.raises(ConfigError, match=r"sweep\.disk_gb allows 0\.0005 GB"):
        require_disk(fits, tmp_path, 0.0005)
    huge = plan_sweep([10**18], depth=1, keep=False, seconds_each=1.0, bandwidth_mb_s=1.0)
    with pytest.raises(ConfigError, match=r"need 1000000000\.00 GB at once in .* are free;") as caught:
        require_disk(huge, tmp_path, None)
    assert "HF_HOME" in caught.value.remedy


def test_forward_flops_are_two_a_weight_and_token():
    a = Architecture(n_layers=3, d_model=64, n_heads=4, d_mlp=160, vocab_size=100)
    model = build_model(a, 0)
    matrices = sum(p.numel() for p in model.gpt_neox.layers.parameters() if p.ndim == 2)
    attention = 3 * 2 * 16 * 64
    assert forward_flops(a, 2, 16) == 2 * 32 * (matrices + attention)
    assert torch.is_tensor(next(model.parameters()))
