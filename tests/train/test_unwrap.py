import copy

import pytest
import torch
from torch import nn

from massact.errors import MeasureError
from massact.train.unwrap import unwrapped
from tests.models import tiny_model


@pytest.fixture
def alone(tmp_path):
    """A process group of one, so that DistributedDataParallel is the real one."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_a_model_is_itself():
    model = tiny_model()
    assert unwrapped(model) is model


def test_what_trainers_wrap_around_it_is_taken_off(alone):
    model = tiny_model()
    assert unwrapped(nn.DataParallel(model)) is model
    assert unwrapped(nn.parallel.DistributedDataParallel(model)) is model
    assert unwrapped(torch.compile(model)) is model
    assert unwrapped(torch.compile(nn.parallel.DistributedDataParallel(model))) is model


def test_sharded_weights_are_refused(alone):
    from torch.distributed.fsdp import fully_shard

    model = copy.deepcopy(tiny_model())
    fully_shard(model, mesh=torch.distributed.init_device_mesh("cpu", (1,)))
    with pytest.raises(MeasureError, match="sharded over processes"):
        unwrapped(model)
