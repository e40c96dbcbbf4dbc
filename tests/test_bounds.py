"""Every number of the configuration has bounds, and a value outside them is refused in one line before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from massact.bounds import BOUNDS, numbers_of
from massact.errors import ConfigError
from massact.preflight import preflight

CONF = Path(__file__).parents[1] / "conf"
# Their largest value is the model's context.
ELSEWHERE = {"probe.length", "model.probe.length"}


def test_every_number_has_a_row():
    keys = set()
    for overrides in (
        ["checkpoints=list", "checkpoints.steps=[0]", "probe.length=8", "sweep.disk_gb=3", "sweep.sequences_at_once=1"],
        ["model=olmo-1b", "checkpoints=log"],
        ["suite=micro"],
    ):
        keys |= set(numbers_of(preflight(overrides, CONF, multirun=False)[0]))
    assert keys - ELSEWHERE == set(BOUNDS)


@pytest.mark.parametrize(
    "override",
    [
        "suite.architectures=0", "suite.architectures=-1", "suite.architectures=10001", "suite.seed=-1",
        "suite.recipe.optimiser.learning_rate=nan", "suite.recipe.optimiser.learning_rate=-1",
        "suite.recipe.optimiser.beta1=5", "suite.recipe.batch=-5", "suite.space.layers=[0,3]", "suite.replicates=0",
        "suite.ladders.heads.n_heads=[]", "suite.ladders.heads.n_heads=[1,0]", "suite.worker=-1", "suite.measured=0",
        "model.recipe.batch=-5", "model.recipe.optimiser.learning_rate=0", "model.recipe.optimiser.learning_rate=inf",
        "model.recipe.steps=0", "model.recipe.vocab_size=10", "model.architecture.n_layers=100000",
        "model.architecture.rotary_base=nan", "model.architecture.rotary_fraction=nan", "model.probe.first_token=-1",
        "train.threads=0", "train.threads=-1", "train.threads=100000", "predictor.folds=0", "predictor.folds=1",
        "predictor.seed=-1", "fit.resamples=-1", "fit.resamples=1000000000", "probe.documents=0",
        "sweep.disk_gb=nan", "sweep.disk_gb=0", "sweep.bandwidth_mb_s=inf", "sweep.patience_s=-1", "sweep.prefetch=-1",
        "model.seed=5000000000", "published.sequences=0",
    ],
)  # fmt: skip
def test_a_number_outside_is_one_line_that_names_the_key(override):
    with pytest.raises(ConfigError) as caught:
        preflight([override], CONF, multirun=False)
    assert str(caught.value).startswith(override.partition("=")[0])
    assert "give" in str(caught.value)
    assert "\n" not in str(caught.value)
