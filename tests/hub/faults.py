"""What goes wrong, when, and how often."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from threading import Lock
from typing import Any, Literal

from tests.hub.hostile import HOSTILE
from tests.hub.kinds import Kind
from tests.hub.messages import Answer, Asked
from tests.hub.transient import TRANSIENT

KINDS: dict[str, Kind] = TRANSIENT | HOSTILE


@dataclass(frozen=True, slots=True)
class Fault:
    """A change to the answers that it fits.

    Attributes
    ----------
    kind
        A key of `KINDS`.
    times
        How many answers it changes; None: all. The sticky kinds last.
    where
        The server whose answers are meant.
    path
        A pattern for the path of the request. All paths of a file, those at
        the CDN too, end in its name.
    after
        How many answers that it would fit are left alone first. A kind that
        needs a body, a range or JSON does not count the answers without.
    value
        What the kind asks for; None: its own default.
    """

    kind: str
    times: int | None = 1
    where: Literal["hub", "cdn", "any"] = "any"
    path: str = "*"
    after: int = 0
    value: Any = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind} is none of {sorted(KINDS)}")

    def fits(self, place: str, asked: Asked, answer: Answer, /) -> bool:
        return (
            self.where in {place, "any"}
            and fnmatchcase(asked.path, self.path)
            and KINDS[self.kind].fits(answer, asked)
        )

    def change(self, answer: Answer, asked: Asked, /) -> Answer:
        kind = KINDS[self.kind]
        value = kind.value if self.value is None else self.value
        return kind.change(answer, asked, value)


@dataclass(slots=True)
class Armed:
    """A fault, and the number of answers that it fitted so far."""

    fault: Fault
    seen: int = 0

    def due(self) -> bool:
        """Count one more answer and return whether it is to be changed."""
        turn = self.seen - self.fault.after
        self.seen += 1
        times = self.fault.times
        endless = times is None or KINDS[self.fault.kind].sticky
        return turn >= 0 and (endless or turn < (times or 0))


class Faults:
    """The faults of the servers that share it, applied in their order."""

    def __init__(self) -> None:
        self.armed: list[Armed] = []
        self.lock = Lock()

    def __iter__(self) -> Iterator[Fault]:
        return iter([each.fault for each in self.armed])

    def append(self, *faults: Fault) -> None:
        with self.lock:
            self.armed += map(Armed, faults)

    def remove(self, fault: Fault, /) -> None:
        with self.lock:
            self.armed.remove(
                next(each for each in self.armed if each.fault is fault)
            )

    def clear(self) -> None:
        with self.lock:
            self.armed.clear()

    def apply(
        self, place: str, asked: Asked, answer: Answer, /
    ) -> tuple[Answer, tuple[str, ...]]:
        """Return the answer as it goes out, and the kinds that changed it."""
        kinds = []
        for each in tuple(self.armed):
            if each.fault.fits(place, asked, answer) and self.due(each):
                answer = each.fault.change(answer, asked)
                kinds.append(each.fault.kind)
        return answer, tuple(kinds)

    def due(self, armed: Armed, /) -> bool:
        with self.lock:
            return armed.due()
