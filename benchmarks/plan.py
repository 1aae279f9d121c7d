"""What ``spectra plan`` says beside what ``spectra fit`` takes.

Two populations: adapters in the shape of the Mistral-7B LoRAs, and full
weights in the shape of a vision transformer's. Seconds are of the fit alone,
in a process of its own with one worker: on a machine that others use too they
say little. Memory is what the process takes beyond what it has before.

    python -m benchmarks.plan [--adapters 200] [--layers 1] [--full 30]
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from benchmarks import adapters
from benchmarks.figures import at_most, finish, options

FACTOR = 1.5
SHAPES = {"attention.weight": (768, 768), "mlp.weight": (3072, 768)}

_CHILD = """
import json, re, sys, time
from pathlib import Path
import spectra, spectra.study.grow
from spectra.backend.memory import resident_bytes

def of(file, name):
    text = Path("/proc/self", file).read_text()
    return int(re.search(rf"^{name}:\\s+([0-9]+)", text, re.M)[1])

catalog = spectra.scan(sys.argv[1])
plan = catalog.plan(workers=1)
held, read = resident_bytes(), of("io", "rchar")
Path("/proc/self/clear_refs").write_text("5")
started = time.perf_counter()
spectra.fit(catalog, sys.argv[2], workers=1)
took = time.perf_counter() - started
print(json.dumps({
    "seconds": [plan.seconds, took],
    "MB of memory": [
        (plan.memory_bytes - held) / 1e6,
        (of("status", "VmHWM") * 1024 - held) / 1e6,
    ],
    "MB read": [plan.bytes_to_read / 1e6, (of("io", "rchar") - read) / 1e6],
}))
"""


def write_full(folder: Path, n: int) -> None:
    """Write n checkpoints whose singular values fall with the root of k."""
    for i in range(n):
        rng = np.random.default_rng(i)
        tensors = {}
        for name, (out, into) in SHAPES.items():
            m = min(out, into)
            left = rng.standard_normal((out, m), np.float32)
            right = rng.standard_normal((m, into), np.float32)
            strengths = np.arange(1, m + 1, dtype=np.float32) ** -0.5
            W = (left * strengths) @ right / np.float32(m)
            tensors[name] = W.astype(ml_dtypes.bfloat16)
        home = folder / f"m{i:03d}"
        home.mkdir(parents=True)
        (home / "config.json").write_text("{}")
        save_file(tensors, home / "model.safetensors")


def measured(folder: Path, out: Path) -> dict[str, tuple[float, float]]:
    """Return what was planned and what was taken."""
    words = [sys.executable, "-c", _CHILD, str(folder), str(out)]
    done = subprocess.run(  # noqa: S603 - words of our own
        words, check=True, capture_output=True, text=True
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure."""
    parser = options(__doc__)
    parser.add_argument("--adapters", type=int, default=200)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--full", type=int, default=30)
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        low_rank, full = Path(scratch) / "adapters", Path(scratch) / "full"
        adapters.write(low_rank, asked.adapters, asked.layers)
        write_full(full, asked.full)
        for title, folder in (
            (f"{asked.adapters} adapters", low_rank),
            (f"{asked.full} full checkpoints", full),
        ):
            out = Path(scratch) / "run.h5"
            for what, (planned, taken) in measured(folder, out).items():
                off = max(planned / taken, taken / planned)
                rows.append(
                    at_most(
                        f"plan beside fit, {title}, {what}",
                        off, "times off", FACTOR,
                        ours=f"planned {planned:.1f}",
                        beside=f"taken {taken:.1f}",
                    )
                )  # fmt: skip
            out.unlink()
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
