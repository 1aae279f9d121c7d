"""What results have in common: a document, and a sentence about it."""

import json
from html import escape
from typing import Any

from spectra.core.text import printable

__all__ = ["Documented"]


class Documented:
    """A result whose `document` is what its command prints as JSON."""

    __slots__ = ()

    document: dict[str, Any]

    def __repr__(self) -> str:
        """Return one line."""
        return f"{type(self).__name__}({printable(self.text, 1000)})"

    def _repr_html_(self) -> str:
        return f"<p>{escape(printable(self.text, 1000))}</p>"

    @property
    def text(self) -> str:
        """Return what was found, a sentence."""
        return str(self.document["text"])

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Return one dictionary a layer, as in the document."""
        return list(self.document["layers"])

    def to_json(self) -> str:
        """Return the document as text."""
        return json.dumps(self.document, sort_keys=True, allow_nan=False)
