"""What lies between two checkpoints, as a user holds it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.api.documented import Documented
from spectra.core.events import Observer
from spectra.core.text import printable
from spectra.statistics.plain import percent
from spectra.study.difference import difference

__all__ = ["Difference", "diff"]


@dataclass(frozen=True, slots=True, repr=False)
class Difference(Documented):
    """How far each tensor of one checkpoint is from another's.

    Attributes
    ----------
    document
        What ``spectra diff --json`` prints.
    """

    document: dict[str, Any]

    @property
    def text(self) -> str:
        """Return what was found, a sentence."""
        found = self.document
        move = found["relative_move"]
        return (
            f"{found['n_moved']} of {found['n_common']} common tensors moved"
            + ("" if move is None else f", by {percent(move)} together")
            + f"; {len(found['only_in_a'])} only in"
            f" {printable(found['a'])}, {len(found['only_in_b'])} only in"
            f" {printable(found['b'])}"
        )


def diff(
    a: str | Path,
    b: str | Path,
    /,
    *,
    memory: str | int = "4GiB",
    on_event: Observer | None = None,
) -> Difference:
    """Compare two checkpoints, tensor by tensor; reads their weights.

    Parameters
    ----------
    a, b
        A folder, a ``.safetensors`` file or ``org/name@revision`` each.
    memory
        What the process may take, as ``"4GiB"``.
    on_event
        Told after each tensor.

    Raises
    ------
    UsageError
        When one of them is no single checkpoint.
    BudgetError
        When a layer does not fit the memory.
    """
    return Difference(
        difference(str(a), str(b), memory=memory, on_event=on_event)
    )
