"""How deep in the network each layer lies, and what type of module it is."""

import re

from spectra.report.document import Report, at
from spectra.report.rows import Row

__all__ = ["depth_rows", "module_of"]

# Longer numbers count no layers.
_NUMBER = re.compile(r"(?<![^./])[0-9]{1,6}(?![^./])")


def module_of(name: str, /) -> tuple[str, int | None]:
    """Return a layer's type of module and its number, None without one.

    The number is the first that is a whole word of the name: what follows,
    such as the number of an expert, is of the type. The type is a glob that
    ``--layers`` takes.

    Examples
    --------
    >>> module_of("encoder.layer.3.attention.self.query")
    ('encoder.layer.*.attention.self.query', 3)
    >>> module_of("lm_head")
    ('lm_head', None)
    """
    found = _NUMBER.search(name)
    if found is None:
        return name, None
    return f"{name[: found.start()]}*{name[found.end() :]}", int(found[0])


def depth_rows(report: Report, /) -> list[Row]:
    """Return one row a layer, in the order of the report.

    ``excess`` is the layer's effect, ``low`` and ``high`` its interval: what
    `k` directions of the other groups hold of a held-out one, less what
    random directions do. Each is None where nothing could be held out.
    """
    rows = []
    for layer in report["layers"]:
        module, index = module_of(layer["name"])
        effect = at(layer, "model_axis", "held_out", "effect")
        rows.append(
            {
                "layer": layer["name"],
                "architecture": layer.get("architecture"),
                "index": index,
                "module": module,
                "k": at(effect, "k"),
                "excess": at(effect, "value"),
                "low": at(effect, "low"),
                "high": at(effect, "high"),
                "verdict": layer["verdict"],
            }
        )
    return rows
