"""Table D: what numbers, and what computes with them, can do wrong.

D2, D3, D4 are in ``tests/linalg/test_ladder.py``, D9 in ``test_same_bits.py``.
"""

import json
import os
import pty
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from typer.testing import CliRunner

import spectra
from spectra.cli.main import app
from spectra.subspaces.magnitude import member_fault
from spectra.weights.stream import DenseReader, TensorReader
from tests.checkpoints import (
    dense,
    factors,
    write_adapter,
    write_dense,
)

LINE = "** On entry to DLASCL parameter number 4 had an illegal value"

TALKS = f"""
    import ctypes, os, sys
    import numpy as np

    honest = np.linalg.eigh

    def eigh(C):
        # By C's own buffer, as Fortran does it, and past every buffer.
        ctypes.CDLL(None).puts(b" {LINE}")
        os.write(1, b" {LINE}\\n")
        return honest(C)

    np.linalg.eigh = eigh
    from spectra.cli import main
    main()
"""
"""The command line, with a LAPACK that prints what it thinks of a matrix."""


def command(*arguments, talks=False, **options):
    start = ["-c", textwrap.dedent(TALKS)] if talks else ["-m", "spectra"]
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """Members with layers that hold NaN, infinities, huge and tiny numbers."""
    folder = tmp_path_factory.mktemp("numerics") / "p"
    rng = np.random.default_rng(0)
    spoil = [lambda W: W, lambda W: W * np.nan, lambda W: W * np.inf,
             lambda W: W * 1e300, lambda W: W * 1e-300, lambda W: W * 0,
             lambda W: W * 1e-5]  # fmt: skip
    for i in range(len(spoil)):
        layers = {
            f"l{j}": spoil[(i + j) % len(spoil)](
                rng.standard_normal((9, 12)) + 0.1
            )
            for j in range(3)
        } | {"sound": rng.standard_normal((40, 30))}
        write_dense(folder / f"m{i}", layers, "F64")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("talks", [False, True])
def test_d1_stdout_is_one_json_document(population, tmp_path, talks):
    run = tmp_path / "run.h5"
    for arguments in (
        ("scan", population),
        ("fit", population, "-o", run),
        ("overlap", run, "--draws", "199"),
        ("run", population, "-o", tmp_path / "all", "--draws", "199"),
    ):
        done = command(*arguments, "--json", talks=talks)
        assert done.returncode in {0, 3}, done.stderr
        assert isinstance(json.loads(done.stdout), dict)
        assert "NaN" not in done.stdout.replace("infinities or NaN", "")
        said = LINE in done.stderr
        assert said == (talks and arguments[0] != "scan")
        assert "Warning" not in done.stderr


@pytest.mark.parametrize("closed", [1, 2])
def test_d1_a_stream_that_is_closed(population, closed):
    arguments = [sys.executable, "-m", "spectra", "scan", str(population)]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *arguments, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if closed == 2:
        assert isinstance(json.loads(done.stdout), dict)


def test_d1_no_file_takes_the_place_of_a_stdout_that_is_closed(tmp_path):
    code = """
        import os, sys
        from spectra.cli.streams import keep_stdout
        keep_stdout()
        with open(sys.argv[1], "w") as file:
            os.write(1, b"native")
            file.write("data")
    """
    path = tmp_path / "file"
    subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c",
         textwrap.dedent(code), str(path)],
        check=True,
    )  # fmt: skip
    assert path.read_text() == "data"


def test_d1_a_terminal_is_still_one(population):
    """Tables have its width, and no stream leads anywhere else."""
    ours, theirs = pty.openpty()
    os.set_inheritable(theirs, True)
    code = """
        import os, sys
        from spectra.cli.streams import keep_stdout
        os.write(1, b"before ")
        keep_stdout()
        os.write(1, b"native ")
        from rich.console import Console
        Console().print(sys.stdout.isatty(), Console().is_terminal,
                        sys.stdout.fileno() > 2, sys.stdout.encoding)
        print(os.get_inheritable(sys.stdout.fileno()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=theirs,
        stderr=subprocess.PIPE, check=True,
    )  # fmt: skip
    os.close(theirs)
    said = os.read(ours, 1000).decode()
    os.close(ours)
    assert done.stderr == b"native "
    assert "native" not in said
    assert said.split()[0] == "before"
    assert "False" in said.split()[-1]
    assert said.count("True") == 3


def test_d1_a_stdout_that_somebody_put_there_is_left_alone(tmp_path):
    code = """
        import os, sys
        sys.stdout = kept = open(sys.argv[1], "w")
        from spectra.cli.streams import keep_stdout
        keep_stdout()
        assert sys.stdout is kept
        os.write(1, b"native")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "out"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == b"native"


SOLVERS = {np.linalg: ("eigh", "eigvalsh", "svd"),
           scipy.linalg: ("eigh", "svd")}  # fmt: skip


def refuse(patch, shape):
    """Let no LAPACK decompose matrices of that shape."""
    for library, names in SOLVERS.items():
        for name in names:
            honest = getattr(library, name)

            def solve(A, *args, honest=honest, **options):
                if np.shape(A)[-2:] == shape:
                    raise np.linalg.LinAlgError("did not converge")
                return honest(A, *args, **options)

            patch.setattr(library, name, solve)


def test_d2_a_layer_without_a_decomposition_is_set_aside(
    tmp_path, monkeypatch
):
    """The others are fitted; another fit has it, where LAPACK has."""
    folder = dense(tmp_path, 4, {"a": (12, 20), "b": (15, 20)})[0]
    catalog, run = spectra.scan(folder), tmp_path / "run.h5"
    with monkeypatch.context() as patch:
        refuse(patch, (12, 12))
        found = spectra.fit(catalog, run).value
    assert [layer.name for layer in found.layers] == ["b"]
    (record,) = found.quarantine
    assert (record.id, record.layer) == ("all", "a")
    assert record.code == "NO_CONVERGENCE"
    found = spectra.fit(catalog, tmp_path / "again.h5").value
    assert [layer.name for layer in found.layers] == ["a", "b"]
    assert found.quarantine == ()


def test_d2_a_report_without_a_decomposition_leaves_the_layer_out(
    tmp_path, monkeypatch
):
    rng = np.random.default_rng(1)
    for i, names in enumerate(["ab", "ab", "ab", "ab", "b"]):
        layers = {name: rng.standard_normal((9, 20)) for name in names}
        write_dense(tmp_path / "p" / f"m{i}", layers)
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    refuse(monkeypatch, (5, 5))
    document = spectra.overlap(run, draws=199).document
    assert [layer["name"] for layer in document["layers"]] == ["a"]
    (record,) = document["quarantine"]
    assert (record["layer"], record["code"]) == ("b", "NO_CONVERGENCE")


def test_d2_a_layer_that_is_lost_on_the_way_changes_the_exit_code(
    tmp_path, monkeypatch
):
    """Two layers, of which one cannot be measured: told, and the other is."""
    rng = np.random.default_rng(2)
    runs = []
    for population in "pq":
        for i, names in enumerate(["ab"] * 6 + ["b"]):
            layers = {name: rng.standard_normal((9, 20)) for name in names}
            write_dense(tmp_path / population / f"m{i}", layers)
        runs.append(tmp_path / f"{population}.h5")
        spectra.fit(spectra.scan(tmp_path / population), runs[-1])

    def typed(*words):
        done = CliRunner().invoke(app, [str(word) for word in words])
        return done.exit_code, done.stderr, done.stdout

    with monkeypatch.context() as patch:
        refuse(patch, (7, 7))
        code, said, shown = typed("overlap", runs[0])
        assert code == 3
        assert "NO_CONVERGENCE: no eigvalsh of a 7 x 7 matrix" in said
        assert ", in all, layer b; kept 7/7" in said
        assert "overall" in shown
        assert typed("overlap", runs[0], "--quarantine-ok")[0] == 0
    code, said, _ = typed("overlap", runs[0])
    assert (code, said) == (0, "")
    with monkeypatch.context() as patch:
        refuse(patch, (14, 14))
        code, said, shown = typed("compare", *runs, "--json")
        document = json.loads(shown)
        assert [layer["name"] for layer in document["layers"]] == ["a"]
        assert [q["layer"] for q in document["quarantine"]] == ["b"]
        assert code == 3
        assert ", in all, layer b; kept 14/14" in said
    assert typed("compare", *runs)[:2] == (0, "")


def spectrum(run, name="w"):
    (layer,) = [each for each in run.value.layers if each.name == name]
    K = layer.inner
    K = K - K.mean(axis=0)
    K = K - K.mean(axis=1)[:, None]
    return {
        "model axis": np.linalg.eigvalsh(K)[::-1],
        "output": layer.output.eigenvalues,
        "input": layer.input.eigenvalues,
        "values": layer.singular_values.ravel() ** 2,
        "rows": np.sqrt(layer.row_products).ravel(),
    }


def check_rescaled(found, reference, factor, tolerance):
    for name, values in reference.items():
        largest = np.abs(values).max()
        np.testing.assert_allclose(
            found[name] / largest / factor, values / largest,
            atol=tolerance, rtol=0, err_msg=name,
        )  # fmt: skip


def fitted(folder, weights, dtype, **settings):
    for i, W in enumerate(weights):
        write_dense(folder / f"m{i:02}", {"w": W}, dtype)
    return spectra.fit(spectra.scan(folder), **settings)


EXPONENTS = {  # Of powers of two, so that weights are the same but for them.
    ("F32", "f64"): (-140, -100, -60, 60, 100, 126),
    ("F64", "f64"): (-220, -100, 100, 220),
    ("F32", "f32"): (-45, -30, 30, 44),
    ("F64", "f32"): (-45, -30, 30, 44),
    ("F16", "f32"): (-10, 15),
    ("BF16", "f32"): (-45, 44),
}


@pytest.mark.parametrize("n", [5, 70])
@pytest.mark.parametrize(("dtype", "precision"), EXPONENTS)
def test_d5_spectra_of_any_size_are_those_of_size_one(
    tmp_path, dtype, precision, n
):
    """Weights of 1e-38 and of 1e38, and the largest of F16.

    They are widened before they are multiplied, so that only what float32
    cannot square is set aside (below).
    """
    rng = np.random.default_rng(3)
    weights = rng.integers(-31, 32, (n, 6, 10)) / 16
    one = spectrum(fitted(tmp_path / "one", weights, dtype,
                          precision=precision))  # fmt: skip
    exact = 1e-12 if precision == "f64" or n <= 64 else 1e-6
    for exponent in EXPONENTS[dtype, precision]:
        run = fitted(tmp_path / str(exponent), weights * 2.0**exponent, dtype,
                     precision=precision)  # fmt: skip
        assert run.value.quarantine == ()
        check_rescaled(spectrum(run), one, 4.0**exponent, exact)


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("n", [5, 70])
def test_d5_adapters_of_any_size(tmp_path, precision, n):
    """Whose factors are of size one, or small and large."""
    rng = np.random.default_rng(4)
    pairs = [factors(rng, 12, 3, 10) for _ in range(n)]

    def run(a, b):
        folder = tmp_path / f"{a} {b}"
        for i, (A, B) in enumerate(pairs):
            layers = {"w": (A * 2.0**a, B * 2.0**b)}
            write_adapter(folder / f"m{i:02}", layers, 16, "F64")
        return spectra.fit(spectra.scan(folder), precision=precision)

    one = spectrum(run(0, 0))
    for a, b in ((-20, -15), (30, 10), (200, -190), (-200, 230)):
        found = run(a, b)
        assert found.value.quarantine == ()
        exact = 1e-12 if precision == "f64" or n <= 64 else 1e-6
        check_rescaled(spectrum(found), one, 4.0 ** (a + b), exact)


SIZES = [
    ("F32", 1e-30, "f32", "UNDERFLOW"),
    ("F32", 1e-42, "f32", "UNDERFLOW"),
    ("F64", 1e-42, "f32", "UNDERFLOW"),
    ("F64", 1e-200, "f32", "UNDERFLOW"),
    ("F64", 1e-200, "f64", "UNDERFLOW"),
    ("F64", 5e-324, "f64", "UNDERFLOW"),
    ("F32", 1e30, "f32", "OVERFLOW"),
    ("F64", 1e200, "f32", "NONFINITE"),
    ("F64", 1e200, "f64", "OVERFLOW"),
    ("F32", 1e-42, "f64", None),
    ("F32", 1e-30, "f64", None),
    ("F32", 1e30, "f64", None),
]


@pytest.mark.parametrize(("dtype", "size", "precision", "code"), SIZES)
def test_d5_what_cannot_be_squared_has_a_code(
    tmp_path, dtype, size, precision, code
):
    """Never zero without a word: one member of four is so large, or small."""
    rng = np.random.default_rng(5)
    weights = [rng.choice([-1.0, 1.0], (12, 9)) * (1 + i) for i in range(4)]
    weights[2] *= size
    run = fitted(tmp_path / "p", weights, dtype, precision=precision)
    codes = [(q.id, q.code) for q in run.value.quarantine]
    assert codes == ([("m02", code)] if code else [])
    (layer,) = run.value.layers
    assert (layer.singular_values[:, 0] > 0).all()
    assert (np.diagonal(layer.row_products) > 0).all()


def test_d5_what_is_turned_round_is_looked_at_as_it_is_stored(tmp_path):
    """Float32 would make zeros of it before it is turned."""
    for i, size in enumerate((1.0, 1e-200, 0.0)):
        write_dense(tmp_path / f"m{i}", {"w": np.full((4, 3), size)}, "F64")
    models = spectra.scan(tmp_path).value.models
    sources = [replace(model.layers[0][1], transposed=True)
               for model in models]  # fmt: skip
    reader = DenseReader((3, 4), tuple(sources), None, np.float32, False,
                         TensorReader({}))  # fmt: skip
    found = [member_fault(reader, i, reader.member(i)) for i in range(3)]
    assert [fault and fault.code for fault in found] == [
        None, "UNDERFLOW", None,
    ]  # fmt: skip


@pytest.mark.parametrize("exponent", [-100, 100])
def test_d5_starts_of_any_size_are_told_apart(tmp_path, exponent):
    """Of many adapters they are multiplied in float32, scaled."""
    rng = np.random.default_rng(11)
    pairs = [factors(rng, 12, 3, 10) for _ in range(70)]

    def initial(size):
        folder = tmp_path / str(size)
        for i, (A, B) in enumerate(pairs):
            layers = {"w": (A * 2.0**size, B * 2.0**-size)}
            write_adapter(folder / f"m{i:02}", layers, 16)
        run = spectra.fit(spectra.scan(folder))
        assert run.value.quarantine == ()
        return run.value.layers[0].initial

    np.testing.assert_array_equal(
        initial(exponent), initial(0) * 4.0**exponent
    )


@pytest.mark.parametrize(("precision", "least"), [("f32", -60), ("f64", -240)])
@pytest.mark.parametrize("n", [4, 70])
def test_d5_an_update_that_cannot_be_squared_has_a_code(
    tmp_path, precision, least, n
):
    rng = np.random.default_rng(6)
    for i in range(n):
        A, B = factors(rng, 12, 3, 10)
        size = {1: least, 2: -least}.get(i, 0)
        write_adapter(tmp_path / "p" / f"m{i:02}",
                      {"w": (A, B * 2.0**size)}, 16, "F64")  # fmt: skip
    run = spectra.fit(spectra.scan(tmp_path / "p"), precision=precision)
    found = {q.id: q.code for q in run.value.quarantine}
    # Few are multiplied in float64 whatever the precision.
    if n == 4 and precision == "f32":
        assert found == {}
    else:
        assert found == {"m01": "UNDERFLOW", "m02": "OVERFLOW"}


def test_d6_directions_below_the_floor_are_none(tmp_path):
    """Of singular values from 1 to 1e-14 those are kept that are known."""
    rng = np.random.default_rng(7)
    s = np.logspace(0, -14, 15)
    graded = [
        np.linalg.qr(rng.standard_normal((20, 15)))[0] * s
        @ np.linalg.qr(rng.standard_normal((30, 15)))[0].T
        for _ in range(4)
    ]  # fmt: skip
    run = fitted(tmp_path / "p", graded, "F64", precision="f64")
    (layer,) = run.value.layers
    known = s > np.sqrt(30 * np.finfo(float).eps)
    np.testing.assert_array_equal(layer.ranks, known.sum())
    np.testing.assert_allclose(
        layer.singular_values[:, :15],
        np.broadcast_to(np.where(known, s, 0), (4, 15)),
        rtol=0.02, atol=1e-12,
    )  # fmt: skip
    for side in (layer.output, layer.input):
        assert (side.eigenvalues >= 0).all()


def test_d6_a_direction_below_the_floor_has_no_number(tmp_path):
    """Members that differ along one direction alone have no second."""
    rng = np.random.default_rng(8)
    base, along = rng.standard_normal((2, 12, 16))
    weights = [base + i * along for i in range(6)]
    run = fitted(tmp_path / "p", weights, "F64", precision="f64")
    assert run.subspace("w", k=4).eigenvalues.shape == (1,)
    axis = spectra.overlap(run, draws=199).document["layers"][0]["model_axis"]
    first, *others = axis["eigenvalues"]
    assert first > 1
    assert others == [None] * 4
    assert "below the floor" in axis["eigenvalues_reason"]


PLAIN = {
    "zero": lambda i, rng: np.zeros((8, 9)),
    "nearly zero": lambda i, rng: np.eye(8, 9) * (i == 1),
    "all but one": lambda i, rng: np.ones((8, 9)) * (i > 0),
    "rank one": lambda i, rng: np.outer(rng.random(8), rng.random(9)),
    "two rows": lambda i, rng: rng.standard_normal((2, 9)),
    "two columns": lambda i, rng: rng.standard_normal((9, 2)),
    "constant": lambda i, rng: np.full((8, 9), 1.0 + i),
    "equal lengths": lambda i, rng: np.eye(9) * (-1.0) ** (i + 1 > np.r_[:9]),
}
VECTORS = {"row": (1, 9), "column": (9, 1), "entry": (1, 1)}


@pytest.mark.parametrize(
    ("dtype", "precision"), [("F32", "f32"), ("F64", "f64"), ("BF16", "f32")]
)
@pytest.mark.parametrize("n", [2, 5, 70])
def test_d8_plain_layers(tmp_path, n, dtype, precision):
    """Warnings are errors in these tests; what is undefined says why."""
    rng = np.random.default_rng(9)
    for i in range(n):
        layers = {name: make(i, rng) for name, make in PLAIN.items()}
        layers |= {name: rng.random(shape) for name, shape in VECTORS.items()}
        write_dense(tmp_path / "p" / f"m{i:02}", layers, dtype)
    catalog = spectra.scan(tmp_path / "p")
    for model in catalog.value.models:
        skipped = {each.tensor: each.reason for each in model.skipped}
        assert skipped == dict.fromkeys(VECTORS, "SKIP_NOT_MATRIX")
    run = spectra.fit(catalog, precision=precision)
    left_out = {each.layer: each.code for each in run.value.left_out}
    assert left_out == {"zero": "TOO_FEW_MEMBERS"}
    check_document(run, set(PLAIN) - {"zero"})


UPDATES = {
    "untrained": lambda i, rng, r: (rng.random((r, 9)), np.zeros((8, r))),
    "trained once": lambda i, rng, r: (rng.random((r, 9)),
                                       np.ones((8, r)) * (i == 1)),
    "ordinary": lambda i, rng, r: (rng.random((r, 9)), rng.random((8, r))),
    "two rows": lambda i, rng, r: (rng.random((r, 9)), rng.random((2, r))),
    "two columns": lambda i, rng, r: (rng.random((r, 2)), rng.random((9, r))),
    "two by two": lambda i, rng, r: (rng.random((r, 2)), rng.random((2, r))),
    "constant": lambda i, rng, r: (np.ones((r, 9)), np.full((8, r), 1.0 + i)),
}  # fmt: skip


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("n", [2, 5, 70])
def test_d8_plain_updates(tmp_path, n, rank):
    rng = np.random.default_rng(10)
    for i in range(n):
        layers = {name: make(i, rng, rank) for name, make in UPDATES.items()}
        write_adapter(tmp_path / "p" / f"m{i:02}", layers, 16)
    check_document(spectra.fit(spectra.scan(tmp_path / "p")), set(UPDATES))


def check_document(run, names):
    assert run.value.quarantine == ()
    document = spectra.overlap(run, draws=199, bootstrap=20).document
    json.dumps(document, allow_nan=False)
    assert {layer["name"] for layer in document["layers"]} == names
    for layer in document["layers"]:
        check_reasons(layer, layer["name"])


def check_reasons(value, path, *, explained=False):
    """Check that each null has its reason beside it, or beside its table."""
    if value is None:
        assert explained, f"{path} is null, without a reason"
    elif isinstance(value, list):
        for each in value:
            check_reasons(each, path, explained=explained)
    elif isinstance(value, dict):
        whole = value.get("reason") or value.get("reasons")
        explained = explained or bool(whole)
        for key, each in value.items():
            if not key.endswith("reason"):
                known = explained or bool(value.get(f"{key}_reason"))
                check_reasons(each, f"{path}.{key}", explained=known)


def test_d7_denormals_are_numbers_after_all_imports():
    """No library has set the processor to flush them to zero."""
    code = """
        import numpy as np
        import scipy.linalg, h5py, safetensors.numpy, ml_dtypes
        import spectra, spectra.cli.main, spectra.study.fit
        try:
            import torch
        except ImportError:
            pass
        from spectra.backend.threads import in_order
        least = np.array([np.finfo(np.float64).smallest_subnormal])
        narrow = np.array([np.finfo(np.float32).smallest_subnormal])
        def keeps(_):
            return [
                (least * 3)[0] / least[0] == 3,
                (np.array([np.finfo(float).tiny]) / 2)[0] > 0,
                (narrow * np.float32(3))[0] / narrow[0] == 3,
                (np.ones((4, 4)) * least[0] @ np.ones((4, 4)))[0, 0] > 0,
            ]
        found = [keeps(0), *(one for _, one in
                             in_order(keeps, range(4), workers=2))]
        assert all(map(all, found)), found
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
