"""``spectra demo``: the whole chain on a population that ships with it."""

from collections import Counter
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any

import typer

from spectra.api.chain import run_study
from spectra.cli import console, options
from spectra.cli.overlap import show
from spectra.study.studyfile import Population, Report, Study

__all__ = ["command"]


def command(
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder to write to.")
    ] = Path("spectra-demo"),
    json: options.Json = False,
) -> None:
    """Run the whole chain, offline, on 48 adapters that come with spectra.

    Example: spectra demo -o demo-report
    """
    with as_file(files("spectra") / "demo_population") as folder:
        study = Study(
            population=Population(sources=(str(folder),)),
            report=Report(out=str(out)),
        )
        done = run_study(study, watch=console.observer)
    if json:
        console.document(done.report.document)
        return
    show(done.report)
    console.say(_artefact(done.report.document["population"]))
    page = next(path for path in done.files if path.suffix == ".html")
    console.say(f"look at {page}")


def _artefact(population: dict[str, Any]) -> str:
    """Return the sentence about the members that share their start."""
    groups = Counter(
        model["init_group"]
        for model in population["models"]
        if model["init_group"] is not None
    )
    shared = sum(size for size in groups.values() if size > 1)
    alone = sum(size for size in groups.values() if size == 1)
    return (
        f"{shared} of the {shared + alone} adapters started from one random"
        f" lora_A: what those share is an artefact of that initialisation;"
        f" the other {alone} started independently."
    )
