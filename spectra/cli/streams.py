"""Stdout is ours alone: what native code prints goes to stderr."""

import os
import sys
from io import TextIOWrapper

__all__ = ["keep_stdout"]


def keep_stdout() -> None:
    """Move our stdout to a descriptor that nothing but Python knows.

    LAPACK prints its complaints to descriptor 1, in the midst of a JSON
    document for whoever reads that. A stdout that somebody has put in place of
    descriptor 1 is left alone. Where it is closed the descriptor is taken, so
    that no file of data gets it.
    """
    stdout = sys.stdout
    if stdout is None:
        _lead_nowhere()
        return
    try:
        if not isinstance(stdout, TextIOWrapper) or stdout.fileno() != 1:
            return
    except OSError:  # It has no descriptor: a notebook's, or a test's.
        return
    stdout.flush()
    own = open(  # noqa: SIM115 - as stdout itself is never closed
        os.dup(1),
        "w",
        buffering=1 if stdout.line_buffering or stdout.write_through else -1,
        encoding=stdout.encoding,
        errors=stdout.errors,
        closefd=False,
    )
    # What it began as is final for typeshed: nobody shall print there either.
    sys.stdout = sys.__stdout__ = own  # type: ignore[misc]
    try:
        os.dup2(2, 1)
    except OSError:  # Stderr is closed.
        _lead_nowhere()


def _lead_nowhere() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
