"""Sources that count, and the process that is killed: run it with -m."""

import hashlib
import os
import random
import signal
import sys
import time
from pathlib import Path

from spectra.core.errors import SpectraError
from spectra.hub import partial, record
from spectra.hub.record import Key
from spectra.hub.spool import Spool
from spectra.weights.bytes import MemorySource

__all__ = [
    "ORIGIN",
    "PIECE",
    "CountingSource",
    "content_of",
    "git_sha1",
    "key_of",
    "sha256",
]

ORIGIN = f"hf://org/name@{'a' * 40}/adapter_model.safetensors"
PIECE = 4096
"""What a piece is in tests that do not ask for the real size."""

CALLS = ("fsync", "ftruncate", "mkdir", "pwrite", "rename")
"""What changes a disk."""


class CountingSource(MemorySource):
    """Keeps the offsets that were read."""

    def __init__(self, content, before=lambda offset: None):
        super().__init__(content)
        self.reads = []
        self.before = before

    def read_into(self, start, buffer, /):
        self.reads.append(start)
        self.before(start)
        super().read_into(start, buffer)


def content_of(nbytes):
    return random.Random(nbytes).randbytes(nbytes)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def git_sha1(content):
    return hashlib.sha1(
        b"blob %d\0" % len(content) + content, usedforsecurity=False
    ).hexdigest()


def key_of(content):
    return Key(sha256(content), len(content))


def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(call, log):
    """Kill this process at a call that changes the disk, or log how many."""
    count = 0

    def counted(function):
        def called(*args, **more):
            nonlocal count
            count += 1
            if count == call:
                kill()
            return function(*args, **more)

        return called

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    return lambda: log(f"calls {count}")


def main(folder, nbytes, piece, how, at):
    """Fetch, and say on stdout what is read; `how` and `at` end it early."""

    def log(text):
        os.write(1, f"{text}\n".encode())

    record.PIECE = partial.PIECE = piece
    content = content_of(nbytes)
    reads = 0

    def before(offset):
        nonlocal reads
        reads += 1
        log(f"read {offset}")
        if how == "slow":
            time.sleep(0.01)
        if reads == at and how == "die":
            kill()
        if reads == at and how == "block":
            time.sleep(60)

    with Spool(Path(folder)) as spool:
        done = die_at(at, log) if how == "call" else lambda: None
        source = CountingSource(content, before)
        try:
            path = spool.fetch(source, key_of(content), origin=ORIGIN)
        except SpectraError as error:
            log(error.code)
            raise SystemExit(error.exit_code) from None
        done()
        log(f"at {path}")
        if how == "hold":
            sys.stdin.read()


if __name__ == "__main__":
    place, nbytes, piece, how, at = sys.argv[1:]
    main(place, int(nbytes), int(piece), how, int(at))
