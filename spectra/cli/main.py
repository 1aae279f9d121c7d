"""``spectra``: one command, one sub-command a module."""

import signal
import sys
from types import FrameType
from typing import Annotated, Protocol, runtime_checkable

import typer

from spectra.cli.commands import COMMANDS, Later
from spectra.cli.console import problem, reader_may_leave, traceback
from spectra.core.errors import SpectraError
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


_USAGE = 2
_SIGINT = 130
_STOPPED = "stopped as asked; nothing half-written was left"


def _terminated(number: int, frame: FrameType | None) -> None:
    problem("E_INTERRUPTED", _STOPPED)
    raise SystemExit(128 + number)


def run() -> None:
    """Run the command line; every error becomes one line and an exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    code = _run()
    if code == _SIGINT:
        problem("E_INTERRUPTED", _STOPPED)
    with reader_may_leave():
        sys.stdout.flush()
    raise SystemExit(code)


def _run() -> int:
    """Return the exit code of the command that was typed."""
    try:
        return app(standalone_mode=False) or 0
    except SpectraError as error:
        problem(error.code, str(error))
        _trace()
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _SIGINT
    except Exception as error:  # noqa: BLE001 - the last resort says so
        if isinstance(error, _Mistyped):
            error.show()
            return _USAGE
        problem(
            "E_BUG",
            f"{type(error).__name__}: {error}; see: spectra --debug ...",
        )
        _trace()
        return 1


def _trace() -> None:
    if "--debug" in sys.argv:
        traceback()
