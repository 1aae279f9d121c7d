"""``spectra --help`` beside an empty typer program, in turns.

The empty program draws its help as spectra does, without rich: with typer's
own settings it takes about twice the time, and would be easier to keep up
with.

    python -m benchmarks.start [--rounds 20]
"""

import subprocess
import sys
from functools import partial
from statistics import median

from benchmarks.figures import at_most, finish, options, paired

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


def run(words: tuple[str, ...]) -> None:
    """Start Python with these words, in a new process."""
    subprocess.run(  # noqa: S603 - words of our own
        [sys.executable, *words], check=True, stdout=subprocess.DEVNULL
    )


def main() -> None:
    """Measure."""
    parser = options(__doc__)
    parser.set_defaults(rounds=20)
    asked = parser.parse_args()
    took = paired(
        {name: partial(run, words) for name, words in PROGRAMS.items()},
        asked.rounds,
    )
    ours, empty = (median(took[name]) for name in PROGRAMS)
    beside = f"an empty typer program {empty:.3f} s"
    rows = [
        at_most("spectra --help", ours, "s", 0.6),
        at_most(
            "spectra --help", ours / empty, "times", 1.3,
            ours=f"{ours:.3f} s", beside=beside,
        ),
    ]  # fmt: skip
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
