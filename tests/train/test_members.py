import pytest

from massact.errors import TrainError
from massact.train.members import grid, ladder
from tests.models import tiny


def test_replicated_architectures_are_trained_with_every_seed():
    members = grid("small", [tiny(n_layers=2), tiny(n_layers=3)], [1], seeds=3)
    assert [member.name for member in members] == [
        "small-000-seed0", "small-001-seed0", "small-001-seed1", "small-001-seed2",
    ]  # fmt: skip
    with pytest.raises(TrainError, match="replicated has 2"):
        grid("small", [tiny(), tiny(n_layers=3)], [2], seeds=3)


def test_a_ladder_varies_heads_alone():
    members = ladder("small", "heads", tiny(d_model=24, n_heads=1), [1, 2, 3], range(2))
    assert [(m.model, m.seed, m.architecture.n_heads) for m in members][:3] == [
        ("small-heads-1", 0, 1), ("small-heads-1", 1, 1), ("small-heads-2", 0, 2),
    ]  # fmt: skip
    assert {(m.architecture.d_model, m.architecture.d_mlp, m.part) for m in members} == {(24, 96, "heads")}


def test_the_cost_grows_with_depth_and_width():
    small, deep, wide = (grid("s", [tiny(n_layers=n, d_model=d)], [], 1)[0] for n, d in ((2, 16), (4, 16), (2, 256)))
    assert small.cost < deep.cost
    assert small.cost < wide.cost
