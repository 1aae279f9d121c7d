"""A file as a whole, or the one range of it that is asked for."""

import re

from tests.hub.content import Body
from tests.hub.messages import Answer, Asked, File

RANGE = re.compile(r"bytes=(?=-?\d)(\d*)-(\d*)")


def serve(file: File, asked: Asked, /, *, whole: bool = False) -> Answer:
    """Return the file, heeding Range, If-Match and If-Range."""
    headers = (
        ("ETag", file.etag),
        ("Accept-Ranges", "bytes"),
        *file.headers,
    )
    size = file.content.size
    if asked.headers.get("if-match", file.etag) not in {file.etag, "*"}:
        return Answer(412, headers=headers, file=file)
    limits = None if whole else limits_of(file, asked)
    if limits is None:
        return Answer(200, part(file, 0, size), headers, file)
    start, stop = limits
    if start >= stop:
        unsatisfied = (("Content-Range", f"bytes */{size}"), *headers)
        return Answer(416, headers=unsatisfied, file=file)
    described = ("Content-Range", f"bytes {start}-{stop - 1}/{size}")
    return Answer(206, part(file, start, stop), (described, *headers), file)


def limits_of(file: File, asked: Asked, /) -> tuple[int, int] | None:
    """Return start and stop of the range, or None for the whole file."""
    found = RANGE.fullmatch(asked.headers.get("range", ""))
    if not found or asked.headers.get("if-range", file.etag) != file.etag:
        return None
    first, last = found.groups()
    size = file.content.size
    if first and last and int(first) > int(last):
        return None
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    return start, stop


def part(file: File, start: int, stop: int, /) -> Body:
    return Body(stop - start, lambda: file.content.chunks(start, stop))
