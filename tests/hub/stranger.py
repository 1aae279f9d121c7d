"""An origin that nobody should ask, or only without a token."""

from collections.abc import Mapping

from tests.hub.content import body_of
from tests.hub.faults import Faults
from tests.hub.loopback import Loopback
from tests.hub.messages import JSON, Answer, Asked


class Stranger(Loopback):
    """Answers everything with one body, and logs all that it receives."""

    def __init__(
        self,
        body: bytes = b"[]",
        /,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("stranger", Faults())
        sent = {"Content-Type": JSON} if headers is None else headers
        self.always = Answer(status, body_of(body), tuple(sent.items()))

    def answer(self, _: Asked, /) -> Answer:
        return self.always
