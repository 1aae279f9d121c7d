"""Write this folder's pages from the code: ``python docs/reference/make.py``.

A test compares them with what the code says.
"""

import inspect
import re
from pathlib import Path
from typing import Any

import spectra
from spectra.cli.commands import COMMANDS, command_of

HERE = Path(__file__).parent

MODULES = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Z])")
"""Of annotations: `Path` says as much as `pathlib.Path`."""

BARE = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL)

COMMANDS_HEAD = """\
# The commands

What `spectra COMMAND --help` prints.

{names}

Every command: `--json` prints one document on stdout and nothing else, and
`--quiet` nothing but that; exit codes are 0, or
[those of the codes](../codes.md). `spectra --install-completion` lets bash,
zsh or fish complete commands, options and values.
"""

PYTHON_HEAD = """\
# In Python

`import spectra`; names and defaults are those of the commands, and settings
are the fields of [a study](../study.md).

{names}
"""


def anchored(names: Any) -> str:
    """Return links to the sections of this page, a few a line."""
    links = [f"[{name}](#{heading(name).lower().replace(' ', '-')})"
             for name in names]  # fmt: skip
    return " ·\n".join(
        " · ".join(links[i : i + 4]) for i in range(0, len(links), 4)
    )


def heading(name: str) -> str:
    """Return a section's title; `alignment` and `Alignment` are two."""
    return f"class {name}" if name[0].isupper() else name


def commands() -> str:
    """Return the page of the command line."""
    parts = [COMMANDS_HEAD.format(names=anchored(COMMANDS))]
    for name in COMMANDS:
        command = command_of(name)
        context = command.make_context(
            f"spectra {name}", [], resilient_parsing=True,
            terminal_width=80, max_content_width=80,
        )  # fmt: skip
        text = "\n".join(
            line.rstrip() for line in command.get_help(context).splitlines()
        )
        parts.append(f"## {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def signature(name: str, value: Any) -> str:
    """Return a call as it is written, a parameter a line."""
    lines, kind = [], None
    for each in inspect.signature(value).parameters.values():
        if kind is each.POSITIONAL_ONLY and each.kind is not kind:
            lines.append("/")
        if each.kind is each.KEYWORD_ONLY and kind not in BARE:
            lines.append("*")
        kind = each.kind
        lines.append(MODULES.sub("", str(each)))
    if kind is inspect.Parameter.POSITIONAL_ONLY:
        lines.append("/")
    inner = "".join(f"    {line},\n" for line in lines)
    return f"{name}(\n{inner})"


def described(name: str, value: Any) -> str:
    """Return the section of a public name."""
    text = inspect.getdoc(value) or ""
    if inspect.isclass(value):
        members = [
            f"- `{key}`: {first_line(each)}"
            for key, each in inspect.getmembers(value)
            if not key.startswith("_") and is_described(each)
        ]
        body = f"```text\n{text}\n```\n"
        return f"## {heading(name)}\n\n{body}" + (
            "\n" + "\n".join(members) + "\n" if members else ""
        )
    call = signature(f"spectra.{name}", value)
    return f"## {name}\n\n```text\n{call}\n\n{text}\n```\n"


def is_described(value: Any) -> bool:
    """Return whether a member of a class is for its users to call or read."""
    return isinstance(value, property) or inspect.isroutine(value)


def first_line(value: Any) -> str:
    """Return what a docstring begins with."""
    return (inspect.getdoc(value) or "").partition("\n")[0]


def python() -> str:
    """Return the page of the library."""
    names = [name for name in spectra.__all__ if not name.startswith("_")]
    names.sort(key=lambda name: (name[0].isupper(), name))
    sections = [described(name, getattr(spectra, name)) for name in names]
    return "\n".join([PYTHON_HEAD.format(names=anchored(names)), *sections])


PAGES = {"commands.md": commands, "python.md": python}


if __name__ == "__main__":
    for page, made in PAGES.items():
        (HERE / page).write_text(made(), encoding="utf-8")
