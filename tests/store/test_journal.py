"""The journal: a unit is whole or not there, and one process writes."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from spectra.core.catalog import Quarantined
from spectra.core.errors import LockedError, StorageError
from spectra.store.journal import journal, work_folder
from spectra.subspaces.result import LayerOutcome

KEY, OTHER = "a" * 64, "b" * 64
OUTCOME = LayerOutcome(
    None, (Quarantined("m", "q", "NONFINITE", "2 NaN"),), ()
)


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run.h5"


def test_what_is_kept_is_found_by_its_key_alone(run):
    with journal(run) as kept:
        unit = kept.keep(KEY, OUTCOME)
        assert (unit.key, unit.has_layer) == (KEY, False)
        assert kept.find(OTHER) is None
    with journal(run) as kept:
        assert kept.find(KEY) == unit
        assert unit.quarantine == OUTCOME.quarantine
        assert len(kept) == 1


def test_no_byte_of_a_unit_can_change_unnoticed(run):
    with journal(run) as kept:
        unit = kept.keep(KEY, OUTCOME)
        content = unit.path.read_bytes()
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= 1 << place % 8
            unit.path.write_bytes(changed)
            assert kept.damaged() == (unit.path,)
        for cut in (content[:-1], b"", content + b"\0"):
            unit.path.write_bytes(cut)
            assert kept.find(KEY) is None
            assert not unit.path.exists()


def test_what_is_no_file_is_no_unit(run):
    """Found by the fuzzer: a folder or a pipe of that name, a dead link."""
    with journal(run) as kept:
        path = kept.keep(KEY, OUTCOME).path
        for make in (
            lambda: path.symlink_to("nowhere"),
            lambda: os.mkfifo(path),
        ):
            path.unlink()
            make()
            assert kept.damaged() == (path,)
            assert kept.find(KEY) is None
            unit = kept.keep(KEY, OUTCOME)
            assert kept.find(KEY) == unit
        path.unlink()
        path.mkdir()
        assert kept.damaged() == (path,)
        with pytest.raises(StorageError, match="cannot write"):
            kept.find(KEY)
    (path.parent / ".half.tmp").mkdir()
    with pytest.raises(StorageError), journal(run):
        pass


def test_a_key_has_one_unit(run):
    with journal(run) as kept:
        kept.keep(KEY, OUTCOME)
        last = kept.keep(KEY, LayerOutcome(None, ()))
        assert kept.find(KEY) == last
        assert len(kept) == 1


def test_nothing_is_left_of_a_journal_without_units(run):
    with journal(run):
        assert work_folder(run).is_dir()
    assert not work_folder(run).exists()


def test_files_of_others_stay(run):
    """Somebody has a folder of that name, or puts notes there."""
    folder = work_folder(run)
    folder.mkdir()
    for name in ("notes.txt", "abc.def", ".hidden"):
        (folder / name).write_text("mine")
    with journal(run) as kept:
        kept.keep(KEY, OUTCOME)
        half = folder / f".{KEY}.{OTHER}.123.tmp"
        half.touch()
    with journal(run) as kept:
        assert not half.exists()
        kept.clear()
        assert kept.find(KEY) is None
    left = {path.name for path in folder.iterdir()} - {"lock"}
    assert left == {"notes.txt", "abc.def", ".hidden"}


def test_the_second_writer_is_told_who_is_the_first(run):
    with (
        journal(run),
        pytest.raises(LockedError) as caught,
        journal(run),
    ):
        pass
    error = caught.value
    assert (error.code, error.exit_code) == ("E_RUN_LOCKED", 5)
    assert str(error).startswith(f"{run} is being written (process ")
    assert f"process {os.getpid()} on " in str(error)
    with journal(run):
        pass


def test_a_killed_writer_leaves_no_lock(run):
    code = f"""
        import time
        from pathlib import Path
        from spectra.store.journal import journal
        with journal(Path({str(run)!r})):
            print("here", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"here\n"
        with pytest.raises(LockedError), journal(run):
            pass
        process.send_signal(signal.SIGKILL)
    with journal(run) as kept:
        assert len(kept) == 0
    assert not work_folder(run).exists()


def test_many_who_want_to_write_do_so_one_at_a_time(run):
    """The folder comes and goes under them; a lost update would show."""
    count = run.with_name("count")
    count.write_text("0")
    code = f"""
        from pathlib import Path
        from spectra.core.errors import LockedError
        from spectra.store.journal import journal
        run, count = Path({str(run)!r}), Path({str(count)!r})
        done = 0
        while done < 200:
            try:
                with journal(run):
                    count.write_text(str(int(count.read_text()) + 1))
                done += 1
            except LockedError:
                pass
    """
    writers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
        for _ in range(8)
    ]
    assert [writer.wait(timeout=300) for writer in writers] == [0] * 8
    assert count.read_text() == "1600"


def test_a_place_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match="cannot write"),
        journal(tmp_path / "file" / "run.h5"),
    ):
        pass


def test_the_clock_decides_nothing(run):
    """Units of the year 1970 and of the far future count as all others."""
    with journal(run) as kept:
        early, late = kept.keep(KEY, OUTCOME), kept.keep(OTHER, OUTCOME)
        os.utime(early.path, (0, 0))
        os.utime(late.path, (time.time() + 10**9,) * 2)
    with journal(run) as kept:
        assert (kept.find(KEY), kept.find(OTHER)) == (early, late)


def test_a_mark_stays_where_the_process_dies(run):
    with journal(run) as kept:
        kept.begin(KEY, deaths=2)
        kept.begin(OTHER)
        kept.keep(OTHER, OUTCOME)
        (kept.folder / "begun.by.hand").touch()
        assert kept.begun() == {KEY: 2}
    with journal(run) as kept:
        assert kept.begun() == {}, "whoever leaves in order blames nobody"
