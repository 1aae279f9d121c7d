"""``spectra --help`` beside an empty typer program, in turns.

The empty program draws its help as spectra does, without rich: with typer's
own settings it takes about twice the time, and would be easier to keep up
with.

    python benchmarks/start.py [--pairs 20]
"""

import argparse
import subprocess
import sys
import time
from statistics import median

GOAL = 0.6
RATIO = 1.3
EMPTY = """
import typer

app = typer.Typer(rich_markup_mode=None)

@app.command()
def one() -> None:
    '''Do nothing.'''

@app.command()
def two() -> None:
    '''Do nothing.'''

app()
"""
PROGRAMS = {
    "spectra --help": ("-m", "spectra", "--help"),
    "an empty typer program": ("-c", EMPTY, "--help"),
}


def seconds(words: tuple[str, ...]) -> float:
    """Return how long Python takes for these words, in a new process."""
    started = time.perf_counter()
    subprocess.run(  # noqa: S603 - words of our own
        [sys.executable, *words], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def main() -> None:
    """Run and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    asked = parser.parse_args()
    for words in PROGRAMS.values():
        seconds(words)  # what is read and compiled once is there then
    pairs = [
        [seconds(words) for words in PROGRAMS.values()]
        for _ in range(asked.pairs)
    ]
    ours, empty = map(median, zip(*pairs, strict=True))
    for name, took in zip(PROGRAMS, (ours, empty), strict=True):
        print(f"{name}, median of {asked.pairs}: {took:.3f} s")
    print(f"ratio of the medians: {ours / empty:.2f}")
    print(f"goal of {GOAL} s: {'met' if ours <= GOAL else 'MISSED'}")
    print(
        f"goal of {RATIO} times an empty program:"
        f" {'met' if ours <= RATIO * empty else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
