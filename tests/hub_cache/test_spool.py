"""The spool: whole or not there, and never read twice, whatever happens."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectra.core.errors import Quarantine, StorageError
from spectra.hub import partial, record
from spectra.hub.record import Key
from spectra.hub.spool import Spool
from spectra.weights.bytes import FileSource, MemorySource, read_bytes
from tests.hub_cache.sources import (
    ORIGIN,
    PIECE,
    CountingSource,
    content_of,
    git_sha1,
    key_of,
    sha256,
)

ROOT = Path(__file__).resolve().parents[2]
CONTENT = content_of(3 * PIECE + 123)
OFFSETS = [0, PIECE, 2 * PIECE, 3 * PIECE]


def child(folder, nbytes, piece, how, at=0):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.hub_cache.sources",
         *map(str, (folder, nbytes, piece, how, at))],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def lines_of(process):
    """Return what a child said, once it has ended."""
    return process.communicate(timeout=60)[0].splitlines()


def fetch(spool, content=CONTENT, **proof):
    source = CountingSource(content)
    path = spool.fetch(source, key_of(content), origin=ORIGIN, **proof)
    with FileSource(path) as file:
        assert read_bytes(file, 0, file.nbytes) == content
    return source.reads


def files_of(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "leases"
    )


def broken_off(spool, n_pieces=2):
    """Leave a partial file of some pieces; return its folder."""

    def stop(offset):
        if offset == n_pieces * PIECE:
            raise Quarantine("GONE", "the server went away")

    with pytest.raises(Quarantine, match="GONE"):
        spool.fetch(
            CountingSource(CONTENT, stop), key_of(CONTENT), origin=ORIGIN
        )
    (folder,) = spool.folder.glob("*/*.part")
    return folder


@pytest.mark.parametrize("n", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_a_file_is_read_once(spool, n):
    content = content_of(n)
    assert fetch(spool, content) == list(range(0, n, PIECE))
    assert fetch(spool, content) == []
    path = spool.find(key_of(content))
    assert path.read_bytes() == content
    name = key_of(content).name
    assert files_of(spool.folder) == [
        f"{name[:2]}/{name}/content", f"{name[:2]}/{name}/record", "lock"
    ]  # fmt: skip


def test_pieces_are_8_mib(tmp_path):
    assert record.PIECE == 8 * 2**20
    content = bytes(record.PIECE + 1)
    with Spool(tmp_path) as spool:
        assert fetch(spool, content) == [0, record.PIECE]


def test_what_is_not_here_is_not_found_and_makes_no_folder(tmp_path):
    with Spool(tmp_path / "nothing") as spool:
        assert spool.find(Key("x", 3)) is None
    assert list(tmp_path.iterdir()) == []


def test_tags_and_lengths_are_told_apart(spool):
    names = {Key(t, n).name for t in ("a", "b", '"a"') for n in (1, 2)}
    assert len(names) == 6


def test_known_hashes_are_checked(spool):
    proof = {"sha256": sha256(CONTENT), "git_sha1": git_sha1(CONTENT)}
    assert fetch(spool, **proof) == OFFSETS
    assert fetch(spool, **proof) == []


@pytest.mark.parametrize(
    "proof", [{"sha256": "0" * 64}, {"git_sha1": "0" * 40}]
)
@pytest.mark.parametrize("n", [0, 3 * PIECE])
def test_a_wrong_hash_keeps_nothing(spool, proof, n):
    with pytest.raises(Quarantine) as caught:
        fetch(spool, content_of(n), **proof)
    assert caught.value.code == "SOURCE_HASH"
    assert ORIGIN in caught.value.detail
    assert files_of(spool.folder) in (["lock"], [])
    assert not list(spool.folder.glob("*/*"))


def test_content_kept_without_proof_gives_way_to_the_proven(spool):
    false = bytes(len(CONTENT))
    key = key_of(CONTENT)
    path = spool.fetch(MemorySource(false), key, origin=ORIGIN)
    assert fetch(spool, sha256=sha256(CONTENT)) == OFFSETS
    assert path.read_bytes() == CONTENT
    assert not list(spool.folder.glob("*/*.gone"))


def test_another_length_is_another_file(spool):
    with pytest.raises(Quarantine, match="SOURCE_CHANGED"):
        spool.fetch(MemorySource(b"abc"), Key("t", 4), origin=ORIGIN)
    assert files_of(spool.folder) == []


@given(tag=st.text(), origin=st.text())
def test_no_text_of_a_server_becomes_a_path(tmp_path_factory, tag, origin):
    folder = tmp_path_factory.mktemp("hostile")
    with Spool(folder / "in" / "spool") as spool:
        key = Key(tag, 3)
        path = spool.fetch(MemorySource(b"abc"), key, origin=origin)
        assert spool.find(key) == path
        assert path.relative_to(spool.folder).parts[1:] == (
            key.name, "content"
        )  # fmt: skip
        assert record.read_record(path.with_name("record")).origin == origin
    assert [p.name for p in folder.iterdir()] == ["in"]
    assert [p.name for p in (folder / "in").iterdir()] == ["spool"]


@pytest.mark.parametrize(
    "tag", ["../../escape", "a\0b", "x" * 5000, "\ud800", "\x1b[31m", "/etc"]
)
def test_hostile_tags(spool, tag):
    path = spool.fetch(MemorySource(b"abc"), Key(tag, 3), origin=ORIGIN)
    assert path.parents[2] == spool.folder


# Interrupted.


def test_what_broke_off_goes_on_at_the_last_complete_piece(spool):
    broken_off(spool, 2)
    assert spool.find(key_of(CONTENT)) is None
    assert fetch(spool) == OFFSETS[2:]
    assert not list(spool.folder.glob("*/*.part"))


def test_not_a_piece_leaves_nothing(spool):
    with pytest.raises(ValueError, match="not enough"):
        broken_off(spool, 0)
    assert not list(spool.folder.glob("*/*"))


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def cut(path, by):
    os.truncate(path, path.stat().st_size - by)


def append(path, text):
    with path.open("ab") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("harm", "n_sound"),
    [
        (lambda f: flip(f / "content", 5), 0),
        (lambda f: flip(f / "content", PIECE), 1),
        (lambda f: cut(f / "content", 1), 1),
        (lambda f: append(f / "content", b"more"), 2),
        (lambda f: append(f / "content", bytes(9 * PIECE)), 2),
        (lambda f: (f / "content").unlink(), 0),
        (lambda f: cut(f / "record", 1), 1),
        (lambda f: cut(f / "record", 40), 1),
        (lambda f: append(f / "record", b'"abc'), 2),
        (lambda f: append(f / "record", b'{"x": [[[[]]]]}\n"a"\n'), 2),
        (lambda f: append(f / "record", b"\xff\n"), 2),
        (lambda f: append(f / "record", b"\xff" * 5000), 2),
        (lambda f: append(f / "record", b'"' + b"0" * 64 + b'"\n'), 2),
        (lambda f: (f / "record").write_bytes(b""), 0),
        (lambda f: (f / "record").write_bytes(b"null\n" * 9), 0),
        (lambda f: (f / "record").write_bytes(b"{}\n"), 0),
        (lambda f: flip(f / "record", 0), 0),
        (lambda f: (f / "record").unlink(), 0),
        (lambda f: f.rename(f.with_name("moved")), 0),
    ],
)
def test_only_what_is_on_the_disk_as_it_was_read_counts(spool, harm, n_sound):
    harm(broken_off(spool, 2))
    assert fetch(spool) == OFFSETS[n_sound:]
    assert fetch(spool) == []
    path = spool.find(key_of(CONTENT)).with_name("record")
    kept = record.read_record(path)
    assert path.read_bytes() == kept.text + kept.end


def test_the_record_of_another_key_counts_for_nothing(spool):
    folder = broken_off(spool, 2)
    text = (folder / "record").read_text()
    (folder / "record").write_text(text.replace(key_of(CONTENT).tag, "other"))
    assert fetch(spool) == OFFSETS


def test_after_kill_9_at_most_one_piece_is_read_again(tmp_path):
    """A real process, real pieces, killed from outside while it reads."""
    piece, n = record.PIECE, 3 * record.PIECE + 5
    process = child(tmp_path, n, piece, "block", at=3)
    assert [process.stdout.readline() for _ in range(3)] == [
        "read 0\n", f"read {piece}\n", f"read {2 * piece}\n"
    ]  # fmt: skip
    process.kill()
    process.communicate()
    with Spool(tmp_path) as spool:
        assert fetch(spool, content_of(n)) == [2 * piece, 3 * piece]


def test_killed_over_and_over_it_still_ends(tmp_path):
    n, kills, reads = 5 * PIECE, 0, []
    while True:
        process = child(tmp_path, n, PIECE, "die", at=2)
        said = lines_of(process)
        reads += [int(x.split()[1]) for x in said if x.startswith("read")]
        if process.returncode == 0:
            break
        kills += 1
    assert kills == 4
    assert len(reads) == 5 + kills
    assert not list(tmp_path.glob("*/*.part"))


def test_killed_at_any_call_that_changes_the_disk(tmp_path, small_pieces):
    whole = child(tmp_path / "0", len(CONTENT), PIECE, "call")
    total = int(
        next(x for x in lines_of(whole) if x.startswith("calls")).split()[1]
    )
    assert total > 12
    for call in range(1, total + 1):
        folder = tmp_path / str(call)
        process = child(folder, len(CONTENT), PIECE, "call", at=call)
        reads = [x for x in lines_of(process) if x.startswith("read")]
        assert process.returncode == -9
        with Spool(folder) as spool:
            again = fetch(spool)
        assert len(reads) + len(again) <= len(OFFSETS) + 1
        assert not list(folder.glob("*/*.part"))


def test_all_is_on_the_disk_before_the_name_is_and_then_the_name(
    spool, monkeypatch
):
    calls = []
    fsync, rename = os.fsync, os.rename

    def logged_fsync(descriptor):
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    def logged_rename(source, target):
        calls.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(os, "rename", logged_rename)
    fetch(spool)
    before, after = calls[: calls.index("rename")], calls[-1]
    assert [p.name for p in before[:2]] == ["content", "record"]
    assert before[2].suffix == ".part"
    assert after == before[2].parent


# Shared.


def test_two_processes_at_once_both_succeed(tmp_path, small_pieces):
    n = 20 * PIECE
    both = [child(tmp_path, n, PIECE, "slow") for _ in range(2)]
    said = [lines_of(process) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0][-1] == said[1][-1]
    with Spool(tmp_path) as spool:
        assert fetch(spool, content_of(n)) == []
    assert not list(tmp_path.glob("*/*.part"))


def test_many_threads_share_a_spool(spool):
    contents = [content_of(PIECE * n + 1) for n in range(3)] * 4
    threads = [
        threading.Thread(target=fetch, args=(spool, content))
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(spool.folder.glob("[0-9a-f][0-9a-f]/*"))) == 3


def test_a_partial_file_of_a_live_writer_is_left_alone(spool):
    """One fetch begins and ends within another of the same file."""
    inner = []

    def meanwhile(offset):
        if offset == PIECE:
            inner.append(fetch(spool))

    source = CountingSource(CONTENT, meanwhile)
    path = spool.fetch(source, key_of(CONTENT), origin=ORIGIN)
    assert (source.reads, inner) == (OFFSETS, [OFFSETS])
    assert path.read_bytes() == CONTENT
    assert not list(spool.folder.glob("*/*.part"))


def test_a_partial_file_that_was_finished_meanwhile_is_not_taken(
    spool, monkeypatch
):
    folder = broken_off(spool)
    opened = partial.open_shared

    def late(path):
        descriptor = opened(path)
        folder.rename(folder.with_name("finished"))
        return descriptor

    monkeypatch.setattr(partial, "open_shared", late)
    assert partial.take(folder) is None


def test_without_locks_it_works_all_the_same(spool, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    broken_off(spool, 1)
    # Nobody can know whether that one is still written.
    assert fetch(spool) == OFFSETS
    assert fetch(spool) == []


def test_links_that_others_planted_are_not_followed(spool, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    name = key_of(CONTENT).name
    parent = spool.folder / name[:2]
    parent.mkdir(parents=True)
    (parent / f"{name}.{'0' * 16}.part").symlink_to(victim)
    (parent / name).symlink_to(victim)
    assert spool.find(key_of(CONTENT)) is None
    assert fetch(spool) == OFFSETS
    assert list(victim.iterdir()) == []


def test_no_content_is_written_through_a_link(spool, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    content = broken_off(spool) / "content"
    content.unlink()
    content.symlink_to(victim)
    with pytest.raises(StorageError):
        fetch(spool)
    assert victim.read_text() == "precious"


def test_an_entry_that_is_a_link_is_not_given(spool, tmp_path):
    fetch(spool)
    entry = spool.find(key_of(CONTENT)).parent
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    assert spool.find(key_of(CONTENT)) is None


def test_an_entry_without_the_end_of_its_record_is_not_given(spool):
    fetch(spool)
    path = spool.find(key_of(CONTENT)).with_name("record")
    path.write_bytes(record.read_record(path).text)
    assert spool.find(key_of(CONTENT)) is None


def test_an_entry_under_the_name_of_another_is_not_given(spool):
    fetch(spool)
    entry = spool.find(key_of(CONTENT)).parent
    other = Key("other", len(CONTENT))
    (spool.folder / other.name[:2]).mkdir(exist_ok=True)
    entry.rename(spool.folder / other.name[:2] / other.name)
    assert spool.find(other) is None


def test_content_that_is_a_link_or_of_another_length_is_not_given(
    spool, tmp_path
):
    target = tmp_path / "elsewhere"
    # A link is as long as the name it leads to.
    content = content_of(len(str(target)))
    fetch(spool, content)
    path = spool.find(key_of(content))
    path.rename(target)
    path.symlink_to(target)
    assert spool.find(key_of(content)) is None
    fetch(spool)
    path = spool.find(key_of(CONTENT))
    path.write_bytes(CONTENT[:-1])
    assert spool.find(key_of(CONTENT)) is None
    assert fetch(spool) == OFFSETS


# Disks.


def test_room_is_asked_for_before_anything_is_read(mounted, small_pieces):
    disk = mounted("size=64k")
    source = CountingSource(content_of(40 * PIECE))
    with Spool(disk / "spool") as spool, pytest.raises(StorageError) as caught:
        spool.fetch(source, Key("t", source.nbytes), origin=ORIGIN)
    assert caught.value.code == "E_DISK_FULL"
    assert source.reads == []
    assert "free" in str(caught.value)
    assert "SPECTRA_CACHE" in str(caught.value)
    assert not list(disk.glob("spool/*/*"))


def test_a_disk_that_fills_up_costs_nothing_that_was_read(
    mounted, small_pieces, monkeypatch
):
    disk = mounted("size=96k")
    filler = disk / "filler"
    n = 12 * PIECE

    def fill(offset):
        if offset == 4 * PIECE:
            with pytest.raises(OSError, match="No space"):
                filler.write_bytes(bytes(96 * 1024))

    with Spool(disk / "spool") as spool:
        source = CountingSource(content_of(n), fill)
        with pytest.raises(StorageError) as caught:
            spool.fetch(source, key_of(content_of(n)), origin=ORIGIN)
        assert caught.value.code == "E_DISK_FULL"
        assert "SPECTRA_CACHE" in str(caught.value)
        filler.unlink()
        again = fetch(spool, content_of(n))
        assert again[0] >= 3 * PIECE


def test_a_read_only_cache_is_read_but_not_written(mounted, small_pieces):
    disk = mounted("size=1m")
    with Spool(disk) as spool:
        fetch(spool)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with Spool(disk) as spool:
        assert fetch(spool) == []
        with pytest.raises(StorageError, match="SPECTRA_CACHE") as caught:
            fetch(spool, b"new")
    assert caught.value.code == "E_READ_ONLY"


def test_a_cache_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        Spool(tmp_path / "file" / "spool") as spool,
        pytest.raises(StorageError, match="SPECTRA_CACHE") as caught,
    ):
        fetch(spool)
    assert caught.value.code == "E_STORAGE"


def test_an_error_of_a_source_is_not_taken_for_one_of_the_disk(spool):
    def reset(offset):
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        spool.fetch(
            CountingSource(CONTENT, reset), key_of(CONTENT), origin=ORIGIN
        )


def test_nothing_is_left_open(spool):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    fetch(spool)
    before = descriptors()
    for n in range(20):
        fetch(spool, content_of(n))
        spool.find(key_of(content_of(n)))
    broken_off_content = content_of(7 * PIECE)
    for _ in range(3):
        with pytest.raises(Quarantine):
            fetch(spool, broken_off_content, sha256="0" * 64)
    assert descriptors() == before
    spool.close()
    spool.close()
    assert descriptors() == before - 1
