"""Pages of one file each, which ask the network for nothing.

The one place of the project where text is declared safe for HTML: our own
styles, our own scripts, and JSON in which no markup can stand.
"""

import base64
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spectra.core.text import printable
from spectra.report.document import script_json
from spectra.report.wording import number

__all__ = ["filled", "leaves", "rendered"]


def _harmless(value: Any) -> Any:
    """Return what a template may print: control characters made visible."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return printable(value, limit=sys.maxsize)


_TEMPLATES = Environment(
    loader=PackageLoader("spectra.report"),
    autoescape=True,
    finalize=_harmless,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters["number"] = number
_TEMPLATES.filters["brief"] = lambda text: printable(str(text), limit=72)


def filled(template: str, /, **context: Any) -> str:
    """Return a template with what it names filled in."""
    return _TEMPLATES.get_template(template).render(context)


def rendered(
    template: str,
    /,
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    drawn: Any,
    **context: Any,
) -> str:
    """Return a whole page, with its style, script and data inside.

    Parameters
    ----------
    template
        Its file's name.
    styles, scripts
        Names of files beside it, in their order.
    drawn
        What the script draws from, as JSON.
    **context
        What else the template names.
    """
    style, script = _together(styles), _together(scripts)
    return filled(
        template,
        style=Markup(style),  # noqa: S704  # files of this package
        script=Markup(script),  # noqa: S704  # files of this package
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        # Safe: in this text `<`, `>` and `&` are escapes.
        drawn=Markup(script_json(drawn)),  # noqa: S704
        **context,
    )


def leaves(value: Any, name: str = "", /) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the text of every leaf of a JSON value."""
    if not isinstance(value, Mapping):
        shown = (
            ", ".join(map(str, value)) if isinstance(value, list) else value
        )
        yield name, "–" if shown is None else str(shown)
        return
    for key, inner in sorted(value.items()):
        yield from leaves(inner, f"{name}.{key}" if name else str(key))


def _together(names: Sequence[str]) -> str:
    folder = resources.files("spectra.report") / "templates"
    return "\n".join((folder / name).read_text("utf-8") for name in names)


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
