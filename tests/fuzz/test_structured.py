"""The same promises, on what Hypothesis makes: it shrinks what it finds."""

import base64
import contextlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectra.core.errors import IntegrityError, Quarantine
from spectra.weights.adapters import read_adapter_config
from spectra.weights.catalog_file import catalog_from
from spectra.weights.strict_json import JsonError, parse
from tests.fuzz.catalogs import check_types
from tests.fuzz.grammar import LEAVES, NAMES, NUMBERS
from tests.fuzz.headers import agree
from tests.fuzz.trees import Pairs, text_of

leaves = st.sampled_from(LEAVES) | st.text(max_size=4) | st.integers()


def objects(values):
    """Return objects in which a key may stand twice."""
    pairs = st.tuples(st.sampled_from(NAMES), values)
    return st.lists(pairs, max_size=4).map(Pairs)


trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | objects(inner),
    max_leaves=10,
)
texts = trees.map(lambda tree: text_of(tree).encode(errors="surrogatepass"))

numbers = st.integers(0, 9) | st.sampled_from(NUMBERS)
entries = st.tuples(
    st.sampled_from(["F32", "BF16", "U8", "F4", "F6_E2M3", "F8_E5M2", "X"]),
    st.lists(numbers, max_size=3),
    st.lists(st.integers(0, 24) | numbers, min_size=2, max_size=2),
    st.lists(st.tuples(st.sampled_from(NAMES), leaves), max_size=1),
).map(
    lambda parts: Pairs([
        *zip(("dtype", "shape", "data_offsets"), parts[:3], strict=True),
        *parts[3],
    ])
)  # fmt: skip
headers = objects(entries | trees)


@given(headers, st.binary(max_size=24))
def test_headers(header, content):
    raw = text_of(header).encode(errors="surrogatepass")
    agree(struct.pack("<Q", len(raw)) + raw + content)


@given(st.binary(max_size=64))
def test_any_bytes_as_a_file(raw):
    agree(raw)
    agree(struct.pack("<Q", len(raw)) + raw)


@given(texts)
def test_strict_json_reads_what_json_reads(text):
    """Or nothing: and then Python's own parser is not asked."""
    try:
        found = parse(text, depth=16)
    except JsonError:
        return
    assert found == json.loads(
        text,
        parse_int=lambda n: int(n) if len(n) < 20 else float(n),
    )


@given(
    st.dictionaries(
        st.sampled_from([
            "peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern",
            "alpha_pattern", "init_lora_weights", "use_dora", "base_model",
        ]),
        st.sampled_from(["LORA", 1, 8, 16.0, True, None, {}])
        | st.dictionaries(st.text("ab[]()*+?{}\\^$.|-&~", max_size=8), numbers)
        | st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(), st.lists
        ),
    )
)  # fmt: skip
def test_adapter_configurations(fields):
    fields = {"peft_type": "LORA", "r": 4, "lora_alpha": 8} | fields
    try:
        config = read_adapter_config(fields)
    except Quarantine:
        return
    check_types(config)
    assert config.scale_of("a.b") > 0


@given(texts)
@pytest.mark.parametrize("name", ["index", "adapter_config", "config"])
def test_papers(known, name, text):
    known[name].check(text)


@given(st.lists(texts, max_size=3))
def test_catalogues(lines):
    text = b"\n".join(lines).decode(errors="replace")
    with contextlib.suppress(IntegrityError):
        check_types(catalog_from(text, path="f"))


@given(st.data())
def test_journals(known, data):
    """Whole units under true and false names, in any number."""
    units = [unit for unit, _ in known["journal"].units.values()]
    contents = [content for _, content in known["journal"].units.values()]
    digests = st.sampled_from([unit.digest for unit in units] + ["0" * 64])
    keys = st.sampled_from([*known["journal"].units, "f" * 64])
    files = data.draw(
        st.lists(
            st.tuples(
                st.tuples(keys, digests).map(".".join),
                st.sampled_from(["file", "file", "folder", "link"]),
                st.sampled_from(contents) | st.binary(max_size=99),
            ),
            max_size=5,
        )
    )
    digest_of = dict(zip(contents, [u.digest for u in units], strict=True))
    kept = [
        [name, kind, base64.b64encode(content).decode()]
        for name, kind, content in files
        # The name alone says which unit it is: whole under another's key it
        # is believed.
        if digest_of.get(content) != name[65:]
        or any(unit.path.name == name for unit in units)
    ]
    known["journal"].check(json.dumps(kept).encode())
