"""Mutations that know safetensors: most files stay nearly sound."""

from dataclasses import dataclass

from spectra.core.tensors import DTYPE_BITS
from tests.fuzz.grammar import LEAVES, NAMES
from tests.fuzz.trees import Pairs, Raw, grown

__all__ = ["Draft", "draft_of", "redrawn"]

_DTYPES = (*DTYPE_BITS, "F31", "f32", "", "F6")
_BYTES = tuple(d for d, bits in DTYPE_BITS.items() if bits == 8)
_HUGE = (2**31, 2**32, 2**40, 2**47, 2**48 - 1, 2**48, 2**61, 2**63, 2**64)


@dataclass(slots=True)
class Draft:
    """A header as a tree, and the bytes after it."""

    header: Pairs
    content: bytearray

    @property
    def tensors(self):
        """Return where entries of tensors, which are objects, stand."""
        return [
            n
            for n, (name, entry) in enumerate(self.header)
            if name != "__metadata__" and type(entry) is Pairs
        ]


def draft_of(raw):
    """Return the draft of a sound file."""
    end = 8 + int.from_bytes(raw[:8], "little")
    return Draft(grown(raw[8:end]), bytearray(raw[end:]))


def redrawn(draft, random):
    """Return a draft with one thing of the format changed."""
    new = Draft(
        Pairs([(name, _copy(entry)) for name, entry in draft.header]),
        bytearray(draft.content),
    )
    places = new.tensors
    if places:
        random.choice(_CHANGES)(new, random.choice(places), random)
    else:
        _add(new, 0, random)
    return new


def _copy(entry):
    return Pairs(entry) if type(entry) is Pairs else entry


def _get(draft, place, field):
    return dict(draft.header[place][1]).get(field)


def _set(draft, place, **fields):
    name, entry = draft.header[place]
    left = [(key, fields.pop(key, value)) for key, value in entry]
    draft.header[place] = (name, Pairs([*left, *fields.items()]))


def _span(draft, place):
    """Return offsets, of whatever an earlier change has left of them."""
    span = _get(draft, place, "data_offsets")
    if type(span) is list and [type(one) for one in span] == [int, int]:
        return span
    return [0, 0]


def _shift(draft, place, random):
    """One tensor overlaps another, or leaves a hole."""
    start, stop = _span(draft, place)
    by = random.choice((-8, -4, -2, -1, 1, 2, 4, 8, len(draft.content)))
    moved = random.choice((
        [start + by, stop + by], [start + by, stop], [start, stop + by],
        [stop, start],
    ))  # fmt: skip
    _set(draft, place, data_offsets=moved)


def _exchange(draft, place, random):
    """Two tensors take each other's place."""
    other = random.choice(draft.tensors)
    one, two = _span(draft, place), _span(draft, other)
    _set(draft, place, data_offsets=two)
    _set(draft, other, data_offsets=one)


def _same(draft, place, random):
    """One tensor becomes a second name of another."""
    name, _ = draft.header[place]
    draft.header[place] = (name, draft.header[random.choice(draft.tensors)][1])


def _reshape(draft, place, random):
    """The sides change, the entries are as many, or not."""
    shape = _get(draft, place, "shape")
    shape = list(shape) if type(shape) is list else []
    kind = random.randrange(5)
    if kind == 0:
        random.shuffle(shape)
    elif kind == 1:
        shape.insert(random.randrange(len(shape) + 1), 1)
    elif kind == 2:
        shape.insert(random.randrange(len(shape) + 1), 0)
    elif kind == 3:
        shape += random.choices(_HUGE, k=random.randrange(1, 4))
    elif shape:
        shape[random.randrange(len(shape))] = random.choice(_HUGE)
    _set(draft, place, shape=shape)


def _written(draft, place, random):
    """A number is written in a way that some parsers take for it."""
    field = random.choice(("shape", "data_offsets"))
    numbers = _get(draft, place, field)
    if type(numbers) is not list or not numbers:
        return
    n = random.randrange(len(numbers))
    if 0 in numbers and random.random() < 0.5:
        n = numbers.index(0)
    value, numbers = numbers[n], list(numbers)
    numbers[n] = random.choice((
        *map(Raw, (f"-{value}", f"{value}.0", f"{value}e0", f"0{value}")),
        str(value), value == 1, None if value == 0 else True,
    ))  # fmt: skip
    _set(draft, place, **{field: numbers})


def _retype(draft, place, random):
    _set(draft, place, dtype=random.choice(_DTYPES))


def _as_bytes(draft, place, random):
    """The same bytes are so many of one byte each."""
    start, stop = _span(draft, place)
    dtype = random.choice(_BYTES)
    _set(draft, place, dtype=dtype, shape=[max(stop - start, 0)])


def _more(draft, place, random):
    """A field that the format does not know."""
    field = random.choice(("more", "dtype", "shape", *NAMES))
    name, entry = draft.header[place]
    deep = random.choice((20, 29, 30, 31, 32, 60))
    value = random.choice((*LEAVES, *(Raw("[" * deep + "]" * deep),) * 8))
    entry = Pairs([*entry, (field, value)])
    draft.header[place] = (name, entry)


def _add(draft, _, random):
    """One more tensor, with its bytes after all others."""
    end = len(draft.content)
    size = random.choice((0, 0, 1, 5))
    shape = [size] if size else [0, *random.choices(_HUGE, k=2)]
    random.shuffle(shape)
    known = [name for name, _ in draft.header]
    name = random.choice((*known, *NAMES))
    fields = [
        ("dtype", random.choice(_DTYPES[:-3])),
        ("shape", shape),
        ("data_offsets", [end, end + size]),
    ]
    if size:
        fields[0] = ("dtype", random.choice(_BYTES))
        draft.content += bytes(range(size))
    where = random.randrange(len(draft.header) + 1)
    draft.header.insert(where, (name, Pairs(fields)))


def _many(draft, _, random):
    """More tensors than are allowed, or just as many."""
    end = len(draft.content)
    left = 40 - len(draft.tensors) + random.choice((-1, 0, 1))
    entry = [("dtype", "U8"), ("shape", [0]), ("data_offsets", [end, end])]
    draft.header += [(f"more.{n}", Pairs(entry)) for n in range(left)]


def _metadata(draft, _, random):
    value = random.choice((*LEAVES, Pairs([("a", random.choice(LEAVES))])))
    draft.header.append(("__metadata__", value))


def _cut(draft, _, random):
    by = random.choice((1, 2, 8))
    draft.content = draft.content[:-by]


def _longer(draft, _, random):
    draft.content += random.choice((b"\0", b"PK\x05\x06", b"12345678"))


_CHANGES = (
    _shift, _shift, _exchange, _same, _reshape, _reshape, _retype, _as_bytes,
    _written,
    _as_bytes, _more, _more, _add, _add, _add, _metadata, _cut, _longer,
)  # fmt: skip
_CHANGES = (*_CHANGES * 2, _many)
