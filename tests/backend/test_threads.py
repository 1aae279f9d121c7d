"""Layers side by side: their order, their threads, and how they end."""

import signal
import time
from threading import Event

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from spectra.backend.threads import in_order


def blas_threads():
    np.linalg.norm(np.ones((3, 3)) @ np.ones((3, 3)))
    pools = threadpool_info()
    return {p["num_threads"] for p in pools if p["user_api"] == "blas"}


def test_results_come_in_the_order_of_the_items():
    waits = {0: 0.05, 1: 0.0, 2: 0.02, 3: 0.0}
    found = in_order(
        lambda item: time.sleep(waits[item]) or 10 * item, waits, workers=3
    )
    assert list(found) == [(item, 10 * item) for item in waits]


def test_each_worker_has_one_thread_and_others_theirs_again():
    before = blas_threads()
    ((_, within),) = in_order(lambda _: blas_threads(), [0], workers=1)
    assert within == {1}
    assert blas_threads() == before


def test_an_interrupt_does_not_wait_for_what_is_under_way():
    """C8: a layer may take minutes; it is dropped, and ends by itself."""
    begun, may_end = Event(), Event()

    def work(_):
        begun.set()
        assert may_end.wait(60)

    def interrupt(number, frame):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    started = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            list(in_order(work, range(9), workers=2))
        assert begun.is_set()
        assert time.monotonic() - started < 10
        assert blas_threads() == {1}, "what is under way has the same bits"
    finally:
        signal.signal(signal.SIGALRM, old)
        may_end.set()


def test_an_error_waits_for_the_others():
    begun, ended = Event(), []

    def work(item):
        if item == 0:
            begun.wait(60)
            raise ZeroDivisionError
        begun.set()
        time.sleep(0.1)
        ended.append(item)

    with pytest.raises(ZeroDivisionError):
        list(in_order(work, [0, 1], workers=2))
    assert ended == [1]


def test_nothing_is_begun_once_one_has_failed():
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.01)
        if item == 3:
            raise OSError("the disk is full")
        return item

    with pytest.raises(OSError, match="full"):
        list(in_order(work, range(9), workers=1))
    assert begun == [0, 1, 2, 3]
