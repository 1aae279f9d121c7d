"""Real newcomers: what is known of them."""

import numpy as np
import pytest

import spectra
from spectra.statistics.model_axis.held_out import hold_out
from spectra.statistics.vectors import deviations


def run_without(folder, name, **settings):
    """Fit all of a folder but one, which is given as a path."""
    others = [one for one in sorted(folder.iterdir()) if one.name != name]
    return spectra.fit(spectra.scan(*others), **settings), folder / name


@pytest.mark.parametrize("seed", [0, 5])
def test_the_nearest_of_ani_1ccx_is_its_parent(populations, seed):
    """ANI-1ccx-i was fine-tuned from ANI-1x-i, for eight seeds."""
    name, parent = f"ani-1ccx_8x-{seed}", f"ani-1x_8x-{seed}"
    run, new = run_without(populations / "ani", name)
    found = spectra.project(run, new)
    document = found.document
    assert document["n_models"] == 15
    assert document["word"] == "related"
    assert [one["id"] for one in document["related"]] == [parent]
    assert document["nearest"][0]["id"] == parent
    assert document["nearest"][0]["cosine"] >= 0.99
    assert f"same lineage as {parent} (cosine 0.99" in document["text"]
    for layer in found.layers:
        assert layer["nearest"][0]["id"] == parent
    # Layers 1 and 3 were frozen.
    frozen = [one for one in found.layers if one["copies"]]
    assert [one["name"][-1] for one in frozen] == ["1", "3"] * 4
    assert all(one["copies"] == [parent] for one in frozen)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("massive_intent_de", "not-better-than-random"),
        ("massive_intent_sw", "typical"),
    ],
)
def test_a_language_left_out_is_as_the_run_holds_it_out(
    populations, name, word
):
    """What all 51 say of one held out, and 50 of a newcomer, is one number."""
    folder = populations / "jeffy-massive"
    whole = spectra.fit(spectra.scan(folder), base="zero").value
    run, new = run_without(folder, name, base="zero")
    found = spectra.project(run, new)
    ids = [member.id for member in whole.models]
    for layer, row in zip(whole.layers, found.layers, strict=True):
        axis = deviations(layer, ids)
        held = hold_out(
            axis.K, axis.energies, range(axis.n),
            levels=(1, 4, 16), floor=axis.floor,
        )  # fmt: skip
        i = [ids[member] for member in axis.members].index(name)
        np.testing.assert_allclose(
            [row["captured"][k] for k in ("1", "4", "16")],
            held.captured[i] / held.deviation[i],
            rtol=1e-6,
        )
        np.testing.assert_allclose(
            [row["captured_random"][k] for k in ("1", "4", "16")],
            held.random[i] / held.deviation[i],
            rtol=1e-6,
        )
        assert row["r2_mean"] == pytest.approx(
            1 - held.deviation[i] / held.energy[i]
        )
    assert found.document["word"] == word
    assert ("as some members do" in found.text) == (word != "typical")
    assert "the mean alone explains" in found.text
