"""The HTTP library, under the one name that its changes of name leave alone.

huggingface_hub 1.x uses httpx, 2.x its successor httpx2; the interface is the
same, and so is the way it is found: huggingface_hub does not declare the name
as its own, hence the mark for mypy.
"""

from huggingface_hub.utils import (  # type: ignore[attr-defined]
    httpx,
    parse_ratelimit_headers,
)

__all__ = ["httpx", "parse_ratelimit_headers"]
