"""What `plan` says against what `fit` takes, in a process of its own."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from benchmarks.scale import Population, units_of
from spectra.study.work import product_rate
from spectra.weights.catalog_file import write_catalog
from tests.checkpoints import write_adapter, write_dense

MEASURE = """
    import json, re, sys
    from pathlib import Path
    import spectra, spectra.study.grow
    from spectra.backend.memory import resident_bytes

    def of(file, name):
        text = Path("/proc/self", file).read_text()
        return int(re.search(rf"^{name}:\\s+([0-9]+)", text, re.M)[1])

    folder, out, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    catalog = spectra.scan(folder)
    plan = catalog.plan(**options)
    held, read = resident_bytes(), of("io", "rchar")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    # Until the last layer is kept: then another process writes the file.
    reads = [read]
    spectra.fit(catalog, out, **options,
                on_event=lambda _: reads.append(of("io", "rchar")))
    peak = of("status", "VmHWM") * 1024
    print(json.dumps({
        "memory": [plan.memory_bytes - held, peak - held],
        "read": [plan.bytes_to_read, reads[-1] - read],
        # The units that it was made of were as large.
        "disk": [plan.disk_bytes, 2 * Path(out).stat().st_size],
        "seconds": plan.seconds,
    }))
"""


def full(folder, n, shape, n_layers=1):
    rng = np.random.default_rng(0)
    names = [f"w{i}" for i in range(n_layers)]
    base = {name: rng.standard_normal(shape, np.float32) for name in names}
    write_dense(folder / "base", base, "BF16")
    for i in range(n):
        own = {
            name: W + 0.1 * rng.standard_normal(shape, np.float32)
            for name, W in base.items()
        }
        write_dense(folder / "m" / f"m{i:03d}", own, "BF16")


def low_rank(folder, n, rank, shape, n_layers=1, apart=1.0):
    rng = np.random.default_rng(0)
    (out, into), draw = shape, rng.standard_normal
    base = {"q.weight": draw(shape, np.float32)}
    write_dense(folder / "base", base, "BF16")
    A, B = draw((rank, into), np.float32), draw((out, rank), np.float32)
    for i in range(n):
        own = (
            (1 - apart) * A + apart * draw((rank, into), np.float32),
            (1 - apart) * B + apart * draw((out, rank), np.float32),
        )
        names = ["q", *(f"q{j}" for j in range(1, n_layers))]
        # Every layer has the numbers of the first, moved.
        layers = {
            name: (np.roll(own[0], 7 * j), np.roll(own[1], 5 * j))
            for j, name in enumerate(names)
        }
        write_adapter(folder / "m" / f"a{i:03d}", layers, 16)


POPULATIONS = {
    "dense": (full, 32, (480, 2048)),
    "two-layers": (full, 24, (400, 1600), 2),
    "adapters": (low_rank, 40, 16, (4096, 4096)),
    "many-adapters": (low_rank, 400, 8, (1024, 2048)),
    "like-adapters": (low_rank, 100, 16, (2048, 2048), 1, 1e-3),
    "layers-of-adapters": (low_rank, 250, 8, (1024, 2048), 5),
    "high-ranks": (low_rank, 20, 64, (2048, 3072)),
    "by-entries": (low_rank, 100, 128, (1024, 768)),
}


def measured(tmp_path, name, options):
    make, *sizes = POPULATIONS[name]
    make(tmp_path, *sizes)
    if options.get("base"):
        options = options | {"base": str(tmp_path / "base")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE),
         str(tmp_path / "m"), str(tmp_path / "run.h5"), json.dumps(options)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_a_plan_is_near_what_a_fit_takes(tmp_path):
    found = measured(tmp_path, "adapters", {"workers": 1})
    check(found, read=1.1)


def check(found, *, read=1.05):
    """A plan is no less than what is taken, and no more than 1.5 times it."""
    planned, taken = found["memory"]
    assert taken <= planned <= 1.5 * taken
    planned, taken = found["read"]
    assert planned <= taken <= read * planned


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dense", {}),
        ("dense", {"precision": "f64"}),
        ("dense", {"base": True}),
        ("dense", {"save_directions": True}),
        ("two-layers", {"workers": 2}),
        ("many-adapters", {}),
        ("many-adapters", {"save_directions": True}),
        ("like-adapters", {}),
        ("layers-of-adapters", {}),
        ("layers-of-adapters", {"save_directions": True}),
        ("high-ranks", {}),
        ("high-ranks", {"base": True}),
        ("by-entries", {}),
        ("adapters", {"base": True}),
        ("adapters", {"save_directions": True}),
    ],
    ids=str,
)
def test_every_plan_is_near_what_a_fit_takes(tmp_path, name, options):
    found = measured(tmp_path, name, {"workers": 1} | options)
    check(found, read=1.1)
    if options.get("save_directions"):
        planned, taken = found["disk"]
        assert planned / 1.5 <= taken <= 1.5 * planned


@pytest.mark.slow
def test_a_plan_knows_what_is_kept_on_the_disk(tmp_path):
    """Members that do not fit are read again from there, and are no memory."""
    whole = measured(tmp_path / "a", "dense", {"workers": 1})
    memory = 308_000_000  # of which the process has a third before it begins
    found = measured(tmp_path / "b", "dense", {"workers": 1, "memory": memory})
    planned, taken = found["memory"]
    assert taken <= planned <= 1.5 * taken
    assert planned < whole["memory"][0]
    kept = 32 * 480 * 2048 * 2
    assert found["disk"][0] == whole["disk"][0] + kept
    assert found["read"][0] == whole["read"][0] == kept


def test_the_rate_is_measured():
    """Not a constant: of this machine, in a plausible range."""
    assert 1e7 < product_rate() < 1e13


def plan_of(population, tmp_path, **options):
    """Return the plan of a population of a hub that nobody serves, told."""
    path = tmp_path / "catalog.jsonl"
    write_catalog(population.catalog(), path)
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "spectra", "plan", str(path), *words]
    told = [
        subprocess.run(
            [*command, *more], capture_output=True, text=True, check=True
        ).stdout
        for more in ((), ("--json",))
    ]
    return told[0], json.loads(told[1])


def test_a_plan_says_how_much_pairs_are(tmp_path):
    """Of adapters N^2 r^2 (out + in) / 2 products, and 1000 a pair of rows."""
    many = Population("many", 900, {"q": (1024, 1024)}, "BF16", rank=16)
    told, found = plan_of(many, tmp_path)
    rows = 900 * 16
    pairs = rows**2 * (1024 + 1024) / 2 + 1000 * rows**2 / 2
    whole = sum(unit.products for unit in units_of(many)[1])
    assert found["pairs_share"] == pytest.approx(pairs / whole, abs=1e-3)
    assert found["pairs_share"] > 0.5
    assert f"{pairs / whole:.0%} of the arithmetic is products of" in told
    few = Population("few", 90, {"q": (1024, 1024)}, "BF16", rank=16)
    told, found = plan_of(few, tmp_path)
    assert found["pairs_share"] < 0.5
    assert "of the arithmetic" not in told


def test_a_plan_says_what_waits_on_the_disk(tmp_path):
    shapes = {"a": (2048, 1024), "b": (2048, 1024), "c": (64, 32)}
    large = Population("large", 60, shapes, "BF16")
    told, found = plan_of(large, tmp_path, workers=1, memory="600MiB")
    assert found["layers_on_disk"] == 2
    assert "layers that do not fit with all checkpoints: 2;" in told
    told, found = plan_of(large, tmp_path, workers=1, memory="8GiB")
    assert found["layers_on_disk"] == 0
    assert "do not fit" not in told
