"""Mutations that know nothing of what they change."""

__all__ = ["bent"]

_BYTES = b'0129-+.eE"\\,:[]{} \t\n\x00\x01\x7f\x80\xc3\xff'
_CHUNKS = (
    b"\xef\xbb\xbf", b"\xff\xfe", b"\x00" * 8, b"//", b"/**/", b"#", b"\\u",
    b"\\ud800", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"nan",
    b"NaN", b"null", b"1e400", b"9" * 30, b"[[[[", b"{}", b'"":', b"\r\n",
    b"PK\x03\x04", b"\x80\x02", b"\x1f\x8b", b"GGUF", b"\x89HDF\r\n\x1a\n",
)  # fmt: skip


def bent(raw, random):
    """Return bytes with one to three of the changes below."""
    changed = bytearray(raw)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        random.choice(_CHANGES)(changed, random)
    return bytes(changed)


def _place(raw, random):
    return random.randrange(len(raw) + 1)


def _range(raw, random):
    start = _place(raw, random)
    return start, start + random.choice((1, 1, 2, 3, 4, 8, 16, 64))


def _flip(raw, random):
    if raw:
        raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)


def _set(raw, random):
    if raw:
        raw[random.randrange(len(raw))] = random.choice(_BYTES)


def _insert(raw, random):
    place = _place(raw, random)
    raw[place:place] = bytes([random.choice(_BYTES)])


def _insert_chunk(raw, random):
    place = _place(raw, random)
    raw[place:place] = random.choice(_CHUNKS)


def _delete(raw, random):
    start, stop = _range(raw, random)
    del raw[start:stop]


def _duplicate(raw, random):
    start, stop = _range(raw, random)
    raw[start:start] = raw[start:stop]


def _splice(raw, random):
    """Copy a range over another place, of the same length or not."""
    start, stop = _range(raw, random)
    place, end = _range(raw, random)
    raw[place:end] = raw[start:stop]


def _cut(raw, random):
    del raw[_place(raw, random) :]


def _append(raw, random):
    raw += random.choice((b"\0", b" ", b"PK", b"\xff" * 9, bytes(raw[:64])))


_CHANGES = (
    _flip, _flip, _set, _set, _insert, _insert_chunk, _delete, _duplicate,
    _splice, _cut, _append,
)  # fmt: skip
