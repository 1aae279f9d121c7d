"""What a remote file is: learnt from one answer, demanded of all others."""

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock

from spectra.core.errors import Quarantine
from spectra.hub.answer import Answer, Hop
from spectra.hub.failures import Transient
from spectra.hub.redact import scrub
from spectra.hub.urls import Origin, origin_of

__all__ = ["Pin", "bare"]

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_SIZE_ONLY = re.compile(r"bytes \*/(\d{1,18})")
_DIGITS = re.compile(r"\d{1,18}")


@dataclass(slots=True)
class Pin:
    """The length and the tags of a file at one commit.

    An ETag is compared with those that the same server gave before, and never
    used for anything else.

    Attributes
    ----------
    hub
        Whose word on the commit counts.
    name
        Of the file, for messages.
    commit
        What the hub has to say of each answer.
    nbytes, etag
        Where they are known: the length, and the hub's tag of the content,
        which for large files is its SHA-256.
    """

    hub: Origin
    name: str
    commit: str
    nbytes: int | None = None
    etag: str | None = None
    _tags: dict[Origin, str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def check(self, answer: Answer, start: int, stop: int, /) -> int:
        """Return how many bytes of the body come before `start`.

        Parameters
        ----------
        answer
            Of status 200, 206 or 416.
        start, stop
            The bytes asked for; fewer where the file ends before.

        Raises
        ------
        Quarantine
            SOURCE_CHANGED where it is another file or commit, ENCODING where
            the body is packed.
        Transient
            RANGE_MISMATCH where the answer is not the one asked for.
        """
        with self._lock:
            if answer.encoding:
                raise Quarantine(
                    "ENCODING",
                    f"{self.name} is sent packed as"
                    f" {scrub(answer.encoding, 40)}, which was not asked for",
                )
            linked = self._check_hub(answer)
            nbytes = self.nbytes if linked is None else linked
            if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self.nbytes = self._unsatisfied(answer, nbytes)
                return 0
            self._check_tag(answer)
            is_whole = answer.status == HTTPStatus.OK
            if is_whole:
                self.nbytes = self._whole(answer, nbytes)
            else:
                self.nbytes = self._part(answer, nbytes, start, stop)
            self._keep_tag(answer)
            return start if is_whole else 0

    def _check_hub(self, answer: Answer) -> int | None:
        """Return the length by the hub, having heard it on the commit."""
        said = [hop for hop in answer.hops if origin_of(hop.url) == self.hub]
        commits = {hop.headers.get("x-repo-commit") for hop in said} - {None}
        if said and commits != {self.commit}:
            what = scrub(", ".join(map(str, commits)) or "none", 60)
            raise self._changed(f"the hub answers for commit {what}")
        sizes = [self._linked_size(hop) for hop in said]
        known = [size for size in sizes if size is not None]
        for hop in said:
            self._same_etag(hop.headers.get("x-linked-etag"))
        if said and answer.hops[-1] not in said and not known:
            raise self._mismatch("the hub does not say how long it is")
        for size in known:
            if self.nbytes is not None and size != self.nbytes:
                raise self._changed(f"{size} bytes, not {self.nbytes}")
        return known[-1] if known else None

    def _linked_size(self, hop: Hop) -> int | None:
        text = hop.headers.get("x-linked-size", "")
        return int(text) if _DIGITS.fullmatch(text) else None

    def _same_etag(self, etag: str | None) -> None:
        if etag is None:
            return
        if self.etag is not None and bare(self.etag) != bare(etag):
            raise self._changed(f"the hub tags it {scrub(etag, 80)}")
        self.etag = bare(etag)

    def _check_tag(self, answer: Answer) -> None:
        origin = origin_of(answer.url)
        tag = answer.headers.get("etag", "")
        if self._tags.get(origin, tag) != tag:
            raise self._changed(f"{origin.host} tags it {scrub(tag, 80)}")
        if origin == self.hub and tag:
            self._same_etag(answer.headers.get("x-linked-etag", tag))

    def _keep_tag(self, answer: Answer) -> None:
        """Keep the tag of an answer in which all else was right."""
        self._tags[origin_of(answer.url)] = answer.headers.get("etag", "")

    def _unsatisfied(self, answer: Answer, nbytes: int | None) -> int:
        found = _SIZE_ONLY.fullmatch(answer.headers.get("content-range", ""))
        size = int(found[1]) if found else None
        if size is not None and nbytes not in {None, size}:
            raise self._changed(f"{size} bytes, not {nbytes}")
        if size != 0:
            raise self._mismatch("a range within it is refused")
        return 0

    def _whole(self, answer: Answer, nbytes: int | None) -> int:
        length = answer.length
        if length is None and nbytes is None:
            raise Quarantine(
                "RANGE_IGNORED",
                f"{self.name} is sent whole where a part was asked for, and"
                " its length is not told",
            )
        if length is not None and nbytes not in {None, length}:
            raise self._mismatch(f"{length} bytes where {nbytes} are due")
        return nbytes or length or 0

    def _part(
        self, answer: Answer, nbytes: int | None, start: int, stop: int
    ) -> int:
        said = answer.headers.get_list("content-range")
        found = _RANGE.fullmatch(said[0]) if len(said) == 1 else None
        if answer.status != HTTPStatus.PARTIAL_CONTENT or found is None:
            text = scrub(", ".join(said) or f"status {answer.status}", 80)
            raise self._mismatch(f"the answer is {text}")
        first, last, total = map(int, found.groups())
        end = min(stop, total)
        if (first, last + 1) != (start, end) or nbytes not in {None, total}:
            raise self._mismatch(
                f"asked for {start}-{end - 1}/{nbytes or '*'}, got {found[0]}"
            )
        if answer.length != end - start:
            raise self._mismatch(
                f"{answer.length} bytes where {end - start} are due"
            )
        return total

    def _changed(self, what: str) -> Quarantine:
        return Quarantine(
            "SOURCE_CHANGED", f"{self.name} is not what it was: {what}"
        )

    def _mismatch(self, what: str) -> Transient:
        return Transient(
            Quarantine("RANGE_MISMATCH", f"{self.name}: {what}"),
            mismatch=True,
        )


def bare(etag: str, /) -> str:
    """Return an ETag without its quotes and its mark of weakness."""
    return etag.strip().removeprefix("W/").strip('"')
