"""Each difference from safetensors: there, seen, and on the page."""

import json

import pytest

from tests.fuzz.differences import DIFFERENCES, differences
from tests.fuzz.documented import PAGE
from tests.fuzz.headers import agree, reference
from tests.fuzz.seeds import files
from tests.weights.files import built, entry

BYTE = entry("U8", [1], 0, 1)
PLAIN = json.dumps(BYTE)
NONE = entry("U8", [0], 0, 0)

EXAMPLES = (
    ("stands twice", [
        f'{{"w":{PLAIN},"w":{PLAIN}}}',
        f'{{"__metadata__":{{"a":"b","a":"c"}},"w":{PLAIN}}}',
        f'{{"w":{{"more":{{"a":1,"a":2}},{PLAIN[1:]}}}',
    ]),
    ("array", ['{"w":["U8",[1],[0,1]]}']),
    ("dtype that is an object", [{"w": {**BYTE, "dtype": {"U8": None}}}]),
    ("`null`", [{"__metadata__": None, "w": BYTE}]),
    ("a name", [{"": BYTE}, {"n" * 1025: BYTE}, {"a\x7f": BYTE}]),
    ("a side of", [{"w": BYTE, "none": entry("U8", [2**48, 0], 1, 1)}]),
    ("before the first brace", [f' {{"w":{PLAIN}}}']),
    ("nested", [{"w": {**BYTE, "more": json.loads("[" * 40 + "]" * 40)}}]),
    ("more tensors", [{"w": BYTE} | {f"n{n}": NONE for n in range(40)}]),
    ("a header longer", [f'{{"w":{PLAIN}}}'.ljust(9000)]),
)  # fmt: skip
CASES = [(words, header) for words, headers in EXAMPLES for header in headers]


@pytest.mark.parametrize(("words", "header"), CASES)
def test_the_library_reads_what_we_refuse(words, header):
    raw = built(header, b"w")
    (row,) = differences(raw)
    assert words in row.what
    assert reference(raw) is not None
    assert agree(raw) == f"{row.code} (safetensors reads it)"


def test_every_difference_has_an_example():
    seen = [row for words, _ in EXAMPLES for row in DIFFERENCES
            if words in row.what]  # fmt: skip
    assert seen == list(DIFFERENCES)


def test_a_sound_file_shows_none():
    for raw in files():
        assert differences(raw) == []
        assert agree(raw) == "accepted"


def test_the_page_has_the_same_rows():
    _, _, rest = PAGE.read_text().partition("safetensors library reads")
    table = rest.partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{row.code}` | {row.what} |" for row in DIFFERENCES]
