"""Foreign text for messages and logs: one line, and no secret in it."""

import logging
import re

from spectra.core.text import printable

__all__ = ["hush", "scrub"]

_SECRETS = (
    (re.compile(r"(?<=://)[^/\s@]*@"), ""),
    (re.compile(r"(https?://[^\s?'\"]*)\?[^\s'\"]*"), r"\1?..."),
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s'\",]+"), r"\1 ..."),
    (
        re.compile(
            r"(?i)\b(x-amz-[\w-]+|signature|key-pair-id|policy|token)"
            r"=[^&\s'\"]+"
        ),
        r"\1=...",
    ),
    (re.compile(r"\bhf_\w{3,}"), "hf_..."),
)


def scrub(text: str, /, limit: int = 200) -> str:
    """Return `text` on one line, cut, without tokens and signed queries.

    Examples
    --------
    >>> scrub("GET https://cdn.example/a?Signature=abc Bearer hf_secret")
    'GET https://cdn.example/a?... Bearer ...'
    """
    return printable(_without_secrets(text), limit)


def hush(*loggers: str) -> None:
    """Scrub what the HTTP library logs: it writes addresses out in full."""
    for name in loggers:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _Scrubber) for each in logger.filters):
            logger.addFilter(_Scrubber())


class _Scrubber(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _without_secrets(record.getMessage()), ()
        return True


def _without_secrets(text: str) -> str:
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text
