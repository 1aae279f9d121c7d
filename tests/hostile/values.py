"""Sound files of odd names, and of weights that no header tells of."""

import unicodedata

import numpy as np
from safetensors.numpy import save_file

from tests.hostile.case import Case, sound, weights

__all__ = ["values"]

_NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=cmd|'/c calc'!A1",
    "+1",
    "@SUM(A1)",
    "../../../etc/passwd",
    "..",
    "a/./b",
    "\u202etxt.exe",
    "\u2028",
    unicodedata.normalize("NFC", "\u00e9"),
    unicodedata.normalize("NFD", "\u00e9"),
    "I\u0130\u0131i",
    "\U0001f600",
    "n" * 1000,
    "{{ 7 * 7 }}",
    "%s%n",
    "https://example.invalid/",
)


def values():
    """Return the cases."""
    return {
        **{
            f"A11-{n}-{i}": Case(
                lambda folder, name=name: weights(
                    folder / "model.safetensors", name
                ),
                layers=1,
            )
            for n, name in enumerate(_NAMES)
            for i in range(2)
        },
        "A11-all": Case(
            lambda folder: weights(folder / "model.safetensors", *_NAMES),
            layers=len(_NAMES),
        ),
        "A24-nan": _filled(np.nan, "NONFINITE"),
        "A24-infinity": _filled(np.inf, "NONFINITE"),
        "D8-zeros": _filled(0.0),
        "D8-ones": _filled(1.0),
        "D5-large": _filled(3e38, "OVERFLOW"),
        "D5-denormal": _filled(1e-45, "UNDERFLOW"),
        "A26-first": sound(_same),
        "A26-second": sound(_same),
    }


def _filled(value, unfit=""):
    def write(folder):
        W = np.full((6, 5), value, np.float32)
        save_file({"w": W}, folder / "model.safetensors")

    return Case(write, layers=1, unfit=unfit)


def _same(folder):
    W = np.arange(30, dtype=np.float32).reshape(6, 5)
    save_file({"w": W}, folder / "model.safetensors")
