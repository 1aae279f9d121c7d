"""Names of tensors to names of layers, checkpoint by checkpoint.

A layer's name is its module's name in the bare model: what a training
framework, PEFT or a head's class put around it is taken away, and ``.weight``
at the end.
"""

import re
from collections.abc import Iterable, Mapping

from spectra.weights.families import bare_name

__all__ = ["layer_names"]

_ENDING = re.compile(r"(?<=.)[./](weight|kernel)$")
# Around what PEFT trained in full.
_SAVED = re.compile(r"(?<=.)\.modules_to_save(\.default)?(?=\.)")


def layer_names(names: Iterable[str], /) -> Mapping[str, str]:
    """Return the layer's name of each tensor's name.

    Names are taken back step by step where two tensors would come to one:
    first the prefixes stay on, then the endings.

    Parameters
    ----------
    names
        Of the tensors of one checkpoint that are layers.

    Returns
    -------
    Mapping
        From each name to a name of its own.
    """
    modules = {name: _module(name) for name in names}
    bare = {name: bare_name(module) for name, module in modules.items()}
    for result in (bare, modules):
        if len(set(result.values())) == len(result):
            return result
    return {name: name for name in modules}


def _module(name: str) -> str:
    return _ENDING.sub("", _SAVED.sub("", name))
