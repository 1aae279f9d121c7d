"""Layers side by side: their order, their threads, and how they end."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, active_count

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from spectra.backend.threads import in_order


def blas_threads():
    np.linalg.norm(np.ones((3, 3)) @ np.ones((3, 3)))
    pools = threadpool_info()
    return {p["num_threads"] for p in pools if p["user_api"] == "blas"}


def wait_until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_results_come_in_the_order_of_the_items():
    waits = {0: 0.05, 1: 0.0, 2: 0.02, 3: 0.0}
    found = in_order(
        lambda item: time.sleep(waits[item]) or 10 * item, waits, workers=3
    )
    assert list(found) == [(item, 10 * item) for item in waits]


def test_each_worker_has_one_thread_and_others_theirs_again():
    with threadpool_limits(2):
        ((_, within),) = in_order(lambda _: blas_threads(), [0], workers=1)
        assert within == {1}
        assert blas_threads() == {2}


def test_an_interrupt_does_not_wait_for_what_is_under_way():
    """C8: a layer may take minutes; it is dropped, and ends by itself."""
    begun, may_end = Event(), Event()

    def work(_):
        begun.set()
        assert may_end.wait(60)

    def interrupt(number, frame):
        raise KeyboardInterrupt

    threads, old = active_count(), signal.signal(signal.SIGALRM, interrupt)
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
        wait_until(lambda: active_count() == threads)


def test_who_begins_while_an_interrupted_one_ends_leaves_the_threads():
    """In a notebook: Ctrl-C, and the next cell, which ends first or last."""
    with threadpool_limits(2):
        check_two_cells()


def check_two_cells():
    for order in (("first", "second"), ("second", "first")):
        begun, may_end = Event(), {name: Event() for name in order}

        def work(name, begun=begun, may_end=may_end):
            if name == "second":
                begun.set()
            assert may_end[name].wait(60)
            return blas_threads()

        def interrupted():
            yield "first"
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(in_order(work, interrupted(), workers=1))
        with ThreadPoolExecutor(1) as cell:
            second = in_order(work, ["second"], workers=1)
            found = cell.submit(list, second)
            assert begun.wait(60)
            for name in order:
                may_end[name].set()
                time.sleep(0.2)
            assert found.result() == [("second", {1})]
        wait_until(lambda: blas_threads() == {2})


def test_whichever_thread_has_set_limits_before():
    """Since threadpoolctl 3.8 the first thread alone can, else."""
    with threadpool_limits(2), ThreadPoolExecutor(1) as other:
        work = in_order(lambda _: blas_threads(), [0], workers=1)
        assert other.submit(list, work).result() == [(0, {1})]
        assert blas_threads() == {2}
    with ThreadPoolExecutor(1) as other:
        list(in_order(lambda _: None, [0], workers=1))
        limits = other.submit(threadpool_limits, 2).result()
        assert blas_threads() == {2}, "ours has let go"
        other.submit(limits.restore_original_limits).result()


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
