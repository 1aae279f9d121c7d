"""Faults that no second try mends: the answer must not be used."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.hub.bodies import bomb, chained, gzipped, numbers, sliced
from tests.hub.content import FLIPPED, Altered, Body, body_of
from tests.hub.kinds import (
    Kind,
    always,
    has_body,
    has_commit,
    has_etag,
    is_json,
    is_page,
    is_range,
)
from tests.hub.messages import JSON, Answer, Asked, File
from tests.hub.ranges import part, serve

OTHER = str.maketrans("0123456789abcdef", "fedcba9876543210")
MEBIBYTE = 1024 * 1024


def file_of(answer: Answer, /) -> File:
    """Return the file behind a 206, which always has one."""
    if answer.file is None:
        raise ValueError(f"a {answer.status} without a file")
    return answer.file


def window(answer: Answer, /) -> tuple[int, int, int]:
    """Return first and last byte and the size, as Content-Range says."""
    limits, _, total = answer.header("Content-Range")[6:].partition("/")
    first, _, last = limits.partition("-")
    return int(first), int(last), int(total)


def moved(answer: Answer, first: int, last: int, /) -> Answer:
    """Return another range of the file, with headers that own up to it."""
    file = file_of(answer)
    said = f"bytes {first}-{last}/{file.content.size}"
    body = part(file, first, last + 1)
    return replace(answer, body=body).with_headers(Content_Range=said)


def wrong_start(answer: Answer, _: Asked, __: Any, /) -> Answer:
    """Return a range as long as the one asked for, if there is another."""
    first, last, total = window(answer)
    if last + 1 < total:
        return moved(answer, first + 1, last + 1)
    if first:
        return moved(answer, first - 1, last - 1)
    return moved(answer, 1, last)


def wrong_end(answer: Answer, _: Asked, __: Any, /) -> Answer:
    first, last, _total = window(answer)
    return moved(answer, first, last - 1 if last > first else last + 1)


def wrong_total(answer: Answer, _: Asked, __: Any, /) -> Answer:
    first, last, total = window(answer)
    said = f"bytes {first}-{last}/{total + 1}"
    return answer.with_headers(Content_Range=said)


def star_total(answer: Answer, _: Asked, __: Any, /) -> Answer:
    first, last, _total = window(answer)
    return answer.with_headers(Content_Range=f"bytes {first}-{last}/*")


def two_content_ranges(answer: Answer, _: Asked, __: Any, /) -> Answer:
    first, last, total = window(answer)
    second = ("Content-Range", f"bytes {first + 1}-{last + 1}/{total}")
    return replace(answer, headers=(*answer.headers, second))


def multipart(answer: Answer, _: Asked, __: Any, /) -> Answer:
    said = answer.header("Content-Range")
    before = f"--PART\r\nContent-Range: {said}\r\n\r\n".encode()
    body = chained(before, answer.body, b"\r\n--PART--\r\n")
    kind = "multipart/byteranges; boundary=PART"
    bare = answer.with_headers(Content_Type=kind, Content_Range="")
    kept = tuple(each for each in bare.headers if each[1])
    return replace(answer, headers=kept, body=body)


def wrong_length(answer: Answer, _: Asked, more: int, /) -> Answer:
    """Return a body that is longer, or shorter, than its range."""
    body = answer.body
    if more > 0:
        return replace(answer, body=chained(b"", body, bytes(more)))
    return replace(answer, body=sliced(body, (body.size or 0) + more))


def ignore_range(answer: Answer, asked: Asked, _: Any, /) -> Answer:
    return serve(file_of(answer), asked, whole=True)


def gzip(answer: Answer, _: Asked, __: Any, /) -> Answer:
    changed = replace(answer, body=gzipped(answer.body))
    return changed.with_headers(Content_Encoding="gzip")


def gzip_bomb(answer: Answer, _: Asked, size: int, /) -> Answer:
    changed = replace(answer, body=bomb(size))
    return changed.with_headers(Content_Encoding="gzip")


def changed(answer: Answer, asked: Asked, first: int, /) -> Answer:
    """Return what a file of the same size but of other bytes would give."""
    if answer.file is None:
        names = ("ETag", "X-Linked-Etag")
        old = {name: answer.header(name) for name in names}
        new = {name: etag.translate(OTHER) for name, etag in old.items()}
        return answer.with_headers(**{k: v for k, v in new.items() if v})
    file = answer.file
    content = Altered(file.content, first)
    etag = file.etag.translate(OTHER)
    return serve(File(content, etag, file.headers), asked)


def changed_commit(answer: Answer, _: Asked, __: Any, /) -> Answer:
    commit = answer.header("X-Repo-Commit").translate(OTHER)
    return answer.with_headers(X_Repo_Commit=commit)


def evil_body(answer: Answer, asked: Asked, first: int, /) -> Answer:
    """Return other bytes from an offset of the file on, all else as it was."""
    if answer.file is not None:
        content = Altered(answer.file.content, first)
        return serve(replace(answer.file, content=content), asked)
    text = b"".join(answer.body.chunks())
    body = body_of(text[:first] + text[first:].translate(FLIPPED))
    return replace(answer, body=body)


def etag_path(answer: Answer, _: Asked, path: str, /) -> Answer:
    linked = {"X_Linked_Etag": path} if answer.header("X-Linked-Etag") else {}
    return answer.with_headers(ETag=path, **linked)


def redirect(_: Answer, asked: Asked, target: str, /) -> Answer:
    place = {"itself": lambda: asked.target, "hops": lambda: hop(asked)}
    location: Callable[[], str] = place.get(target, lambda: target)
    return Answer(302, headers=(("Location", location()),))


def hop(asked: Asked, /) -> str:
    """Return the target of the request with one more hop counted in it."""
    url = urlsplit(asked.target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    query["hop"] = str(int(query.get("hop", "0")) + 1)
    return f"{url.path}?{urlencode(query)}"


def next_link(answer: Answer, asked: Asked, target: str, /) -> Answer:
    place = {"itself": lambda: asked.url, "endless": lambda: later(asked)}
    link: Callable[[], str] = place.get(target, lambda: target)
    return answer.with_headers(Link=f'<{link()}>; rel="next"')


def later(asked: Asked, /) -> str:
    """Return the URL of the listing one entry further on, end or no end."""
    query = {**asked.query, "cursor": int(asked.first("cursor", "0")) + 1}
    text = urlencode(query, doseq=True)
    return f"{asked.origin}{asked.raw_path}?{text}"


def huge_json(_: Answer, __: Asked, size: int, /) -> Answer:
    """Return a list of zeros whose length no header gives away."""
    body = Body(None, lambda: numbers(size))
    return Answer(200, body, (("Content-Type", JSON),))


HOSTILE = {
    "ignore-range": Kind(ignore_range, is_range),
    "wrong-start": Kind(wrong_start, is_range),
    "wrong-end": Kind(wrong_end, is_range),
    "wrong-total": Kind(wrong_total, is_range),
    "star-total": Kind(star_total, is_range),
    "two-content-ranges": Kind(two_content_ranges, is_range),
    "multipart": Kind(multipart, is_range),
    "wrong-length": Kind(wrong_length, is_range, value=1),
    "gzip": Kind(gzip, has_body),
    "gzip-bomb": Kind(gzip_bomb, has_body, value=64 * MEBIBYTE),
    "changed": Kind(changed, has_etag, value=0, sticky=True),
    "changed-commit": Kind(changed_commit, has_commit, sticky=True),
    "evil-body": Kind(evil_body, has_body, value=0),
    "etag-path": Kind(etag_path, has_etag, value='"../../../ESCAPED"'),
    "redirect": Kind(redirect, always, value="itself"),
    "next-link": Kind(next_link, is_page, value="itself"),
    "huge-json": Kind(huge_json, is_json, value=64 * MEBIBYTE),
}
