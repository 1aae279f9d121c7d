"""The whole pass: who takes part, who does not, and equal bits every time."""

import json
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import spectra
from spectra.backend.cuda import HostRuntime
from spectra.backend.memory import Budget
from spectra.core.errors import BudgetError, UsageError
from spectra.core.settings import FitSettings
from spectra.statistics.sides import null as side_null
from spectra.study import how
from spectra.study.plan import plan
from spectra.subspaces.dense import dense_memory, plan_dense
from spectra.weights.bytes import FileSource
from tests.checkpoints import (
    DTYPES,
    adapters,
    dense,
    factors,
    write_adapter,
    write_dense,
)
from tests.seam import device, second_device  # noqa: F401 - a fixture
from tests.store.test_runfile import equal

SHAPES = {"a.weight": (30, 40), "b.weight": (40, 30)}


def layer_of(run, name):
    return next(layer for layer in run.value.layers if layer.name == name)


def test_a_checkpoint_without_a_layer_is_absent_from_that_layer_only(tmp_path):
    folder, members, _ = dense(tmp_path, 4, SHAPES)
    del members["m01"]["b.weight"]
    shutil.rmtree(folder / "m01")
    write_dense(folder / "m01", members["m01"])
    run = spectra.fit(spectra.scan(folder))
    assert layer_of(run, "a").members == (0, 1, 2, 3)
    assert layer_of(run, "b").members == (0, 2, 3)


def test_byte_identical_layers_count_once(tmp_path):
    folder, members, _ = dense(tmp_path, 4, SHAPES)
    twin = {"a.weight": members["m00"]["a.weight"], "b.weight": np.eye(40, 30)}
    write_dense(folder / "m04", twin)
    run = spectra.fit(spectra.scan(folder))
    assert layer_of(run, "a").duplicates == ((4, 0),)
    assert layer_of(run, "a").members == (0, 1, 2, 3)
    assert layer_of(run, "b").members == (0, 1, 2, 3, 4)


def test_a_layer_that_all_share_byte_for_byte_is_left_out(tmp_path):
    for i in range(3):
        own = np.random.default_rng(i).standard_normal((8, 9))
        write_dense(tmp_path / f"m{i}", {"same": np.eye(9, 8), "own": own})
    run = spectra.fit(spectra.scan(tmp_path))
    assert run.layers == ("own",)
    (left_out,) = run.value.left_out
    assert (left_out.layer, left_out.code) == ("same", "TOO_FEW_MEMBERS")
    assert run.value.quarantine == ()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_member_that_is_not_finite_is_set_aside_in_that_layer(
    tmp_path, value
):
    folder, members, _ = dense(tmp_path, 4, SHAPES)
    broken = dict(members["m02"])
    broken["a.weight"] = broken["a.weight"].copy()
    broken["a.weight"][3, 4] = value
    shutil.rmtree(folder / "m02")
    write_dense(folder / "m02", broken)
    run = spectra.fit(spectra.scan(folder))
    assert layer_of(run, "a").members == (0, 1, 3)
    assert layer_of(run, "b").members == (0, 1, 2, 3)
    (record,) = run.value.quarantine
    assert (record.id, record.layer, record.code) == ("m02", "a", "NONFINITE")
    assert np.isfinite(layer_of(run, "a").inner).all()


def test_an_adapter_that_is_not_finite_is_set_aside(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        A, B = factors(rng, 9, 2, 8)
        A[0, 0] = np.nan if i == 1 else A[0, 0]
        write_adapter(tmp_path / f"a{i}", {"q": (A, B)}, 2)
    run = spectra.fit(spectra.scan(tmp_path))
    assert layer_of(run, "q").members == (0, 2)
    assert run.value.quarantine[0].code == "NONFINITE"


def test_an_untrained_adapter_is_a_member_of_norm_zero(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        A, B = factors(rng, 9, 2, 8)
        write_adapter(tmp_path / f"a{i}", {"q": (A, B * (i > 0))}, 2)
    layer = spectra.fit(spectra.scan(tmp_path)).value.layers[0]
    assert layer.ranks.tolist() == [0, 2, 2]
    assert layer.gram[0, 0] == 0
    assert layer.output.overlap[0].tolist() == [0, 0, 0]


def test_the_base_is_no_member_of_its_own_population(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES, spread=0.1)
    shutil.copytree(tmp_path / "base", folder / "base")
    run = spectra.fit(spectra.scan(folder), base=str(folder / "base"))
    assert [m.id for m in run.models] == ["m00", "m01", "m02"]
    assert [q.code for q in run.value.left_out] == ["IS_BASE"]
    assert run.value.n_scanned == 4


def test_a_base_of_several_checkpoints_is_refused(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    with pytest.raises(UsageError, match="is 3 checkpoints, not one"):
        spectra.fit(spectra.scan(folder), base=str(folder))


def test_base_zero_subtracts_nothing_and_says_so(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    plain = spectra.fit(spectra.scan(folder))
    zero = spectra.fit(spectra.scan(folder), base="zero")
    assert zero.value.started_from_zero
    assert not plain.value.started_from_zero
    assert all(map(equal, plain.value.layers, zero.value.layers))


def test_stored_orientation_does_not_matter(tmp_path):
    """GPT-2 stores in x out; the same maps stored out x in give the same."""
    rng = np.random.default_rng(3)
    for i in range(3):
        W = rng.standard_normal((12, 36))
        maps = {
            "h.0.attn.c_attn.weight": W.T,
            "h.0.mlp.c_fc.weight": rng.standard_normal((48, 12)).T,
        }
        config = {"model_type": "gpt2"}
        write_dense(tmp_path / "in" / f"m{i}", maps, config=config)
        turned = {name: value.T for name, value in maps.items()}
        write_dense(tmp_path / "out" / f"m{i}", turned, config={})
    one = spectra.fit(spectra.scan(tmp_path / "in"), precision="f64")
    other = spectra.fit(spectra.scan(tmp_path / "out"), precision="f64")
    for left, right in zip(one.value.layers, other.value.layers, strict=True):
        assert left.name == right.name
        if left.shape == right.shape:
            np.testing.assert_allclose(left.inner, right.inner, rtol=1e-12)
            np.testing.assert_allclose(
                left.output.eigenvalues, right.output.eigenvalues, rtol=1e-12
            )


def test_globs_match_layer_and_tensor_names(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    catalog = spectra.scan(folder)
    assert spectra.fit(catalog, layers=("a*",)).layers == ("a",)
    assert spectra.fit(catalog, layers=("b.weight",)).layers == ("b",)
    with pytest.raises(UsageError, match="no two share a layer"):
        spectra.fit(catalog, layers=("nothing*",))


def test_layers_come_in_natural_order(tmp_path):
    shapes = {f"layer.{i}.w": (6, 7) for i in (10, 2, 1)}
    folder, _, _ = dense(tmp_path, 2, shapes)
    names = spectra.fit(spectra.scan(folder)).layers
    assert [name.split(".")[1] for name in names] == ["1", "2", "10"]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_run_file_has_the_same_bytes_for_any_worker_count(
    tmp_path, workers
):
    shapes = {f"l{i}.weight": (30, 50) for i in range(6)}
    folder, _, _ = dense(tmp_path, 5, shapes)
    catalog = spectra.scan(folder)
    spectra.fit(catalog, tmp_path / "one.h5", workers=1)
    spectra.fit(catalog, tmp_path / "many.h5", workers=workers)
    one, many = (tmp_path / name for name in ("one.h5", "many.h5"))
    assert one.read_bytes() == many.read_bytes()


def test_bits_do_not_depend_on_memory_or_workers(tmp_path, monkeypatch):
    """Members kept in memory and on the disk give the same run."""
    monkeypatch.setattr("spectra.backend.memory.resident_bytes", lambda: 0)
    shape, n = (64, 900), 70
    folder, _, _ = dense(tmp_path, n, {"w.weight": shape})
    catalog = spectra.scan(folder)
    kept = 4 * n * 64 * 900
    least = dense_memory(shape, n, rank=16, dtype=np.float32)
    small = int((least + 24 * 2**20) / 0.9)
    room = Budget.of_process(small, workers=1).nbytes
    assert plan_dense(least, kept=kept, room=room).spilled == kept
    disk = spectra.fit(catalog, memory=small, workers=1).value
    memory = spectra.fit(catalog, memory=2**32, workers=2).value
    little, much = (
        plan(catalog.value, FitSettings(memory=room))
        for room in (small, 2**32)
    )
    assert little.bytes_to_read == much.bytes_to_read == kept
    assert little.disk_bytes == much.disk_bytes + kept
    assert all(map(equal, memory.layers, disk.layers))


@pytest.fixture
def taken(monkeypatch):
    """Counts what is read of files, by path."""
    counts = Counter()
    real = FileSource._pread

    def counted(self, buffer, start):
        got = real(self, buffer, start)
        counts[self.path] += got
        return got

    monkeypatch.setattr(FileSource, "_pread", counted)
    return counts


@pytest.mark.parametrize("base", [False, True])
@pytest.mark.parametrize("spilled", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_each_byte_is_read_once(
    tmp_path, monkeypatch, taken, base, spilled, wide
):
    """The base counts as a member; whatever fits, and however wide it is."""
    from spectra.subspaces import dense as dense_module

    if spilled:
        real_plan = dense_module.plan_dense
        monkeypatch.setattr(
            dense_module,
            "plan_dense",
            lambda *args, **more: real_plan(*args, **more | {"room": 0}),
        )
        monkeypatch.setattr(Budget, "require", lambda *args: None)
    if wide:
        narrow(monkeypatch)
    folder, _, _ = dense(tmp_path, 5, SHAPES, spread=0.1, dtype="BF16")
    options = {"base": str(tmp_path / "base")} if base else {}
    catalog = spectra.scan(folder)
    taken.clear()
    spectra.fit(catalog, **options)
    if base:
        _forget_header(taken, tmp_path / "base")
    assert sorted(taken.values()) == [2 * 30 * 40 * 2] * (5 + base)


@pytest.mark.parametrize("base", [False, True])
def test_each_byte_of_an_adapter_is_read_once(tmp_path, taken, base):
    """Their base is read for the alignment, once too."""
    folder, _ = adapters(tmp_path / "p", [3, 2, 4], {"q": (20, 16)})
    write_dense(tmp_path / "base", {"q.weight": np.eye(20, 16)})
    catalog = spectra.scan(folder)
    taken.clear()
    run = spectra.fit(catalog, base=str(tmp_path / "base") if base else None)
    assert (run.value.layers[0].base is not None) == base
    if base:
        _forget_header(taken, tmp_path / "base")
    expected = [20 * 16 * 4] * base + [(20 + 16) * r * 4 for r in (3, 2, 4)]
    assert sorted(taken.values()) == sorted(expected)


def _forget_header(taken, folder):
    """Leave the tensors of a base, which is scanned by the fit itself."""
    del taken[str(folder / "config.json")]
    (file,) = folder.glob("*.safetensors")
    length = int.from_bytes(file.read_bytes()[:8], "little")
    taken[str(file)] -= 8 + length


COUNTED = """
    import json, resource, sys
    from pathlib import Path
    import spectra, spectra.study.grow
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    read = lambda: int(Path("/proc/self/io").read_text().split()[1])
    catalog = spectra.scan(sys.argv[1])
    # Until the last layer is kept: then another process writes the file.
    reads = [read()]
    run = spectra.fit(catalog, sys.argv[2],
                      on_event=lambda _: reads.append(read()))
    print(json.dumps({
        "read": reads[-1] - reads[0],
        "members": [len(layer.members) for layer in run.value.layers],
    }))
"""


@pytest.mark.parametrize("kind", ["dense", "adapters"])
def test_many_files_few_open_and_one_pass_over_the_bytes(tmp_path, kind):
    """As the system counts them, for 300 checkpoints with 64 files open."""
    n, rng = 300, np.random.default_rng(0)
    if kind == "dense":
        W = rng.standard_normal((48, 1024), np.float32)
        for i in range(n):
            write_dense(tmp_path / "p" / f"m{i}", {"w": np.roll(W, i)})
        nbytes = n * W.nbytes
    else:
        A = rng.standard_normal((4, 12_000), np.float32)
        B = rng.standard_normal((64, 4), np.float32)
        for i in range(n):
            layers = {"w": (np.roll(A, 7 * i), np.roll(B, i))}
            write_adapter(tmp_path / "p" / f"m{i}", layers, 4)
        nbytes = n * (A.nbytes + B.nbytes)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(COUNTED),
         str(tmp_path / "p"), str(tmp_path / "run.h5")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["members"] == [n]
    assert 1 <= found["read"] / nbytes <= 1.02


def narrow(monkeypatch):
    """Let every side count as too wide for its covariance."""
    for module in ("linalg.stacked", "subspaces.members", "subspaces.dense"):
        monkeypatch.setattr(f"spectra.{module}.WIDE", 8)


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("base", [False, True])
def test_wide_sides_are_those_of_the_covariance(
    tmp_path, monkeypatch, precision, base
):
    folder, _, _ = dense(tmp_path, 6, {"w.weight": (120, 90)}, spread=0.1)
    options = {"base": str(tmp_path / "base")} if base else {}
    options |= {"precision": precision, "save_directions": True}
    catalog = spectra.scan(folder)
    expected = spectra.fit(catalog, **options).value.layers[0]
    narrow(monkeypatch)
    found = spectra.fit(catalog, **options).value.layers[0]
    tolerance = 1e-6 if precision == "f32" else 1e-12
    for side in ("output", "input"):
        one, other = getattr(expected, side), getattr(found, side)
        for name in ("eigenvalues", "projector_mean"):
            exact = getattr(one, name)
            np.testing.assert_allclose(
                getattr(other, name), exact, atol=2 * tolerance * exact[0]
            )
        assert one.trace == other.trace
        U, V = (
            getattr(layer.directions, side)[:, :1]
            for layer in (expected, found)
        )
        np.testing.assert_allclose(U @ U.T, V @ V.T, atol=1e-3)


def test_large_matrices_go_through_the_krylov_solver(tmp_path, monkeypatch):
    folder, _, _ = dense(tmp_path, 3, {"w": (60, 80)})
    catalog = spectra.scan(folder)
    exact = spectra.fit(catalog, precision="f64", rank=4).value.layers[0]
    monkeypatch.setattr("spectra.subspaces.dense.SMALL_SIDE", 10)
    krylov = spectra.fit(catalog, precision="f64", rank=4).value.layers[0]
    np.testing.assert_allclose(
        krylov.singular_values, exact.singular_values, rtol=1e-9
    )
    np.testing.assert_allclose(
        krylov.output.overlap, exact.output.overlap, atol=1e-6
    )
    for side in ("output", "input"):
        np.testing.assert_allclose(
            getattr(krylov, side).eigenvalues,
            getattr(exact, side).eigenvalues,
            rtol=1e-10,
        )


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
def test_rounding_is_that_of_the_stored_numbers(tmp_path, dtype):
    """q_i = sum of ulp^2 / 12; for factors, through the product."""
    (tmp_path / "d").mkdir()
    folder, full, _ = dense(tmp_path / "d", 2, {"w": (9, 7)}, dtype=dtype)
    layer = spectra.fit(spectra.scan(folder)).value.layers[0]
    for q, tensors in zip(layer.rounding, full.values(), strict=True):
        ulp = spacing(tensors["w"], dtype)
        assert q == pytest.approx((ulp**2).sum() / 12, rel=1e-5)
    folder, low = adapters(tmp_path / "a", [3, 3], {"q": (8, 6)}, dtype=dtype)
    layer = spectra.fit(spectra.scan(folder)).value.layers[0]
    for q, layers in zip(layer.rounding, low.values(), strict=True):
        A, B, s = layers["q"]
        in_A, in_B = (spacing(x, dtype) ** 2 / 12 for x in (A, B))
        expected = sum(
            in_B[o, k] * (A[k] ** 2).sum() for o in range(8) for k in range(3)
        ) + sum(
            in_A[k, j] * (B[:, k] ** 2).sum()
            for k in range(3)
            for j in range(6)
        )
        assert q == pytest.approx(s**2 * expected, rel=1e-5)


def spacing(values, dtype):
    """Return the gap from each number to the next one away from zero."""
    narrow = values.astype(DTYPES[dtype])
    if dtype == "BF16":
        bits = np.abs(narrow).view(np.uint16)
        above = (bits + 1).view(narrow.dtype).astype("f8")
        return above - np.abs(narrow).astype("f8")
    return np.abs(np.spacing(np.abs(narrow))).astype("f8")


def test_copies_of_one_checkpoint_are_nothing_to_compare(tmp_path):
    for i in range(3):
        write_dense(tmp_path / "p" / f"m{i}", {"w": np.eye(5, 6)})
    out = tmp_path / "run.h5"
    with pytest.raises(UsageError, match="1 TOO_FEW_MEMBERS"):
        spectra.fit(spectra.scan(tmp_path / "p"), out)
    assert not out.exists()


def test_copies_of_a_broken_member_are_broken_too(tmp_path):
    folder, members, _ = dense(tmp_path, 4, {"w": (8, 9)})
    broken = members["m01"]["w"] * np.nan
    for name in ("m01", "m02"):
        shutil.rmtree(folder / name)
        write_dense(folder / name, {"w": broken})
    run = spectra.fit(spectra.scan(folder))
    assert run.value.layers[0].members == (0, 3)
    assert run.value.layers[0].duplicates == ()
    assert [q.id for q in run.value.quarantine] == ["m01", "m02"]


@pytest.mark.parametrize(
    ("precision", "code"), [("f32", "OVERFLOW"), ("f64", None)]
)
def test_numbers_whose_squares_overflow_are_set_aside(
    tmp_path, precision, code
):
    folder, members, _ = dense(tmp_path, 4, {"w": (8, 9)})
    shutil.rmtree(folder / "m01")
    write_dense(folder / "m01", {"w": members["m01"]["w"] * 1e30})
    run = spectra.fit(spectra.scan(folder), precision=precision)
    found = [record.code for record in run.value.quarantine]
    assert found == ([code] if code else [])
    assert np.isfinite(run.value.layers[0].inner).all()


def test_a_base_that_is_not_finite_loses_its_layer_once(tmp_path):
    folder, _, base = dense(tmp_path, 3, SHAPES, spread=0.1)
    shutil.rmtree(tmp_path / "base")
    broken = dict(base) | {"a.weight": base["a.weight"] * np.nan}
    write_dense(tmp_path / "base", broken)
    run = spectra.fit(spectra.scan(folder), base=str(tmp_path / "base"))
    assert run.layers == ("b",)
    (record,) = run.value.quarantine
    assert (record.layer, record.code) == ("a", "NONFINITE")
    assert "the base" in record.detail


def test_a_base_of_another_model_is_refused(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    write_dense(tmp_path / "other", {"z.weight": np.eye(30, 40)})
    with pytest.raises(UsageError, match="none of the 2 layers"):
        spectra.fit(spectra.scan(folder), base=str(tmp_path / "other"))


def test_layers_that_the_base_lacks_are_left_out(tmp_path):
    folder, _, base = dense(tmp_path, 3, SHAPES, spread=0.1)
    write_dense(tmp_path / "part", {"a.weight": base["a.weight"]})
    run = spectra.fit(spectra.scan(folder), base=str(tmp_path / "part"))
    assert run.layers == ("a",)
    (record,) = run.value.left_out
    assert (record.layer, record.code) == ("b", "NOT_IN_BASE")


@pytest.mark.parametrize("target", ["input", "folder", "other", "device"])
def test_what_is_not_a_run_is_never_written_over(tmp_path, target):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    path = {
        "input": folder / "m01" / "model.safetensors",
        "folder": tmp_path,
        "other": tmp_path / "notes.txt",
        "device": Path("/dev/full"),
    }[target]
    (tmp_path / "notes.txt").write_text("mine")
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UsageError, match=r"is a folder|is one of|exists and"):
        spectra.fit(spectra.scan(folder), path)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert target != "device" or path.is_char_device()


def test_every_device_gives_the_same_run(tmp_path, device, monkeypatch):
    (tmp_path / "d").mkdir()
    folder, _, _ = dense(tmp_path / "d", 4, SHAPES)
    adapted, _ = adapters(tmp_path / "a", [3, 3, 2], {"q": (20, 16)})
    catalog = spectra.scan(folder, adapted)
    expected = spectra.fit(catalog, device="cpu", save_directions=True)
    monkeypatch.setattr(how, "open_device", lambda name: device)
    found = spectra.fit(catalog, save_directions=True)
    for one, other in zip(
        expected.value.layers, found.value.layers, strict=True
    ):
        for name in ("inner", "h", "singular_values", "ranks", "rounding"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-5
            )
        for side in ("output", "input"):
            for name in ("eigenvalues", "projector_mean", "overlap"):
                np.testing.assert_allclose(
                    getattr(getattr(one, side), name),
                    getattr(getattr(other, side), name),
                    rtol=1e-4,
                    atol=1e-4,
                )
        for name in ("left", "right"):
            for U, V in zip(
                getattr(one.directions, name),
                getattr(other.directions, name),
                strict=True,
            ):
                np.testing.assert_allclose(U @ U.T, V @ V.T, atol=1e-3)


def test_words_less_a_base_are_the_same_on_every_device(
    tmp_path, device, monkeypatch
):
    folder, _, _ = dense(tmp_path, 4, SHAPES, dtype="BF16", spread=0.1)
    catalog, base = spectra.scan(folder), str(tmp_path / "base")
    expected = spectra.fit(catalog, base=base, device="cpu")
    monkeypatch.setattr(how, "open_device", lambda name: device)
    found = spectra.fit(catalog, base=base)
    for one, other in zip(
        expected.value.layers, found.value.layers, strict=True
    ):
        np.testing.assert_allclose(one.gram, other.gram, atol=1e-5)
        assert other.kind == "difference"


class OutOfMemoryError(MemoryError):
    """As CuPy's is called."""


class Full(HostRuntime):
    """Of a device of which no byte is left."""

    limited_to = None

    def copies(self):
        raise OutOfMemoryError("Out of memory allocating 3,145,728 bytes")

    def limit(self, nbytes):
        Full.limited_to = nbytes


def test_a_device_is_held_to_the_memory_of_the_run(tmp_path, monkeypatch):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    full = replace(second_device(), runtime=Full())
    monkeypatch.setattr(how, "open_device", lambda name: full)
    out = tmp_path / "run.h5"
    with pytest.raises(BudgetError, match="array-api-strict needs 3 MiB"):
        spectra.fit(spectra.scan(folder), out, memory=2**31, workers=2)
    assert Full.limited_to == 2**31
    assert not out.exists()


def test_a_file_that_changed_since_the_scan_is_not_read(tmp_path):
    folder, members, _ = dense(tmp_path, 4, {"w": (20, 30)})
    catalog = spectra.scan(folder)
    shutil.rmtree(folder / "m01")
    write_dense(folder / "m01", {"w": members["m01"]["w"] + 1})
    run = spectra.fit(catalog)
    assert run.value.layers[0].members == (0, 2, 3)
    (record,) = run.value.quarantine
    assert (record.id, record.code) == ("m01", "SOURCE_CHANGED")


def test_what_cannot_fit_is_refused_before_anything_is_read(tmp_path):
    folder, _, _ = dense(tmp_path, 3, {"w": (20, 30)})
    out = tmp_path / "run.h5"
    with pytest.raises(BudgetError, match="layer w needs"):
        spectra.fit(spectra.scan(folder), out, memory=2**20)
    assert not out.exists()


def test_a_plan_knows_the_bytes_and_reads_no_tensor(tmp_path):
    folder, _, _ = dense(tmp_path, 3, {"w": (20, 30)}, dtype="BF16")
    found = spectra.scan(folder).plan()
    assert found.n_models == 3
    assert found.n_layers == 1
    assert found.bytes_to_read == 3 * 20 * 30 * 2
    assert found.requests == 0


@pytest.mark.parametrize("kind", ["dense", "low-rank"])
def test_a_plan_names_the_sides_whose_null_must_be_asked_for(
    tmp_path, monkeypatch, kind
):
    if kind == "dense":
        folder, _, _ = dense(tmp_path, 6, {"w": (20, 900)})
    else:
        folder, _ = adapters(tmp_path, [2, 4, 2, 3, 4, 4], {"w": (20, 900)})
    catalog = spectra.scan(folder)
    # As if the wide side took longer than is done unasked, and no other.
    narrow, wide = (
        side_null.seconds(6, 4 if kind != "dense" else 16, d, 20)
        for d in (20, 900)
    )
    between = (narrow + wide) / 2
    monkeypatch.setattr("spectra.study.plan.AFFORDABLE", between)
    monkeypatch.setattr(
        "spectra.statistics.sides.findings.AFFORDABLE", between
    )
    plan = catalog.plan()
    assert (plan.sides_unasked, plan.sides_asked) == (1, 1)
    assert plan.side_null_seconds == wide
    run = spectra.fit(catalog)
    (layer,) = spectra.overlap(run).layers
    assert layer["output_side"]["null"]
    assert not layer["input_side"]["null"]
    (asked,) = spectra.overlap(run, null=("side-strength",)).layers
    assert asked["input_side"]["null"]


MEASURE = """
    import json, re, sys
    from pathlib import Path
    import spectra
    run = spectra.fit(
        spectra.scan(sys.argv[1]), sys.argv[2],
        memory=int(sys.argv[3]), workers=int(sys.argv[4]),
    )
    # Not ru_maxrss: that begins with what the parent held at the fork.
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\\s+([0-9]+) kB", status)[1]) * 1024
    print(json.dumps({"peak": peak, "layers": len(run.layers)}))
"""


def peak_of(folder, out, memory, workers):
    done = subprocess.run(
        [
            sys.executable, "-c", textwrap.dedent(MEASURE),
            str(folder), str(out), str(memory), str(workers),
        ],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_peak_memory_stays_below_what_was_given(tmp_path, workers):
    """A population five times larger than --memory, fitted in a process."""
    memory, n = 320 * 2**20, 96
    shapes = {f"small{i}": (96, 512) for i in range(66)}
    # All members of one of these do not fit together: the disk keeps them.
    shapes |= {"large0": (640, 1024), "large1": (1024, 640)}
    for i in range(n):
        rng = np.random.default_rng(i)
        write_dense(
            tmp_path / f"m{i:02d}",
            {
                name: rng.standard_normal(shape, dtype="f4")
                for name, shape in shapes.items()
            },
        )
    nbytes = sum(f.stat().st_size for f in tmp_path.rglob("*.safetensors"))
    assert nbytes > 5 * memory
    found = peak_of(tmp_path, tmp_path / "run.h5", memory, workers)
    assert found["layers"] == len(shapes)
    assert found["peak"] < memory
