"""The second origin: it gives large files to whoever has a signed link."""

import hashlib
import secrets
import time
from urllib.parse import quote, urlencode

from tests.hub.content import Content, body_of
from tests.hub.faults import Faults
from tests.hub.loopback import Loopback
from tests.hub.messages import Answer, Asked, File, Request
from tests.hub.ranges import serve

DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
HEADERS = (
    ("Content-Type", "application/octet-stream"),
    ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
    ("Cache-Control", "public, max-age=31536000"),
)


class Cdn(Loopback):
    """Serves the contents that it was asked to sign a link for."""

    def __init__(self, faults: Faults, traffic: list[Request], /) -> None:
        super().__init__("cdn", faults)
        self.traffic = traffic
        self.secret = secrets.token_hex()
        self.files: dict[str, File] = {}
        self.stored: dict[str, bytes] = {}

    def record(self, request: Request, /) -> None:
        super().record(request)
        self.traffic.append(request)

    def sign(
        self, repository: str, name: str, content: Content, seconds: float, /
    ) -> str:
        """Return a link to a file that is good for so long."""
        key = content.sha256
        path = f"/repos/{repository}/{key}/{name}"
        # As S3 has it for an upload in parts: no digest of the file.
        etag = f'"{key[32:]}-2"'
        self.files[path] = File(content, etag, HEADERS)
        expires = str(int(time.time() + seconds))
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Signature": self.signature(path, expires),
            "Expires": expires,
        }
        return f"{self.endpoint}{quote(path)}?{urlencode(query)}"

    def sign_upload(self, oid: str, seconds: float, /) -> str:
        """Return a link to put a content at that is good for so long."""
        path, expires = f"/uploads/{oid}", str(int(time.time() + seconds))
        query = {
            "X-Amz-Signature": self.signature(path, expires),
            "Expires": expires,
        }
        return f"{self.endpoint}{path}?{urlencode(query)}"

    def signature(self, path: str, expires: str, /) -> str:
        text = "\n".join((self.secret, path, expires))
        return hashlib.sha256(text.encode()).hexdigest()

    def answer(self, asked: Asked, /) -> Answer:
        path, expires = asked.path, asked.first("Expires")
        signed = self.signature(path, expires)
        is_put = asked.method == "PUT" and path.startswith("/uploads/")
        if (
            asked.first("X-Amz-Signature") != signed
            or int(expires) < time.time()
            or not (is_put or path in self.files)
        ):
            headers = (("Content-Type", "application/xml"),)
            return Answer(403, body_of(DENIED), headers)
        if is_put:
            self.stored[path.rpartition("/")[2]] = asked.body
            return Answer(200, headers=(("ETag", '"stored"'),))
        return serve(self.files[path], asked)
