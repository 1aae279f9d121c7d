"""Where a redirect may lead: https, few hosts, no private address."""

import ipaddress

from spectra.hub.endpoint import Endpoint
from spectra.hub.failures import HubError
from spectra.hub.http import httpx
from spectra.hub.redact import scrub
from spectra.hub.urls import is_loopback, origin_of, parse_url

__all__ = ["check_address", "next_hop", "refused"]


def next_hop(
    endpoint: Endpoint, current: httpx.URL, location: str, /
) -> httpx.URL:
    """Return the address a redirect leads to.

    Raises
    ------
    HubError
        E_REDIRECT where nobody should follow it.
    """
    try:
        target = parse_url(str(current.join(location)))
    except (ValueError, httpx.InvalidURL) as error:
        raise refused(location, str(error)) from None
    origin = origin_of(target)
    if origin == endpoint.origin:
        return target
    if endpoint.is_loopback and is_loopback(origin.host):
        return target
    if origin.scheme != "https":
        raise refused(location, "not https")
    if not endpoint.is_allowed(origin.host):
        raise refused(
            location,
            "not a host of this hub; if it is one, name it in"
            " SPECTRA_HUB_HOSTS",
        )
    return target


def check_address(endpoint: Endpoint, host: str, address: str, /) -> None:
    """Refuse a private address behind a name that only its ending vouches for.

    Parameters
    ----------
    endpoint
        The hub's: its own host, and those the user named, may be anywhere, and
        so may all hosts where the hub itself is on the loopback.
    host, address
        What a connection was asked for, and the IP address that it reached.

    Raises
    ------
    HubError
        E_REDIRECT.
    """
    if endpoint.is_loopback or endpoint.is_named(host):
        return
    reached = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(reached, "ipv4_mapped", None)
    if not (mapped or reached).is_global:
        raise refused(host, f"it has the private address {reached}")


def refused(location: str, why: str, /) -> HubError:
    """Return the error of a redirect that is not followed."""
    return HubError(
        "E_REDIRECT", f"the hub redirects to {scrub(location)}: {why}"
    )
