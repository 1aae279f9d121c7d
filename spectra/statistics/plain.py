"""Numbers as JSON and as words hold them: no NaN, reasons beside."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["by_level", "number", "numbers", "percent", "with_reason"]


def number(value: float | None, /) -> float | None:
    """Return a plain float, or None for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(value)


def numbers(values: Iterable[float], /) -> list[float | None]:
    """Return plain floats, None for what is not finite."""
    return [number(value) for value in values]


def by_level(
    levels: Sequence[int], values: Iterable[float], /
) -> dict[str, float | None]:
    """Return values by level of k, None for what is not finite."""
    return {
        str(k): number(value) for k, value in zip(levels, values, strict=True)
    }


def with_reason(key: str, value: Any, reason: str, /) -> dict[str, Any]:
    """Return the entry, and its reason beside it where it lacks something."""
    entry = {key: value}
    lacks = value is None or (
        isinstance(value, dict) and None in value.values()
    )
    return {**entry, f"{key}_reason": reason} if lacks else entry


def percent(share: float, /) -> str:
    """Return a share in per cent, with as many digits as mean something.

    Examples
    --------
    >>> [percent(share) for share in (0.4321, 0.0661, 0.0004, -0.002)]
    ['43 %', '6.6 %', '0.04 %', '-0.2 %']
    """
    value = 100 * share
    if abs(value) >= 10:
        return f"{value:.0f} %"
    return f"{value:.1g} %" if abs(value) < 1 else f"{value:.1f} %"
