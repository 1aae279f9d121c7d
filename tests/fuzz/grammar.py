"""Mutations that know JSON: what it becomes is near to what it was."""

from tests.fuzz.trees import Pairs, Raw, copied

__all__ = ["LEAVES", "NAMES", "NUMBERS", "changed"]

NUMBERS = (
    0, 1, 2, 3, 4, 7, 8, 16, 31, 64, -1, 2**31, 2**32, 2**48 - 1, 2**48,
    2**61, 2**63 - 1, 2**63, 2**64 - 1, 2**64,
    *map(Raw, (
        "-0", "-0.0", "0.0", "1.0", "1e0", "1E2", "16e-1", "1e308", "1e400",
        "-1e400", "9" * 19, "9" * 25, "-" + "9" * 25, "9" * 400, "9" * 5000,
        "00", "01", "+1", "0x10", ".5", "5.", "1_0", "NaN", "Infinity",
        "-Infinity", "nan", "True",
    )),
)  # fmt: skip
NAMES = (
    "", "w", "a", "a/b", "..", "../../etc/passwd", "/etc/passwd", "C:\\x",
    "%2e%2e/x", "https://x/y", "\x00", "a\x00b", "\x1b[31m", "\n", "\x7f",
    "\x85", "\u202e", "\ufeff", "é", "e\u0301", "\U0001f600", "n" * 1023,
    "n" * 1024, "n" * 1025, "é" * 512, "é" * 513, "__metadata__", "dtype",
    "shape", "data_offsets", "<b>", "=cmd", "[{", "model.safetensors",
    *map(Raw, (
        '"\\ud800"', '"\\udfff\\ud800"', '"\\ud83d\\ude00"', '"\\u0077"',
        '"\x01"', '"\t"', '"\\x"', '"\\/"', '"\\u00"', '"', "'w'", "w",
    )),
)  # fmt: skip
LEAVES = (
    *NUMBERS, *NAMES, True, False, None, "F32", "U8", "BF16", "f32", "F31",
    "1", *map(Raw, ("{}", "[]", "[0,0]", "[[]]", '{"a":1,"a":2}', "",
    '{"F32":null}', '{"U8":null}', "[" * 40 + "]" * 40, "[" * 130 + "]" * 130,
    "[" * 9_000, "/**/1", "1 2", ",")),
)  # fmt: skip


def changed(tree, random):
    """Return a copy of a tree with one thing in it changed."""
    containers = []
    new = copied(tree, containers)
    if not containers or random.random() < 0.01:
        return random.choice(LEAVES)
    place = random.choice(containers)
    random.choice(_CHANGES)(place, random.randrange(len(place)), random, new)
    return new


def _value(place, n):
    return place[n][1] if type(place) is Pairs else place[n]


def _put(place, n, value):
    place[n] = (place[n][0], value) if type(place) is Pairs else value


def _leaf(place, n, random, _):
    _put(place, n, random.choice(LEAVES))


def _near(place, n, random, _):
    """A number becomes another, near to it or far, or of another kind."""
    value, odd = _value(place, n), random.random()
    if type(value) is not int or odd < 0.3:
        new = random.choice(NUMBERS)
    elif odd < 0.7:
        new = random.choice((value + 1, value - 1, value * 2, value + 8))
    else:
        new = random.choice((Raw(f"{value}.0"), value > 0, [value], -value))
    _put(place, n, new)


def _sibling(place, n, random, _):
    _put(place, n, _value(place, random.randrange(len(place))))


def _whole(place, n, _, new):
    """A part becomes all of it: it is written before it changes again."""
    copy = copied(new, [])
    _put(place, n, copy)


def _drop(place, n, *_):
    del place[n]


def _twice(place, n, *_):
    place.insert(n, place[n])


def _twice_otherwise(place, n, random, _):
    place.insert(n + random.randrange(2), place[n])
    _put(place, n, random.choice(LEAVES))


def _swap(place, n, random, _):
    other = random.randrange(len(place))
    one, two = _value(place, n), _value(place, other)
    _put(place, n, two)
    _put(place, other, one)


def _mix(place, _, random, __):
    random.shuffle(place)


def _rename(place, n, random, _):
    if type(place) is Pairs:
        known = place[random.randrange(len(place))][0]
        name = random.choice((known, random.choice(NAMES)))
        place[n] = (name, place[n][1])


def _insert(place, n, random, _):
    value = random.choice(LEAVES)
    pair = type(place) is Pairs
    place.insert(n, (random.choice(NAMES), value) if pair else value)


def _wrap(place, n, random, _):
    value = _value(place, n)
    _put(place, n, random.choice(([value], Pairs([("a", value)]))))


def _as_list(place, n, *_):
    """An object becomes the list of its values."""
    value = _value(place, n)
    if type(value) is Pairs:
        _put(place, n, [one for _, one in value])


def _as_text(place, n, *_):
    _put(place, n, str(_value(place, n)))


_CHANGES = (
    _leaf, _leaf, _near, _near, _near, _sibling, _whole, _drop, _twice,
    _twice_otherwise, _swap, _mix, _rename, _insert, _wrap, _as_list, _as_text,
)  # fmt: skip
