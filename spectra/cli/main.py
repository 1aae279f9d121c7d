"""``spectra``: one command, one sub-command a module."""

import errno
import os
import signal
import sys
from types import FrameType
from typing import Annotated, Protocol, runtime_checkable

import typer

from spectra.cli.commands import COMMANDS, Later
from spectra.cli.console import flush, problem, traceback
from spectra.cli.streams import keep_stdout
from spectra.core.errors import BudgetError, SpectraError, StorageError
from spectra.core.provenance import version as our_version

__all__ = ["app", "run"]

app = typer.Typer(
    name="spectra",
    help="How much a population of checkpoints shares in weight space:"
    " spectra, joint subspaces, and nulls that can fail.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _later() -> None:
    """Do nothing: `Later` calls the command itself."""


for name, line in COMMANDS.items():
    app.command(name=name, help=line, cls=Later)(_later)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spectra {our_version()}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True),
    ] = False,
) -> None:
    context.obj = debug


@runtime_checkable
class _Mistyped(Protocol):
    """What typer raises for options it cannot read; it exports no class."""

    def show(self) -> None:
        """Print the usage line and what was wrong, on stderr."""


class _Stopped(BaseException):
    """A signal asked us to stop."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__()


_USAGE = 2
_STOPS = (signal.SIGINT, signal.SIGTERM)

_REFUSALS = (
    errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT,
    errno.EROFS, errno.ENAMETOOLONG,
)  # fmt: skip
"""What a system in trouble says, whatever it is asked for."""


_NO_ROOM = "failed to map segment from shared object", "can't start new thread"
"""What an import and a thread say for which there is no memory."""


def _stop(number: int, frame: FrameType | None) -> None:
    """End the work in hand; a second signal ends the process at once."""
    for each in _STOPS:
        signal.signal(each, signal.SIG_DFL)
    raise _Stopped(number)


def run() -> None:
    """Run the command line; every error becomes one line and an exit code."""
    keep_stdout()
    for number in _STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        code = _run()
        for number in _STOPS:
            # There is nothing left to stop, and the exit code is known.
            signal.signal(number, signal.SIG_IGN)
    except _Stopped as stopped:
        notes = _notes(stopped) or ("nothing half-written was left",)
        problem("E_INTERRUPTED", "; ".join(("stopped as asked", *notes)))
        # Threads may still be at work, for longer than one wants to wait.
        os._exit(128 + stopped.number)
    raise SystemExit(code)


def _notes(error: BaseException) -> tuple[str, ...]:
    """Return what is kept of the work that an error ended."""
    return tuple(getattr(error, "__notes__", ()))


def _run() -> int:
    """Return the exit code of the command that was typed."""
    try:
        code = app(standalone_mode=False) or 0
        flush()
    except SystemExit:
        # Whoever read stdout has gone; typer and rich too say so by this.
        return 0
    except SpectraError as error:
        problem(error.code, "; ".join((str(error), *_notes(error))))
        _trace()
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort says so
        if isinstance(error, _Mistyped):
            error.show()
            return _USAGE
        if (stopped := _stop_behind(error)) is not None:
            raise stopped from None
        name, code = _of_the_system(error)
        what = str(error)
        if name == "E_BUG":
            what = f"{type(error).__name__}: {error}; see: spectra --debug ..."
        problem(name, "; ".join((what, *_notes(error))))
        _trace()
    return code


def _stop_behind(error: BaseException | None) -> _Stopped | None:
    """Return the stop that an error was made of: Python 3.11 wraps some."""
    while error is not None and not isinstance(error, _Stopped):
        error = error.__cause__ or error.__context__
    return error


def _of_the_system(error: Exception) -> tuple[str, int]:
    """Return the code, and the exit code, of what is no error of ours."""
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        return "E_STORAGE", StorageError.exit_code
    no_room = any(words in str(error) for words in _NO_ROOM)
    if isinstance(error, MemoryError) or no_room:
        return "E_MEMORY", BudgetError.exit_code
    return "E_BUG", 1


def _trace() -> None:
    if "--debug" in sys.argv:
        traceback()
