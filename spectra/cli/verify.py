"""``spectra verify``: whether a run is what was written."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spectra.cli import console, options
from spectra.core.events import Progress
from spectra.core.text import printable

if TYPE_CHECKING:
    from spectra.study.verify import State

__all__ = ["command"]

_DAMAGED = 7


def command(
    run: options.RunFile,
    again: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Fit damaged layers again: their weights are read.",
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Look at every byte of a run file; fit damaged layers again.

    Of a fit that was stopped it looks at the layers that are kept.

    Example: spectra verify run.h5
    Example: spectra verify run.h5 --repair
    """
    from spectra.study.verify import verify

    state = verify(run)
    mended = again and state.is_complete and not state.is_whole
    n_fitted = _repaired(run) if mended else 0
    if json:
        console.document(
            {"run": str(run), "repaired": mended, **asdict(state)}
        )
    elif mended:
        console.say(_mended(run, state, n_fitted))
    elif state.is_whole:
        console.say(_whole(run, state))
    if not state.is_whole and not mended:
        for line in _losses(run, state):
            console.problem("E_INTEGRITY", line)
        raise typer.Exit(_DAMAGED)


def _repaired(run: Path) -> int:
    """Fit what is damaged again; return how many layers that were."""
    from spectra.study.verify import repair

    fitted: list[str] = []
    with console.observer("fitting") as watch:

        def told(event: Progress) -> None:
            if event.stage == "fit":
                fitted.append(event.subject)
            if watch is not None:
                watch(event)

        repair(run, on_event=told)
    return len(fitted)


def _whole(run: Path, state: "State") -> str:
    if state.is_complete:
        return f"{run} is whole: {state.n_layers} layers"
    return (
        f"{run} is not complete: {state.n_layers} layers are kept and whole;"
        " to go on run the same fit again"
    )


def _mended(run: Path, state: "State", n_fitted: int) -> str:
    """Say what was done; all anew where this machine has other last bits."""
    n_layers = state.n_layers + len(state.lost)
    again = f"; its report was lost: spectra overlap {run}"
    return (
        f"{run} is whole again: {n_fitted} of {n_layers} layers were"
        f" fitted again{again if state.report == 'lost' else ''}"
    )


def _losses(run: Path, state: "State") -> list[str]:
    n_layers = state.n_layers + len(state.lost)
    lost = [f"layer {printable(name)}" for name in state.lost]
    if state.report == "lost":
        lost.append("the report")
    if not state.is_complete:
        remedy = "the same fit makes it again"
    else:
        remedy = f"to mend it: spectra verify {run} --repair"
    return [
        f"{part} of {run} is damaged; kept {state.n_layers}/{n_layers}"
        f" layers; {remedy}"
        for part in lost or ["no layer but another part"]
    ]
