"""``spectra demo``: the whole chain on a population that ships with it."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

import spectra
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
    from spectra.api.chain import run_study

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
    console.say()
    console.say(_artefact(done.report))
    page = next(path for path in done.files if path.suffix == ".html")
    console.say()
    console.say(f"look at {page}")


def _artefact(report: "spectra.OverlapReport") -> str:
    """Return what of the population is an artefact of a shared start."""
    population = report.document["population"]
    groups = population["initialisation"]["groups"]
    together = max(groups, key=len)
    alone = sum(len(group) == 1 for group in groups)
    within, across, chance = _input_overlaps(report, set(together))
    return (
        f"Artefact: {len(together)} adapters, {together[0]} to"
        f" {together[-1]}, started from one random lora_A. Their input sides"
        f" overlap by {within:.2f}, all other pairs by {across:.3f} (chance"
        f" {chance:.3f}): that is the seed, not what was learned. The other"
        f" {alone} started independently."
    )


def _input_overlaps(
    report: "spectra.OverlapReport", together: set[str]
) -> tuple[float, float, float]:
    """Return mean overlaps of pairs in the group, of others, and by chance."""
    import numpy as np

    within, across, chance = [], [], []
    models = report.run.models
    for layer in report.run.value.layers:
        inside = np.array([models[i].id in together for i in layer.members])
        q = layer.ranks
        overlap = layer.input.overlap / np.minimum.outer(q, q)
        first, second = np.triu_indices(len(inside), 1)
        both = inside[first] & inside[second]
        within.append(overlap[first, second][both].mean())
        across.append(overlap[first, second][~both].mean())
        chance.append(q.mean() / layer.shape[1])
    return (
        float(np.mean(within)),
        float(np.mean(across)),
        float(np.mean(chance)),
    )
