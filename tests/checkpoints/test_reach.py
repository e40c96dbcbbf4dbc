from __future__ import annotations

import socket
import time

import pytest

from massact.checkpoints.reach import reachable
from tests.hub import serving

pytestmark = pytest.mark.usefixtures("online")


def test_any_answer_will_do_and_is_believed():
    with serving({}, fail={"/": 500}) as hub:
        assert reachable(hub.url)
        assert reachable(hub.url)
        assert hub.count("HEAD") == 1


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "not an address", "http://name.invalid"])
def test_no_answer_is_no(endpoint):
    began = time.perf_counter()
    assert not reachable(endpoint, timeout=2.0)
    assert time.perf_counter() - began < 3


def test_a_silent_server_costs_the_timeout_once():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.perf_counter()
        assert not reachable(endpoint, timeout=0.3)
        assert not reachable(endpoint, timeout=0.3)
        assert time.perf_counter() - began < 1
