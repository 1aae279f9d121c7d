"""The run file: what goes in comes out, whole or not at all."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import fields, replace

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

import spectra
from spectra.core.catalog import Catalog, Quarantined
from spectra.core.errors import IntegrityError, StorageError, UsageError
from spectra.store.atomic import replacing
from spectra.store.journal import journal
from spectra.store.runfile import is_run, read, read_report
from spectra.store.writing import Asked, adding_report, write_run
from spectra.subspaces.result import LayerOutcome
from tests.checkpoints import adapters

HOSTILE = "a/../b\x00\x1b[31m\ud800 <script>é"


@pytest.fixture
def fitted(tmp_path):
    folder, _ = adapters(tmp_path / "a", [4, 4, 2], {"q": (12, 10)})
    return spectra.fit(spectra.scan(folder), save_directions=True).value


def equal(one, other):
    """Return whether two values are the same, arrays and all."""
    if isinstance(one, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and np.array_equal(one, other)
        )
    if hasattr(one, "__dataclass_fields__"):
        return all(
            equal(getattr(one, f.name), getattr(other, f.name))
            for f in fields(one)
        )
    return one == other


EMPTY = Catalog((), ())


def write(path, fit):
    """Write a run file of a fit, as `fit_population` does."""
    with journal(path) as kept:
        units = [
            kept.keep(f"{number:064x}", LayerOutcome(layer, ()))
            for number, layer in enumerate(fit.layers)
        ]
        write_run(path, kept, units, fit, Asked((), EMPTY, None))


def test_what_goes_in_comes_out(tmp_path, fitted):
    hostile = replace(
        fitted,
        models=tuple(
            replace(m, id=f"{HOSTILE}{i}") for i, m in enumerate(fitted.models)
        ),
        layers=[replace(layer, name=HOSTILE) for layer in fitted.layers],
        quarantine=(Quarantined(HOSTILE, None, "ST_NAME", HOSTILE),),
    )
    write(tmp_path / "run.h5", hostile)
    back = read(tmp_path / "run.h5")
    assert len(back.layers) == len(hostile.layers)
    assert all(map(equal, back.layers, hostile.layers))
    assert not list(tmp_path.glob("*.work"))
    assert back.layers[-1].name == HOSTILE
    assert len(back.layers[:1]) == 1
    assert equal(replace(back, layers=[]), replace(hostile, layers=[]))


def test_a_run_with_a_base_is_reported_as_it_was_fitted(tmp_path):
    """From the file and from memory: one report, all of it JSON."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((12, 10), dtype=np.float32)
    for name in ("base", *(f"tuned/{i}" for i in range(5))):
        moved = 0.1 * rng.standard_normal((12, 10), dtype=np.float32)
        (tmp_path / name).mkdir(parents=True)
        save_file({"q": base + moved}, tmp_path / name / "model.safetensors")
    run = tmp_path / "run.h5"
    catalog = spectra.scan(tmp_path / "tuned")
    fitted = spectra.fit(catalog, run, base=str(tmp_path / "base"))
    text = spectra.overlap(spectra.load(run)).to_json()
    assert json.loads(text)["layers"][0]["base_alignment"]
    again = spectra.fit(catalog, base=str(tmp_path / "base"))
    assert spectra.overlap(again).to_json() == text
    assert spectra.OverlapReport.stored(fitted).to_json() == text


def test_the_same_run_is_the_same_file(tmp_path, fitted):
    write(tmp_path / "one.h5", fitted)
    write(tmp_path / "two.h5", fitted)
    one, two = (tmp_path / name for name in ("one.h5", "two.h5"))
    assert one.read_bytes() == two.read_bytes()


def test_a_report_is_added_and_replaced(tmp_path, fitted):
    path = tmp_path / "run.h5"
    write(path, fitted)
    assert read_report(path) is None
    for report in ({"text": HOSTILE}, {"text": HOSTILE, "k": 1}):
        with adding_report(path) as add:
            add(report)
    assert read_report(path) == {"text": HOSTILE, "k": 1}
    assert equal(read(path).layers[0], fitted.layers[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_full_disk_is_one_error_and_loses_nothing(tmp_path, fitted):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        path = small / "run.h5"
        write(path, fitted)
        before = path.read_bytes()
        (small / "filler").write_bytes(b"x" * (2 << 20))
        with pytest.raises(StorageError) as caught:
            write(path, fitted)
        assert caught.value.code == "E_DISK_FULL"
        assert caught.value.exit_code == 5
        assert path.read_bytes() == before
        with pytest.raises(StorageError), replacing(small / "x") as temporary:
            temporary.write_bytes(b"x" * (4 << 20))
        assert not (small / "x").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_other_files_are_refused_in_words(tmp_path, fitted):
    with pytest.raises(UsageError, match="there is no run file"):
        read(tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(UsageError, match="not a run file of schema"):
        read(tmp_path / "text.h5")
    write(tmp_path / "run.h5", fitted)
    cut = (tmp_path / "run.h5").read_bytes()[:3000]
    (tmp_path / "cut.h5").write_bytes(cut)
    with pytest.raises(IntegrityError, match="is damaged: it is not"):
        read(tmp_path / "cut.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(UsageError, match="not a run file of schema"):
        read(tmp_path / "other.h5")


def test_a_flipped_byte_in_a_matrix_is_noticed(tmp_path, fitted):
    path = tmp_path / "run.h5"
    write(path, fitted)
    with h5py.File(path) as file:
        offset = file["layers/000000/inner"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset + 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged"):
        read(path).layers[0]


def test_hdf5_is_not_asked_of_changed_bytes(tmp_path, fitted, monkeypatch):
    """Found by the fuzzer: it may never come back, and nor would we."""
    path = tmp_path / "run.h5"
    write(path, fitted)
    content = bytearray(path.read_bytes())
    content[3] ^= 1

    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr(h5py, "File", never)
    for place in (600, 1000, len(content) // 2):
        content[place] ^= 1
        path.write_bytes(content)
        assert is_run(path)
        with pytest.raises(IntegrityError, match="damaged"):
            read(path)
    path.write_bytes(content.replace(b'"schema": "spectra/2"', b"x" * 21))
    assert not is_run(path)
    path.write_text('"schema": "spectra/2"')
    assert not is_run(path)


def test_the_process_that_looks_at_changed_bytes_ends(tmp_path):
    """As the one before: `verify` would wait for it for ever."""
    code = f"""if True:
        from pathlib import Path
        from spectra.store.assemble import _limit_time
        _limit_time(Path({os.devnull!r}), patience=2)
        while True:
            pass
    """
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGXCPU


def test_a_unit_that_changes_while_the_run_is_made_is_noticed(
    tmp_path, fitted
):
    """C5: it was whole when it was found, and is not when it is read."""
    path = tmp_path / "run.h5"
    with journal(path) as kept:
        unit = kept.keep("a" * 64, LayerOutcome(fitted.layers[0], ()))
        content = bytearray(unit.path.read_bytes())
        content[-1] ^= 1
        unit.path.write_bytes(content)
        with pytest.raises(StorageError, match="has changed on the disk"):
            write_run(path, kept, [unit], fitted, Asked((), EMPTY, None))
    assert not path.exists()
