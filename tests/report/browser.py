"""Chromium without a window, spoken to over its debugging pipe."""

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
    "--remote-debugging-pipe",
)
PATIENCE = 60.0
"""Seconds; a browser that starts on a busy machine may take twenty."""

REDIRECT = (
    "import os, sys; reads, writes, *program = sys.argv[1:];"
    "os.dup2(int(reads), 3); os.dup2(int(writes), 4);"
    "os.execv(program[0], program)"
)
"""The browser reads commands from descriptor 3 and answers on 4."""


class Browser:
    """One page of one browser, and every event it has sent."""

    def __init__(self, program: str, profile: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        self._serial, self._unread = 0, b""
        reads, self._to = pipe_above(9)
        self._from, writes = pipe_above(9)
        command = [program, *FLAGS, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                REDIRECT,
                str(reads),
                str(writes),
                *command,
            ],
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")
        self.session = self.call(
            "Target.attachToTarget",
            targetId=target["targetId"],
            flatten=True,
        )["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.session = None
            self.call("Browser.close")
        finally:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self._serial += 1
        message = {"id": self._serial, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._serial:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])
            self.events.append(answer)

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._unread:
            left = deadline - time.monotonic()
            assert select.select([self._from], [], [], max(left, 0))[0], (
                "the browser does not answer"
            )
            self._unread += os.read(self._from, 1 << 16)
        line, self._unread = self._unread.split(b"\0", 1)
        return dict(json.loads(line))

    def open(self, path: Path, *, fragment: str = "") -> None:
        """Load a page afresh and wait for its script to have finished."""
        self.call("Page.navigate", url="about:blank")
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri() + fragment)
        self.until("document.documentElement?.dataset.drawn === 'true'")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(condition):
            assert time.monotonic() < deadline, f"never: {condition}"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press and release a key where the focus is."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def point(self, x: float, y: float) -> None:
        """Move the mouse."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def events_of(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of every event of one kind."""
        return [
            event["params"]
            for event in self.events
            if event.get("method") == method
        ]


def pipe_above(least: int) -> tuple[int, int]:
    """Return a pipe whose ends are out of the way of 3 and 4."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, least + 1))
        os.close(end)
    return ends[0], ends[1]
