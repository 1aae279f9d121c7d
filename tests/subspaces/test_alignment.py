"""A layer beside its base, from the files on, against the naive twin's."""

import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numpy.testing import assert_allclose

import spectra
from spectra.core.settings import FitSettings
from spectra.statistics.sides.base import base_document
from spectra.store.runfile import read
from spectra.study.scan import opening
from spectra.study.tasks import work_of
from spectra.subspaces import alignment, dense, members, sides
from spectra.subspaces.alignment import frame_of, low_rank_alignment
from spectra.subspaces.layer import digests
from spectra.subspaces.stacks import Stack
from tests.checkpoints import adapters, write_dense
from tests.checkpoints import dense as write_population
from tests.reference.naive import base_side, leading, naive_fit
from tests.seam import device  # noqa: F401 - a fixture
from tests.store.test_runfile import equal, write

SHAPES = {"block.0.up.weight": (48, 20), "block.0.down.weight": (20, 48)}
MAPS = {name.removesuffix(".weight"): shape for name, shape in SHAPES.items()}
ATOL = {"f32": 2e-5, "f64": 1e-9}


def assert_beside(found, twin, precision):
    """Compare all that is kept of a base; signs do not count."""
    atol = ATOL[precision]

    def close(a, b):
        assert_allclose(a, b, atol=atol * max(1.0, np.abs(b).max(initial=0)))

    assert found.base_fault is None
    close(found.base.values, twin.base.values)
    close(found.base.norm, twin.base.norm)
    for mine, theirs in (
        (found.output, twin.output),
        (found.input, twin.input),
    ):
        assert mine.base.removed == theirs.base.removed > 0
        close(mine.base.profile, theirs.base.profile)
        close(mine.base.hits, theirs.base.hits)
        close(mine.base.left, theirs.base.left)
        values = mine.base.left_eigenvalues
        # A stack of n r rows has no more eigenvalues than that.
        close(values, theirs.base.left_eigenvalues[: len(values)])
        assert abs(values.sum() / (mine.trace * mine.base.left) - 1) < atol


def fitted(folder, base, **options):
    run = spectra.fit(spectra.scan(folder), base=str(base), **options)
    return {layer.name: layer for layer in run.value.layers}


def twin_layers(members, base, rank):
    twin = naive_fit(members, base=base, rank=rank)
    return {layer.name.removesuffix(".weight"): layer for layer in twin.layers}


@pytest.fixture
def start(tmp_path):
    """Return a base of the adapters' layers, and where it is."""
    rng = np.random.default_rng(5)
    tensors = {
        name: rng.standard_normal(shape).astype("f4") * 0.02
        for name, shape in SHAPES.items()
    }
    write_dense(tmp_path / "base", tensors)
    return tensors, tmp_path / "base"


def of_maps(tensors):
    return {name.removesuffix(".weight"): W for name, W in tensors.items()}


@pytest.mark.parametrize("spread", [0.02, 0.5])
@pytest.mark.parametrize(
    ("where", "precision"),
    [("cpu", "f32"), ("cpu", "f64"), ("torch:cpu", "f32")],
)
def test_differences(tmp_path, precision, spread, where):
    folder, maps, base = write_population(tmp_path, 7, SHAPES, spread=spread)
    found = fitted(
        folder, tmp_path / "base", precision=precision, rank=4, device=where
    )
    twins = twin_layers(maps, base, 4)
    assert set(found) == set(MAPS)
    for name, layer in found.items():
        assert layer.kind == "difference"
        assert_beside(layer, twins[name], precision)
        order = np.argsort(layer.digests)
        assert (layer.base.intruders[order] >= 0).all()
        assert_array(layer.base.intruders, twins[name].base.intruders)


def assert_array(found, expected):
    assert np.array_equal(found, expected), (found, expected)


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("ranks", [[4] * 6, [2, 8, 4, 1, 8]])
def test_adapters(tmp_path, start, precision, ranks):
    """Ranks beyond --rank count in the energy, not among the directions."""
    tensors, where = start
    folder, maps = adapters(tmp_path / "a", ranks, MAPS)
    found = fitted(folder, where, precision=precision, rank=6)
    twins = twin_layers(maps, of_maps(tensors), 6)
    counts = []
    for name, layer in found.items():
        assert layer.kind == "low-rank"
        assert layer.base_digest is not None
        assert_beside(layer, twins[name], precision)
        assert_array(layer.base.intruders, twins[name].base.intruders)
        counts += list(layer.base.intruders)
    assert min(counts) < max(counts)


def test_a_base_changes_nothing_else_of_adapters(tmp_path, start):
    folder, _ = adapters(tmp_path / "a", [4] * 6, MAPS)
    alone = spectra.fit(spectra.scan(folder)).value.layers
    for layer in alone:
        assert layer.base is layer.base_fault is layer.output.base is None
        beside = fitted(folder, start[1])[layer.name]
        for key in ("inner", "singular_values", "row_products", "digests"):
            assert equal(getattr(beside, key), getattr(layer, key))
        assert equal(beside.output.eigenvalues, layer.output.eigenvalues)


def test_the_bytes_of_an_adapters_base_are_known_again(tmp_path, start):
    folder, _ = adapters(tmp_path / "a", [4] * 3, MAPS)
    settings = FitSettings(base=str(start[1]))
    work = work_of(spectra.scan(folder).value, settings)
    layers = fitted(folder, start[1])
    with opening(work.files) as files:
        for task in work.tasks:
            layer = layers[task.key.name]
            found = digests(task, files)
            assert found == (layer.digests, layer.base_digest)
            assert layer.base_digest not in {None, *layer.digests}


def test_only_some_members_are_looked_at_for_intruders(tmp_path, monkeypatch):
    monkeypatch.setattr("spectra.subspaces.intruders._TRIED", 3)
    folder, maps, base = write_population(tmp_path, 7, SHAPES, spread=0.5)
    for name, layer in fitted(folder, tmp_path / "base", rank=4).items():
        twin = twin_layers(maps, base, 4)[name].base.intruders
        chosen = np.argsort(layer.digests)[:3]
        others = np.setdiff1d(np.arange(7), chosen)
        assert_array(layer.base.intruders[chosen], twin[chosen])
        assert (layer.base.intruders[others] == -1).all()


def test_a_side_too_wide_to_be_formed(tmp_path, monkeypatch):
    """What is left of it is known, the spectrum of that is not."""
    for module in (alignment, dense, members, sides):
        if hasattr(module, "WIDE"):
            monkeypatch.setattr(module, "WIDE", 30)
    folder, maps, base = write_population(tmp_path, 7, SHAPES, spread=0.5)
    found = fitted(folder, tmp_path / "base", precision="f64", rank=4)
    twin = twin_layers(maps, base, 4)["block.0.up"]
    layer = found["block.0.up"]
    mine, theirs = layer.output.base, twin.output.base
    assert mine.left_eigenvalues is None
    assert layer.input.base.left_eigenvalues is not None
    assert_allclose(mine.profile, theirs.profile, atol=1e-9)
    assert_allclose(mine.left, theirs.left, atol=1e-9)
    without = base_document(layer, (1, 4))["base_alignment"]["output_side"][
        "without_top"
    ]
    assert without["left"] == mine.left
    assert without["evr_of_all"] == {"1": None, "4": None}
    assert "wider than" in without["evr_of_rest_reason"]


def test_of_too_large_a_base_only_the_leading_directions(
    tmp_path, start, monkeypatch
):
    tensors, where = start
    monkeypatch.setattr(alignment, "WIDE", 10)
    monkeypatch.setattr(alignment, "_KNOWN", 6)
    folder, maps = adapters(tmp_path / "a", [4] * 5, MAPS)
    twins = twin_layers(maps, of_maps(tensors), 4)
    for name, layer in fitted(folder, where, precision="f64").items():
        twin = twins[name]
        assert layer.base.intruders is None
        assert_allclose(layer.base.values, twin.base.values[:6], atol=1e-9)
        assert_allclose(
            layer.output.base.profile, twin.output.base.profile[:6], atol=1e-9
        )
        both = base_document(layer, (1, 4))["base_alignment"]
        side = both["output_side"]
        assert side["top"]["4"]["overlap"] > 0
        assert side["bottom"] == {"1": None, "4": None}
        assert side["word"] is side["outside"] is both["intruders"] is None
        for key in ("bottom", "word", "outside"):
            assert "so large a base" in side[f"{key}_reason"]
        assert "so large a base" in both["intruders_reason"]


@pytest.mark.parametrize("kind", ["difference", "low-rank"])
def test_a_base_of_zeros_is_a_reason_not_a_number(tmp_path, kind):
    zeros = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    write_dense(tmp_path / "zero", zeros)
    if kind == "low-rank":
        folder, _ = adapters(tmp_path / "a", [4] * 4, MAPS)
    else:
        folder, _, _ = write_population(tmp_path, 4, SHAPES)
    for layer in fitted(folder, tmp_path / "zero").values():
        assert layer.kind == kind
        assert layer.base is layer.output.base is layer.input.base is None
        assert layer.base_digest is not None
        assert base_document(layer, (1,)) == {
            "base_alignment": None,
            "base_alignment_reason": "the base is zero in this layer",
        }


def test_a_base_that_cannot_be_used_loses_no_layer_of_adapters(
    tmp_path, start
):
    """One layer is broken in the base, the other is as good as ever."""
    tensors, _ = start
    W = tensors["block.0.up.weight"].copy()
    W[3, 4] = np.nan
    write_dense(tmp_path / "broken", tensors | {"block.0.up.weight": W})
    folder, _ = adapters(tmp_path / "a", [4] * 4, MAPS)
    found = fitted(folder, tmp_path / "broken")
    assert found["block.0.up"].base is None
    assert found["block.0.up"].output.base is None
    assert "NaN" in found["block.0.up"].base_fault
    assert found["block.0.down"].base is not None
    document = base_document(found["block.0.up"], (1,))
    assert document["base_alignment"] is None
    assert document["base_alignment_reason"].startswith("the base")


def test_a_base_of_another_shape_is_none(tmp_path, start):
    tensors, _ = start
    turned = {"block.0.up.weight": tensors["block.0.up.weight"][:, :-1]}
    write_dense(tmp_path / "other", tensors | turned)
    folder, _ = adapters(tmp_path / "a", [4] * 4, MAPS)
    found = fitted(folder, tmp_path / "other")
    assert found["block.0.up"].base is found["block.0.up"].base_fault is None
    assert found["block.0.down"].base is not None
    reason = base_document(found["block.0.up"], (1,))["base_alignment_reason"]
    assert "lacks this layer or its shape" in reason


def test_a_base_whose_file_changes_meanwhile(tmp_path, start):
    """The scan saw it sound; adapters are fitted all the same."""
    _, where = start
    folder, _ = adapters(tmp_path / "a", [4] * 4, MAPS)
    catalog = spectra.scan(folder)
    file = where / "model.safetensors"
    content = file.read_bytes()

    def cut(event):
        file.write_bytes(content[:-8000])

    layers = spectra.fit(
        catalog, base=str(where), workers=1, on_event=cut
    ).value.layers
    assert len(layers) == 2
    lost = [layer for layer in layers if layer.base is None]
    assert lost
    assert all("the base" in layer.base_fault for layer in lost)


@pytest.mark.parametrize("kind", ["difference", "low-rank", "zero"])
def test_what_goes_into_a_run_file_comes_out(tmp_path, start, kind):
    where = start[1]
    if kind == "low-rank":
        folder, _ = adapters(tmp_path / "a", [4] * 4, MAPS)
    else:
        folder, _, _ = write_population(tmp_path / "d", 4, SHAPES, spread=0.1)
        where = tmp_path / "d" / "base"
    if kind == "zero":
        where = tmp_path / "zero"
        zeros = {name: np.zeros(shape) for name, shape in SHAPES.items()}
        write_dense(where, zeros)
    run = spectra.fit(spectra.scan(folder), base=str(where)).value
    write(tmp_path / "run.h5", run)
    again = read(tmp_path / "run.h5").layers
    for layer in run.layers:
        assert (layer.base is None) == (kind == "zero")
        assert (layer.base_fault is None) == (kind != "zero")
    assert all(map(equal, again, run.layers))


def test_results_do_not_depend_on_the_order_of_members(tmp_path, start):
    where = start[1]
    one, _ = adapters(tmp_path / "a", [4] * 5, MAPS)
    for i in range(5):
        shutil.copytree(one / f"a{i:02d}", tmp_path / "b" / f"z{9 - i}")
    found, again = fitted(one, where), fitted(tmp_path / "b", where)
    for name, layer in found.items():
        assert_array(layer.base.intruders, again[name].base.intruders[::-1])
        assert_allclose(
            layer.output.base.hits, again[name].output.base.hits, rtol=1e-5
        )


def test_on_every_device(device):
    rng = np.random.default_rng(0)
    W = rng.standard_normal((30, 44))
    maps = [
        rng.standard_normal((30, 3)) @ rng.standard_normal((3, 44))
        for _ in range(5)
    ]
    parts = [leading(x, 3) for x in maps]
    stack = Stack(
        device.put(np.stack([U.T for U, _, _ in parts])),
        device.put(np.stack([V.T for _, _, V in parts])),
        np.stack([s for _, s, _ in parts]),
    )
    found = low_rank_alignment(
        frame_of(W, device), stack, stack.weighted(), 3, list("abcde")
    )
    left, values, right = np.linalg.svd(W, full_matrices=False)
    assert_allclose(found.base.values, values, rtol=1e-10)
    for mine, directions, C, frames in (
        (found.output, left, sum(x @ x.T for x in maps), 0),
        (found.input, right.T, sum(x.T @ x for x in maps), 2),
    ):
        twin = base_side(directions, C, [part[frames] for part in parts])
        assert_allclose(mine.profile, twin.profile, atol=1e-10)
        assert_allclose(mine.hits, twin.hits, atol=1e-10)
        count = len(mine.left_eigenvalues)
        assert_allclose(
            mine.left_eigenvalues,
            twin.left_eigenvalues[:count],
            atol=1e-9 * np.trace(C),
        )


MEASURE = """
    import re, sys
    from pathlib import Path
    import spectra
    catalog = spectra.scan(sys.argv[1])
    options = {"base": sys.argv[2], "workers": 1}
    planned = catalog.plan(**options).memory_bytes
    spectra.fit(catalog, **options)
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\\s+([0-9]+) kB", status)[1]) * 1024
    print(planned, peak)
"""


@pytest.mark.parametrize("kind", ["difference", "low-rank"])
def test_memory_stays_within_the_plan(tmp_path, kind):
    shape, rng = (900, 1400), np.random.default_rng(0)
    base = rng.standard_normal(shape, dtype="f4")
    write_dense(tmp_path / "base", {"w.weight": base})
    if kind == "low-rank":
        adapters(tmp_path / "m", [16] * 20, {"w": shape})
    else:
        for i in range(6):
            own = 0.1 * rng.standard_normal(shape, dtype="f4")
            write_dense(tmp_path / "m" / f"m{i}", {"w.weight": base + own})
    done = subprocess.run(
        [
            sys.executable, "-c", textwrap.dedent(MEASURE),
            str(tmp_path / "m"), str(tmp_path / "base"),
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    planned, peak = map(int, done.stdout.split())
    assert peak < planned
