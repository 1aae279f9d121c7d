"""The first sentence: what it says, and that each clause can be absent."""

import numpy as np
import pytest

from spectra.core.settings import OverlapSettings
from spectra.statistics.document.report import measure
from tests.reference.naive import naive_fit
from tests.statistics.planted import fit_of, planted, strong

SETTINGS = OverlapSettings()


def clauses(fit, settings=SETTINGS):
    text = measure(fit, settings)["verdict"]["text"]
    assert text.endswith(".")
    return text[:-1].split("; ")


def one_start(n, copies=0):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((2, 20))
    models = {
        f"m{i}": {"l": (A, rng.standard_normal((9, 2)), 1.0)} for i in range(n)
    }
    return naive_fit(
        models | {f"n{i}": models[f"m{i}"] for i in range(copies)}
    )


def test_the_headline_counts_models_groups_and_verdicts():
    rng = np.random.default_rng(0)
    first, *_ = clauses(fit_of(strong(rng, 7)))
    assert first == "7 models in 7 independent groups: the layer is not-shared"
    first, *_ = clauses(fit_of(strong(rng, 7), strong(rng, 7)))
    assert first.endswith(": all 2 layers are not-shared")
    mixed = fit_of(strong(rng, 20), strong(rng, 20), planted(rng, 0.4, n=20))
    first, *_ = clauses(mixed)
    assert first.endswith(": of 3 layers, 2 are not-shared, 1 is shared")


def test_a_population_without_layers_says_so():
    fit = naive_fit({"a": {"x": np.eye(2)}, "b": {}})
    assert clauses(fit) == [
        "0 models in 0 independent groups: no layer was analysed"
    ]


@pytest.mark.parametrize("copies", [0, 3])
def test_the_largest_initialisation_group_is_named_without_copies(copies):
    first, start, *rest = clauses(one_start(6, copies))
    assert ("3 exact copies" in first) == bool(copies)
    assert start.endswith("has 6 of 6 models")
    assert "artefact of one random start" in " ".join(rest)
    # What an artefact carries is not offered as a finding.
    assert not any("held-out" in clause for clause in rest)


def test_lineage_is_named_and_called_an_artefact():
    rng = np.random.default_rng(0)
    runs = np.repeat(strong(rng, 6), 2, axis=0)
    _, descent, artefact, *_ = clauses(fit_of(runs + 0.1 * strong(rng, 12)))
    assert descent.startswith("12 of 12 models")
    assert descent.endswith("6 lineage groups")
    assert artefact.endswith("1 layer is an artefact of descent")


def test_the_strongest_layer_is_named():
    rng = np.random.default_rng(0)
    fit = fit_of(strong(rng, 20), planted(rng, 0.4, n=20), strong(rng, 20))
    _, held_out, mean = clauses(fit)
    assert held_out.startswith("at best 4 directions of the other groups")
    assert held_out.endswith("(in layer.1)")
    assert mean.endswith("no better than zero (median of 3 layers)")


def test_names_of_layers_cannot_steer_a_terminal():
    rng = np.random.default_rng(0)
    models = {
        f"m{i}": {"a\x1b[31m": x, "b": y}
        for i, (x, y) in enumerate(
            zip(planted(rng, 0.4, n=20), strong(rng, 20), strict=True)
        )
    }
    text = measure(naive_fit(models), SETTINGS)["verdict"]["text"]
    assert "\x1b" not in text
    assert "\\x1b[31m" in text


def test_a_learned_mean_is_told_and_a_common_start_is_not():
    rng = np.random.default_rng(0)
    maps = strong(rng, 12) + 0.7 * strong(rng, 1)
    assert clauses(fit_of(maps))[-1].startswith(
        "the mean of the others explains"
    )
    assert not any("mean" in c for c in clauses(fit_of(maps, base=None))[1:])
