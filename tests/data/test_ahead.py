"""Iterators that run ahead of their consumer."""

import threading
import time

import pytest

from bidnn.data.ahead import ahead, made_ahead


def test_the_items_come_in_order_and_only_the_next_ones_are_made():
    made = []

    def items():
        for number in range(20):
            made.append(number)
            yield number

    found = []
    for item in ahead(items(), depth=2):
        found.append(item)
        time.sleep(0.002)
        assert len(made) <= len(found) + 4
    assert found == list(range(20))


def test_an_error_is_raised_at_its_place():
    def items():
        yield 1
        raise KeyError("two")

    iterator = ahead(items())
    assert next(iterator) == 1
    with pytest.raises(KeyError, match="two"):
        next(iterator)


def test_who_stops_early_leaves_no_thread_and_no_open_iterator():
    closed = []

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    before = threading.active_count()
    iterator = ahead(items())
    next(iterator)
    iterator.close()
    assert closed == [True]
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 3])
def test_several_threads_make_what_one_would_in_order(threads):
    started = threading.Barrier(threads)

    def make(number):
        if number < threads:
            started.wait(timeout=5)  # so that all of them work at once
        if number == 17:
            raise KeyError("seventeen")
        time.sleep(0.001 * (number % 3))
        return number**2

    found = []
    with pytest.raises(KeyError, match="seventeen"):
        found.extend(made_ahead(make, range(30), threads))
    assert found == [number**2 for number in range(17)]


def test_several_threads_end_with_their_consumer_and_are_not_far_ahead():
    begun = []
    before = threading.active_count()
    iterator = made_ahead(begun.append, range(1000), 2)
    next(iterator)
    iterator.close()
    assert len(begun) <= 3
    assert threading.active_count() == before
