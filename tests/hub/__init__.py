"""A hub on the loopback that speaks to the hub's own client.

Two origins, as on the real one: the hub, and a CDN for the large files. All
that can go wrong between them and a client can be switched on.
"""

from tests.hub.faults import KINDS, Fault
from tests.hub.hub import Hub
from tests.hub.messages import Request
from tests.hub.repository import Repository
from tests.hub.stranger import Stranger

__all__ = ["KINDS", "Fault", "Hub", "Repository", "Request", "Stranger"]
