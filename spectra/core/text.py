"""Foreign text: made safe to show on one line, and put in order."""

import re
import unicodedata

__all__ = ["natural", "printable"]


def printable(text: str, /, limit: int = 200) -> str:
    r"""Return `text` with nothing in it that could steer a terminal.

    Control, format (bidi), surrogate and unassigned characters become escapes;
    longer text is cut in the middle.

    Examples
    --------
    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    shown = "".join(
        character
        if character == " " or unicodedata.category(character)[0] not in "CZ"
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
    if len(shown) <= limit:
        return shown
    half = (limit - 3) // 2
    return f"{shown[:half]}...{shown[-half:]}"


def natural(text: str, /) -> tuple[tuple[int, str], ...]:
    """Return a sort key by which ``layer.2`` comes before ``layer.10``.

    Examples
    --------
    >>> sorted(["layer.10", "layer.2"], key=natural)
    ['layer.2', 'layer.10']
    """
    return tuple(
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", text)
        if part
    )
