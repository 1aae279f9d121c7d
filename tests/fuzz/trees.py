"""JSON as trees that can say what JSON cannot: keys twice, any number."""

import json
from json.encoder import encode_basestring_ascii

__all__ = ["Pairs", "Raw", "copied", "grown", "text_of"]


class Raw(str):
    """Text that is written as it stands."""

    __slots__ = ()


class Pairs(list):
    """An object: tuples of key and value, in order."""


def grown(text):
    """Return the tree of a JSON text."""
    return json.loads(text, object_pairs_hook=Pairs)


def text_of(tree, comma=",", colon=":"):
    """Return the text of a tree, which JSON may be or not."""
    kind = type(tree)
    if kind is str:
        return encode_basestring_ascii(tree)
    if kind is int:
        return str(tree)
    if kind is Pairs:
        inner = comma.join(
            [
                f"{text_of(key)}{colon}{text_of(value, comma, colon)}"
                for key, value in tree
            ]
        )
        return f"{{{inner}}}"
    if kind is list:
        inner = comma.join([text_of(value, comma, colon) for value in tree])
        return f"[{inner}]"
    return tree if kind is Raw else json.dumps(tree)


def copied(tree, containers):
    """Return a copy; what is not empty of objects and lists is collected."""
    kind = type(tree)
    if kind is Pairs:
        new = Pairs([(key, copied(one, containers)) for key, one in tree])
    elif kind is list:
        new = [copied(one, containers) for one in tree]
    else:
        return tree
    if new:
        containers.append(new)
    return new
