import threading

import pytest

from massact.extract.ahead import ahead


@pytest.mark.parametrize("depth", [0, 1, 3, 9])
def test_every_item_comes_once_in_order(depth):
    assert [(item, made()) for item, made in ahead(range(5), lambda n: n * n, depth)] == [(n, n * n) for n in range(5)]


def test_the_next_is_made_while_one_is_in_use_and_no_more():
    begun = {n: threading.Event() for n in range(4)}

    def prepare(n):
        begun[n].set()
        return n

    items = ahead(range(4), prepare, 1)
    _, made = next(items)
    assert made() == 0
    assert begun[1].wait(5)
    assert not begun[2].is_set()
    next(items)
    assert begun[2].wait(5)


def test_an_error_comes_where_its_item_is_used():
    def prepare(n):
        if n == 1:
            raise ValueError("one")
        return n

    got = []
    for n, made in ahead(range(3), prepare, 2):
        try:
            got.append(made())
        except ValueError as error:
            got.append((n, str(error)))
    assert got == [0, (1, "one"), 2]


def test_nothing_more_is_made_once_the_consumer_stops():
    made = []
    for _ in ahead(range(100), made.append, 1):
        break
    assert len(made) <= 3
