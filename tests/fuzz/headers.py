"""The header of safetensors, against the library that defines it."""

import struct

import safetensors
from safetensors import SafetensorError

from spectra.core.errors import Quarantine
from spectra.weights.bytes import MemorySource
from spectra.weights.header import read_header
from tests.fuzz.differences import LIMITS, differences
from tests.fuzz.documented import documented
from tests.fuzz.drafts import draft_of, redrawn
from tests.fuzz.grammar import changed
from tests.fuzz.octets import bent
from tests.fuzz.seeds import files
from tests.fuzz.trees import text_of

__all__ = ["Headers", "agree", "drawn", "file_like", "reference"]

_LENGTHS = (0, 1, 2, 7, 2**16, 2**31, 2**32, 2**63, 2**64 - 1)
_CODECS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1")
_COMMAS = (*(",",) * 20, *(", ",) * 9, *(" ,\n\t",) * 9, ",,", ";")
_PADDING = ("", "", " ", " " * 7, " " * 9000, "\n", "\0", "x", "}", "\x0b")


class Headers:
    """Mutants of whole files, tiny ones."""

    name = "header"

    def __init__(self):
        self.raws = files()
        self.drafts = [draft_of(raw) for raw in self.raws]

    def mutant(self, random):
        """Return the next file."""
        if random.random() < 0.25:
            return bent(random.choice(self.raws), random)
        return drawn(random.choice(self.drafts), random)

    def check(self, mutant):
        """Compare what we read with what the library reads."""
        return agree(mutant)


def drawn(draft, random):
    """Return the file of a draft with some changes of some kinds."""
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        draft = redrawn(draft, random)
    tree = draft.header
    for _ in range(random.choice((0, 0, 0, 1, 1, 2))):
        tree = changed(tree, random)
    return file_like(tree, bytes(draft.content), random)


def file_like(tree, content, random):
    """Return a file of a header and content, now and then an odd one."""
    text = text_of(tree, random.choice(_COMMAS))
    odd = random.random()
    if odd < 0.1:
        text += random.choice(_PADDING)
    elif odd < 0.13:
        text = random.choice(_PADDING) + text
    header = _encoded(text, random)
    length = len(header)
    odd = random.random()
    if odd < 0.02:
        length = random.choice((*_LENGTHS, length + 1, length - 1, 0))
    raw = struct.pack("<Q", length % 2**64) + header + content
    return bent(raw, random) if odd > 0.95 else raw


def _encoded(text, random):
    if random.random() < 0.01:
        return text.encode(random.choice(_CODECS), errors="replace")
    return text.encode(errors="surrogatepass")


def agree(raw):
    """Return the outcome, or raise where it is none that we document."""
    theirs = reference(raw)
    try:
        header = read_header(MemorySource(raw), file="f", limits=LIMITS)
    except Quarantine as fault:
        code = documented(fault.code)
        if theirs is None:
            return code
        _check_difference(raw, code)
        return f"{code} (safetensors reads it)"
    ours = {
        ref.name: (ref.dtype, ref.shape, raw[ref.start : ref.stop])
        for ref in header.tensors
    }
    assert ours == theirs, (ours, theirs)
    # The list is exact: nothing of it is read now and then.
    shown = differences(raw)
    assert not shown, shown
    return "accepted"


def reference(raw):
    """Return what the safetensors library reads, or None."""
    try:
        found = safetensors.deserialize(raw)
    except SafetensorError:
        return None
    return {
        name: (view["dtype"], tuple(view["shape"]), bytes(view["data"]))
        for name, view in found
    }


def _check_difference(raw, code):
    shown = {row.code for row in differences(raw)}
    if code == "NOT_SAFETENSORS":
        # What a file is instead is looked for when its header is no good.
        assert shown & _UNREADABLE, (code, shown)
    else:
        assert code in shown, (code, shown)


_UNREADABLE = {
    "ST_HEADER_TOO_BIG", "ST_HEADER_JSON", "ST_HEADER_DEPTH",
    "ST_DUPLICATE_KEY",
}  # fmt: skip
