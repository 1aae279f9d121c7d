import os
import threading
from pathlib import Path

import pytest

from spectra.core.errors import Quarantine
from spectra.core.tensors import FileRef
from spectra.weights.bytes import (
    ByteSource,
    FileSource,
    MemorySource,
    read_bytes,
)

CONTENT = bytes(range(256)) * 9


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(params=["file", "memory"])
def source(request, path):
    if request.param == "memory":
        yield MemorySource(CONTENT)
        return
    with FileSource(path) as opened:
        yield opened


def code_of(call, *args, **more):
    with pytest.raises(Quarantine) as caught:
        call(*args, **more)
    return caught.value.code


def test_a_source_reads_what_was_written(source):
    assert isinstance(source, ByteSource)
    assert source.nbytes == len(CONTENT)
    for start, nbytes in ((0, 8), (7, 1000), (len(CONTENT), 0), (250, 20)):
        expected = CONTENT[start : start + nbytes]
        assert read_bytes(source, start, nbytes) == expected


@pytest.mark.parametrize("start", [-1, len(CONTENT) - 3, len(CONTENT) + 1])
def test_no_byte_beyond_the_ends(source, start):
    assert code_of(read_bytes, source, start, 4) == "ST_TRUNCATED_DATA"


@pytest.fixture
def stingy(monkeypatch):
    """Let the system return seven bytes at most."""
    whole = os.preadv

    def preadv(descriptor, buffers, offset, *flags):
        return whole(descriptor, [buffers[0][:7]], offset, *flags)

    monkeypatch.setattr(os, "preadv", preadv)


def test_short_reads_are_taken_up_again(path, stingy):
    with FileSource(path) as source:
        assert read_bytes(source, 5, 1000) == CONTENT[5:1005]


def test_buffers_of_any_item_size_are_filled(path, stingy):
    buffer = memoryview(bytearray(64)).cast("d")
    with FileSource(path) as source:
        source.read_into(3, buffer)
    assert buffer.tobytes() == CONTENT[3:67]


def test_a22_a_fifo_does_not_hang(tmp_path):
    fifo = tmp_path / "model.safetensors"
    os.mkfifo(fifo)
    result = []
    thread = threading.Thread(
        target=lambda: result.append(code_of(FileSource, fifo)), daemon=True
    )
    thread.start()
    thread.join(timeout=5)
    assert result == ["SOURCE_UNREADABLE"]


def test_a22_links_folders_and_absent_files_are_refused(tmp_path, path):
    link = tmp_path / "link"
    link.symlink_to(path)
    for refused in (link, tmp_path, tmp_path / "absent"):
        assert code_of(FileSource, refused) == "SOURCE_UNREADABLE"
    assert code_of(FileSource, "/dev/zero") == "SOURCE_UNREADABLE"


@pytest.mark.parametrize("change", ["truncate", "grow", "rewrite"])
def test_a23_a_file_that_changes_under_us(path, change):
    with FileSource(path) as source:
        with path.open("r+b") as file:
            if change == "truncate":
                file.truncate(100)
            else:
                file.seek(0, os.SEEK_END if change == "grow" else 0)
                file.write(b"new")
        os.utime(path, ns=(1, source.reference("").mtime_ns + 1_000))
        assert code_of(read_bytes, source, 0, 2000) == "SOURCE_CHANGED"


def test_a23_a_file_that_changed_since_the_scan(path):
    status = path.stat()
    pinned = FileRef(str(path), status.st_size, status.st_mtime_ns, "")
    with FileSource(path, pinned=pinned) as source:
        assert read_bytes(source, 0, 4) == CONTENT[:4]
    os.utime(path, ns=(1, status.st_mtime_ns + 1))
    assert code_of(FileSource, path, pinned=pinned) == "SOURCE_CHANGED"


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_no_descriptor_stays_open(path):
    before = descriptors()
    pinned = FileRef(str(path), 0, 0, "")
    for _ in range(5):
        with FileSource(path) as source:
            read_bytes(source, 0, 1)
        source.close()
        assert code_of(FileSource, path, pinned=pinned) == "SOURCE_CHANGED"
        assert code_of(FileSource, path.parent) == "SOURCE_UNREADABLE"
    assert descriptors() == before
