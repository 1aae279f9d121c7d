"""What lies beside full weights and says how they are used."""

from collections.abc import Iterator, Mapping
from typing import Any

from spectra.core.errors import Quarantine
from spectra.weights.bytes import Opener, read_bytes
from spectra.weights.folders import Folder
from spectra.weights.strict_json import JsonError, parse

__all__ = ["PAPERS", "code_named", "papers_of"]

PAPERS = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "feature_extractor_config.json",
    "generation_config.json",
    "image_processor_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Configurations and vocabularies that transformers reads as data."""

_MOST = 2**27
"""Bytes of a paper; the largest tokenizer.json there is has a third."""


def papers_of(
    folder: Folder, opener: Opener, /
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the papers in a checkpoint's folder.

    Raises
    ------
    Quarantine
        Where one cannot be read, or is much too long.
    """
    for name in PAPERS:
        path = folder.files.get(name)
        if path is None:
            continue
        with opener(path) as source:
            if source.nbytes > _MOST:
                raise Quarantine(
                    "SOURCE_UNREADABLE",
                    f"{name} of {source.nbytes} bytes is no configuration",
                )
            yield name, read_bytes(source, 0, source.nbytes)


def code_named(papers: Mapping[str, bytes], /) -> list[str]:
    """Return the papers that ask for code which is not copied."""
    return [
        name
        for name, content in papers.items()
        if name.endswith("config.json") and "auto_map" in _entries(content)
    ]


def _entries(content: bytes) -> Any:
    try:
        found = parse(content, depth=64)
    except JsonError:
        return {}
    return found if isinstance(found, dict) else {}
