"""What lies in the spool: listed, thinned out, verified."""

import os
import time

import pytest

from spectra.hub import shelf
from spectra.hub.record import Key
from spectra.hub.spool import Spool
from spectra.weights.bytes import MemorySource
from tests.hub_cache.sources import (
    ORIGIN,
    PIECE,
    CountingSource,
    content_of,
    key_of,
)
from tests.hub_cache.test_spool import broken_off, child, fetch

DAY = 86400


def put(spool, letter, nbytes, days_ago):
    """Keep a file as if it was last used some days ago; return its folder."""
    path = spool.fetch(
        MemorySource(letter.encode() * nbytes),
        Key(letter, nbytes),
        origin=f"hf://org/{letter}@{'a' * 40}/f",
    )
    when = time.time() - days_ago * DAY
    os.utime(path.with_name("record"), (when, when))
    return path.parent


def names(entries):
    return "".join(entry.origin.split("/")[3][0] for entry in entries)


@pytest.fixture
def stocked(tmp_path, small_pieces):
    """Return a spool of four files that nobody holds any more."""
    with Spool(tmp_path / "spool") as spool:
        for letter, nbytes, days in (
            ("b", 200, 20), ("d", 400, 1), ("a", 100, 30), ("c", 300, 10)
        ):  # fmt: skip
            put(spool, letter, nbytes, days)
    return spool.folder


def test_entries_come_least_recently_used_first(stocked):
    found = shelf.entries(stocked)
    assert names(found) == "abcd"
    assert [entry.nbytes for entry in found] == [100, 200, 300, 400]
    assert all(entry.whole for entry in found)
    assert found[0].used == pytest.approx(time.time() - 30 * DAY, abs=60)


def test_to_ask_for_a_file_is_to_use_it(stocked):
    with Spool(stocked) as spool:
        assert spool.find(Key("a", 100))
    assert names(shelf.entries(stocked)) == "bcda"


def test_a_clock_that_was_ahead_does_not_keep_a_file_for_ever(stocked):
    future = time.time() + 10_000 * DAY
    os.utime(shelf.entries(stocked)[0].folder / "record", (future, future))
    assert shelf.entries(stocked)[-1].used <= time.time()


@pytest.mark.parametrize(
    ("order", "removed"),
    [
        ({"older_than": 15 * DAY}, "ab"),
        ({"older_than": 40 * DAY}, ""),
        ({"older_than": 0}, "abcd"),
        ({"to": 1000}, ""),
        ({"to": 999}, "a"),
        ({"to": 700}, "ab"),
        ({"to": 0}, "abcd"),
        ({"older_than": 25 * DAY, "to": 800}, "ab"),
        ({}, ""),
    ],
)
def test_prune(stocked, order, removed):
    done = shelf.prune(stocked, **order)
    assert names(done.removed) == removed
    assert done.held == ()
    assert names(shelf.entries(stocked)) == "abcd".removeprefix(removed)
    assert done.left == sum(e.nbytes for e in shelf.entries(stocked))
    assert not list(stocked.glob("*/*.gone"))


def test_nothing_there(tmp_path):
    assert shelf.entries(tmp_path / "no") == ()
    assert shelf.prune(tmp_path / "no", to=0) == shelf.Pruned((), (), 0)
    assert shelf.verify(tmp_path / "no") == shelf.Verified(0, ())
    assert list(tmp_path.iterdir()) == []


def test_what_a_live_process_was_given_stays(stocked):
    with Spool(stocked) as spool:
        assert spool.find(Key("a", 100))
        done = shelf.prune(stocked, to=0)
        assert (names(done.removed), names(done.held)) == ("bcd", "a")
        assert done.left == 100
    assert names(shelf.prune(stocked, to=0).removed) == "a"
    assert list((stocked / "leases").iterdir()) == []


def test_a_spool_that_is_forgotten_holds_nothing(stocked):
    spool = Spool(stocked)
    assert spool.find(Key("a", 100))
    del spool
    assert shelf.prune(stocked, to=0).held == ()


def test_a_killed_process_holds_nothing(tmp_path, small_pieces):
    process = child(tmp_path, 3 * PIECE, PIECE, "hold")
    for line in process.stdout:
        if line.startswith("at "):
            break
    (entry,) = shelf.prune(tmp_path, to=0).held
    assert entry.origin == ORIGIN
    process.kill()
    process.communicate()
    assert len(list((tmp_path / "leases").iterdir())) == 1
    assert shelf.prune(tmp_path, to=0).removed == (entry,)
    assert list((tmp_path / "leases").iterdir()) == []


def test_what_was_broken_off_is_listed_and_pruned(spool):
    broken_off(spool)
    (entry,) = shelf.entries(spool.folder)
    assert (entry.whole, entry.origin) == (False, ORIGIN)
    assert entry.nbytes == 2 * PIECE
    assert shelf.verify(spool.folder).n_files == 0
    assert shelf.prune(spool.folder, to=0).removed == (entry,)
    assert not list(spool.folder.glob("*/*"))


def test_what_is_being_written_is_not_pruned(spool):
    content = content_of(3 * PIECE)
    done = []

    def prune(offset):
        if offset == 2 * PIECE:
            done.append(shelf.prune(spool.folder, to=0))

    source = CountingSource(content, prune)
    path = spool.fetch(source, key_of(content), origin=ORIGIN)
    assert path.read_bytes() == content
    (pruned,) = done
    assert len(pruned.held) == 1
    assert pruned.removed == ()


def test_what_a_killed_prune_left_is_swept(stocked):
    folder = shelf.entries(stocked)[0].folder
    folder.rename(folder.with_name(f"{folder.name}.{'0' * 16}.gone"))
    assert names(shelf.entries(stocked)) == "bcd"
    shelf.prune(stocked, to=10_000)
    assert not list(stocked.glob("*/*.gone"))


def test_strange_neighbours_are_neither_listed_nor_removed(stocked):
    (stocked / "00").mkdir(exist_ok=True)
    (stocked / "00" / "notes").mkdir()
    (stocked / "00" / ("0" * 64)).write_text("a file")
    (stocked / "00" / ("1" * 64)).symlink_to(stocked.parent)
    assert names(shelf.entries(stocked)) == "abcd"
    shelf.prune(stocked, to=0)
    assert len(list((stocked / "00").iterdir())) == 3
    assert shelf.verify(stocked).damaged == ()


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 0x20
    path.write_bytes(content)


@pytest.mark.parametrize("at", [0, 1, PIECE - 1, PIECE, 2 * PIECE + 122])
def test_every_flipped_byte_is_found(spool, at):
    content = content_of(2 * PIECE + 123)
    fetch(spool, content)
    path = spool.find(key_of(content))
    assert shelf.verify(spool.folder) == shelf.Verified(1, ())
    flip(path, at)
    (damage,) = shelf.verify(spool.folder).damaged
    assert "hashes to" in damage.what
    assert damage.entry.folder == path.parent
    assert path.exists()
    assert shelf.verify(spool.folder, repair=True).damaged == (damage,)
    assert shelf.verify(spool.folder) == shelf.Verified(0, ())
    assert len(fetch(spool, content)) == 3


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda f: (f / "content").write_bytes(b""), "has 0 bytes, not 100"),
        (lambda f: (f / "content").unlink(), "cannot be read"),
        (lambda f: (f / "record").unlink(), "no sound record"),
        (lambda f: (f / "record").write_bytes(b"\xff"), "no sound record"),
        (lambda f: flip(f / "record", -10), "hash"),
        (lambda f: f.rename(f.with_name("0" * 64)), "of another file"),
    ],
)
def test_damage_is_named(stocked, harm, what):
    harm(shelf.entries(stocked)[0].folder)
    events = []
    report = shelf.verify(stocked, on_event=events.append)
    (damage,) = report.damaged
    assert what in damage.what or "no sound record" in damage.what
    assert [event.done for event in events] == [1, 2, 3, 4]
    assert shelf.verify(stocked, repair=True).n_files == 4
    assert shelf.verify(stocked) == shelf.Verified(3, ())


def test_every_flipped_byte_of_a_record_is_found_or_harmless(stocked):
    """Only where it was from, which nothing is decided by, may be wrong."""
    folder = shelf.entries(stocked)[0].folder
    path = folder / "record"
    text = path.read_bytes()
    origin = text.index(b'"origin": "') + len(b'"origin": "')
    harmless = range(origin, text.index(b'"', origin))
    for at in range(len(text)):
        flip(path, at)
        if not shelf.verify(stocked).damaged:
            assert at in harmless or text[at:].startswith(b'"'), text[at:]
        path.write_bytes(text)


def test_what_vanishes_meanwhile_is_no_damage(stocked, monkeypatch):
    first = shelf.entries(stocked)[0]

    def read(path, _read=shelf.read_record):
        if path.parent == first.folder and first.folder.exists():
            shelf.remove(first.folder)
        return _read(path)

    found = shelf.entries(stocked)
    monkeypatch.setattr(shelf, "entries", lambda _: found)
    monkeypatch.setattr(shelf, "read_record", read)
    assert shelf.verify(stocked).damaged == ()
