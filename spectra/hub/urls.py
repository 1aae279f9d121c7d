"""Addresses: origins, loopback, and the one parser that all code uses."""

import ipaddress
from typing import NamedTuple

from spectra.hub.http import httpx

__all__ = ["Origin", "is_loopback", "origin_of", "parse_url"]

_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Who answers: a token is bound to all three."""

    scheme: str
    host: str
    port: int


def parse_url(text: str, /) -> httpx.URL:
    """Return an absolute http address, taken apart as it will be requested.

    Raises
    ------
    ValueError
        Where it is none, holds a user's name, or a host no resolver takes.
    """
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ValueError("not a URL") from error
    if url.scheme not in _PORTS:
        raise ValueError(f"{url.scheme or 'no scheme'}: where http(s) must be")
    if url.userinfo:
        raise ValueError("a user name before the host")
    labels = url.raw_host.split(b".")
    if not url.host or len(url.raw_host) > 253 or max(map(len, labels)) > 63:
        raise ValueError("not a host name")
    if not 0 < origin_of(url).port < 2**16:
        raise ValueError("not a port")
    return url


def origin_of(url: httpx.URL, /) -> Origin:
    """Return scheme, host and port, the port also where it is left out."""
    port = _PORTS[url.scheme] if url.port is None else url.port
    return Origin(url.scheme, url.raw_host.decode("ascii").lower(), port)


def is_loopback(host: str, /) -> bool:
    """Return whether a host is written as one of this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
