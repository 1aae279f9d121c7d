"""What the files of a compressed population are called, and their hashes."""

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = [
    "BASIS",
    "COEFFICIENTS",
    "DOCUMENT",
    "SCHEMA",
    "digest_of",
    "sha256_of",
]

SCHEMA = "spectra-compressed/1"

BASIS = "basis.safetensors"
COEFFICIENTS = "coefficients.safetensors"
DOCUMENT = "compressed.json"


def digest_of(document: dict[str, Any], /) -> str:
    """Return the hash of all that a document says but its own hash."""
    said = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(said, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(path: Path, /) -> str:
    """Return the hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
