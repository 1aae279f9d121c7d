"""Fuzz until something is found, or for as long as is asked for.

::

    python -m tests.fuzz [--forever | --seconds N] [--seed S] [--only NAME]
    python -m tests.fuzz --only NAME --replay FILE

A mutant at which a reader hangs is one of the second after the last line:
``--only NAME --seed S --start COUNT`` comes to it again.
"""

import argparse
import contextlib
import faulthandler
import itertools
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from tests.fuzz.campaign import Finding, campaign
from tests.fuzz.targets import targets

# Files are read from memory where there is such a place.
_MEMORY = Path("/dev/shm")  # noqa: S108

_STUCK = 60
"""Seconds after which a second's mutants are waited for no more."""

_TURNS = {"header": 8}
"""How many seconds of a round a target has, if not one."""


def main(arguments=None):
    """Return the exit code: 1 where something was found."""
    asked = _parser().parse_args(arguments)
    # What foreign bytes make Python warn of is a finding too.
    warnings.simplefilter("error")
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="fuzz-") as name:
        known = targets(Path(name).resolve())
        if asked.only and asked.only not in known:
            print(f"no target {asked.only}; there are {', '.join(known)}")
            return 2
        chosen = [known[asked.only]] if asked.only else list(known.values())
        if asked.replay:
            print(chosen[0].check(asked.replay.read_bytes()))
            return 0
        return _fuzz(chosen, asked)


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=60)
    length.add_argument(
        "--forever", dest="seconds", action="store_const", const=float("inf")
    )
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--only", metavar="NAME")
    parser.add_argument("--start", type=int, default=0, metavar="NUMBER")
    parser.add_argument("--replay", type=Path, metavar="FILE")
    return parser


def _fuzz(chosen, asked):
    """Give each target its turn, again and again."""
    print(f"seed {asked.seed}")
    end = time.monotonic() + asked.seconds
    running = {
        target.name: campaign(target, seed=asked.seed, start=asked.start)
        for target in chosen
    }
    tallies = {name: Counter() for name in running}
    turns = [name for name in running for _ in range(_TURNS.get(name, 1))]
    try:
        with contextlib.suppress(KeyboardInterrupt):
            for name in itertools.cycle(turns):
                if time.monotonic() >= end:
                    break
                _take(running[name], tallies[name], end)
                _tell(name, tallies[name])
    except Finding as finding:
        _report(finding, asked.seed)
        return 1
    total = sum(tally.total() for tally in tallies.values())
    print(f"{total} mutants, nothing found")
    return 0


def _take(outcomes, tally, end):
    """Count outcomes for a second."""
    end = min(end, time.monotonic() + 1)
    faulthandler.dump_traceback_later(_STUCK, exit=True, file=sys.__stderr__)
    try:
        while time.monotonic() < end:
            tally[next(outcomes)] += 1
    finally:
        faulthandler.cancel_dump_traceback_later()


def _tell(name, tally):
    common = ", ".join(f"{code} {n}" for code, n in tally.most_common(6))
    print(f"{name}: {tally.total()} mutants; {common}", flush=True)


def _report(finding, seed):
    name, number = finding.target.name, finding.number
    path = Path(f"fuzz-{name}-{seed}-{number}")
    path.write_bytes(finding.mutant)
    traceback.print_exception(finding.__cause__)
    again = f"{sys.executable} -m tests.fuzz --only {name}"
    print(
        f"FOUND by {name}, mutant {number} of seed {seed}; it is in {path}\n"
        f"again: {again} --replay {path}\n"
        f"or:    {again} --seed {seed} --start {number}"
    )


if __name__ == "__main__":
    sys.exit(main())
