"""What a unit of a fit is known by: all that its bits depend on."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spectra.subspaces.layer import LayerTask

__all__ = ["NOT_PART_OF_THE_RESULT", "keys_of"]

NOT_PART_OF_THE_RESULT = ("max_stream", "memory", "scheduler", "workers")
"""Settings that change how long a fit takes, but not a bit of its result."""


def keys_of(
    tasks: Sequence[LayerTask],
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
    /,
) -> Iterator[str]:
    """Yield the key of each layer's unit, a SHA-256 as hex.

    Parameters
    ----------
    tasks
        With the files as they were when they were scanned.
    settings
        Of the fit; which other layers are fitted is left out of account.
    environment
        Versions, device and BLAS: another machine's units are not mixed with
        ours, since their last bits may differ.
    """
    chosen = {k: v for k, v in settings.items() if k != "layers"}
    common = json.dumps([chosen, dict(environment)], sort_keys=True).encode()
    for task in tasks:
        files = {ref.file: task.files[ref.file] for ref in task.refs}
        rest = (
            task.key, task.architecture, task.holders, task.base, task.beside,
            sorted(files.values()),
        )  # fmt: skip
        # Of values that are their fields: equal texts are equal values.
        text = repr(rest).encode("utf-8", "surrogatepass")
        yield hashlib.sha256(common + b"\0" + text).hexdigest()
