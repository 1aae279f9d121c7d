"""Buffers that take turns, on queues whose work is done as late as can be."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest

from spectra.backend.staging import PlainCopies, staged

N, STEP = 3, 8
SPANS = [(at, min(at + STEP, 53)) for at in range(0, 53, STEP)]
DATA = np.random.default_rng(5).standard_normal((N, 53))


@dataclass
class Place:
    """An event: done when its queue has got there."""

    queues: "Queues"
    name: str
    done: bool = False

    def synchronize(self):
        while self.queues.host_waits and not self.done:
            assert self.queues.step(self.name), "nothing left to wait for"


@dataclass
class Queues:
    """Copies and work of a device that does nothing before somebody waits.

    The `eager` queue runs as far ahead as the events let it.
    """

    eager: str = ""
    host_waits: bool = True
    copies_wait: bool = True
    work_waits: bool = True
    pending: dict = field(
        default_factory=lambda: {"copies": deque(), "work": deque()}
    )

    def buffer(self, shape, dtype):
        return np.full(shape, np.nan, dtype)

    def copy(self, source, target, after):
        if self.copies_wait:
            self._queue("copies", after)
        self._queue("copies", lambda: np.copyto(target, source))
        return self._place("copies")

    def record(self):
        return self._place("work")

    def wait(self, event):
        if self.work_waits:
            self._queue("work", event)

    def do(self, what):
        """Queue work, as a library does that is asked for a product."""
        self._queue("work", what)

    def finish(self):
        """Do all that is left, the copies last."""
        while self.step("work") or self.step("copies"):
            pass

    def step(self, name):
        """Do the first thing of a queue, and before it what it waits for."""
        queue = self.pending[name]
        if not queue:
            return False
        if isinstance(queue[0], Place) and queue[0].name != name:
            event = queue[0]
            while not event.done:
                assert self.step(event.name), "nothing left to wait for"
            queue.popleft()
        else:
            first = queue.popleft()
            if isinstance(first, Place):
                first.done = True
            else:
                first()
        return True

    def _place(self, name):
        place = Place(self, name)
        self._queue(name, place)
        return place

    def _queue(self, name, what):
        self.pending[name].append(what)
        if self.eager:
            self._run_ahead(self.pending[self.eager])

    def _run_ahead(self, queue):
        while queue:
            first = queue[0]
            if isinstance(first, Place) and first.name != self.eager:
                if not first.done:
                    return
                queue.popleft()
            else:
                self.step(self.eager)


def sent(queues):
    """Return what work on the device saw of each block."""
    seen, before = [], []
    rooms = [np.full((N, STEP), np.nan) for _ in range(2)]
    # What the rooms' memory held may still be read by earlier work.
    queues.do(lambda: before.append(rooms[0].copy()))

    def fill(start, stop, out):
        out[:] = DATA[:, start:stop]

    for block in staged(queues, rooms, np.float64, SPANS, fill):
        queues.do(lambda block=block: seen.append(block.copy()))
    queues.finish()
    assert np.isnan(before[0]).all() or not queues.copies_wait
    return np.concatenate(seen, axis=1)


EAGER = ("", "copies", "work")


@pytest.mark.parametrize("eager", EAGER)
def test_every_block_arrives_as_it_was_filled(eager):
    np.testing.assert_array_equal(sent(Queues(eager)), DATA)


@pytest.mark.parametrize(
    "left_out", ["host_waits", "copies_wait", "work_waits"]
)
def test_each_wait_is_needed(left_out):
    """Taken out, some order that the queues allow gives other numbers."""
    wrong = [
        eager
        for eager in EAGER
        if not np.array_equal(sent(Queues(eager, **{left_out: False})), DATA)
    ]
    assert wrong


@pytest.mark.parametrize("eager", EAGER)
def test_no_copy_is_left_behind_where_work_stops(eager):
    """What copies read and write may be given back once it has."""
    queues = Queues(eager)

    def fill(start, stop, out):
        if start >= 3 * STEP:
            raise OSError("gone")
        out[:] = DATA[:, start:stop]

    rooms = [np.zeros((N, STEP)) for _ in range(2)]
    with pytest.raises(OSError, match="gone"):
        for _ in staged(queues, rooms, np.float64, SPANS, fill):
            pass
    assert not any(map(callable, queues.pending["copies"]))


def test_plain_copies_are_done_when_they_return():
    copies, source, target = PlainCopies(), np.arange(3.0), np.zeros(3)
    copies.copy(source, target, copies.record())
    source[:] = 0
    assert target.tolist() == [0, 1, 2]
