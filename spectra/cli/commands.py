"""The commands: each is a module, which is imported when it is called.

So the help of ``spectra`` waits for no command, and a command for no other.
"""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from spectra.cli.console import be_quiet

__all__ = ["COMMANDS", "Later", "command_of"]

COMMANDS = {
    "scan": "List checkpoints and group them by architecture; read headers"
    " only.",
    "plan": "Say what fit would read and need; fetch nothing but headers.",
    "fit": "Read every layer once and keep small matrices in a run file.",
    "overlap": "Measure sharedness against nulls and held-out groups; read no"
    " weights.",
    "basis": "Export mean and orthonormal basis of each layer; streams the"
    " weights.",
    "compare": "Compare the subspaces of two populations; reads their weights"
    " again.",
    "match": "Align networks trained from different starts, and compare them.",
    "align": "Measure how alike models represent the same items.",
    "stitch": "Map one model's representations to another's; judge it on other"
    " items.",
    "units": "Find units of two models that answer to the same items alike.",
    "features": "Write every layer's hidden states of texts or images, for"
    " align.",
    "lineage": "Show who descends from whom, beside what the cards claim.",
    "inspect": "Show norms, ranks, spikes and power laws of one checkpoint's"
    " layers.",
    "diff": "Show what moved from one checkpoint to another, and in what"
    " rank.",
    "project": "Show where a checkpoint lies that was not in the fit.",
    "compress": "Keep a population as what its members share and numbers of"
    " each one.",
    "reconstruct": "Write a member of a compressed population as a"
    " checkpoint.",
    "merge": "Merge LoRA adapters, or full checkpoints, into one, with a"
    " card.",
    "report": "Write report.html, report.json, CSV tables and report.md.",
    "run": "Scan, fit, measure and report, from SOURCEs or from a study.toml.",
    "demo": "Run the whole chain, offline, on 48 adapters that come with"
    " spectra.",
    "verify": "Look at every byte of a run file; fit damaged layers again.",
    "doctor": "Show versions and try a small decomposition on each backend.",
    "cache": "List, prune or verify the files that were read from a hub.",
}
"""The first line of each command's own help, in the order of ``--help``."""


class Later(TyperCommand):
    """Stands for a command of `COMMANDS` until that is called."""

    def make_context(self, *words: Any, **more: Any) -> Any:
        """Go on as the command itself."""
        return command_of(str(self.name)).make_context(*words, **more)


def command_of(name: str, /) -> Any:
    """Return the command of that name, its module imported."""
    module = import_module(f"spectra.cli.{name}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name=name)(module.command)
    found = typer.main.get_command(app)
    for each in getattr(found, "commands", {"": found}).values():
        each.params.append(_quiet())
        # Behind such a mark lines stay as they are.
        each.help = each.help.replace("\n\nExample:", "\n\n\b\nExample:")
    return found


def _quiet() -> Any:
    """Return the option that every command has besides its own."""
    app = typer.Typer(add_completion=False)
    app.command()(_with_quiet)
    (option,) = typer.main.get_command(app).params
    return option


def _with_quiet(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            help="Show no progress and print no summary; errors, what was"
            " set aside and --json are printed.",
            callback=be_quiet,
            is_eager=True,
            expose_value=False,
        ),
    ] = False,
) -> None:
    """Lend its option."""
