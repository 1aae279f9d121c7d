"""How much of a foreign file is read before it is refused."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Caps on what a checkpoint may ask of the reader.

    Attributes
    ----------
    header_bytes
        Of one safetensors header. Python's json takes 9 bytes of memory a
        byte, so that a header of the format's own cap of 100 MB takes 0.9 GB;
        25 MB is the cap of huggingface_hub too.
    tensors
        In one file.
    name_bytes
        Of a tensor's name in UTF-8.
    depth
        Of nested brackets in any JSON.
    ndim
        Of a tensor that is analysed.
    shards
        Of one checkpoint.
    index_bytes, config_bytes, card_bytes
        Of ``*.index.json``, of ``config.json`` and ``adapter_config.json``;
        of ``README.md`` the rest is not read.
    tensor_bytes
        Of one tensor in its file.
    min_side
        Largest min(out, in) of a full matrix.
    """

    header_bytes: int = 25_000_000
    tensors: int = 250_000
    name_bytes: int = 1024
    depth: int = 32
    ndim: int = 8
    shards: int = 2048
    index_bytes: int = 64 * 2**20
    config_bytes: int = 2**20
    card_bytes: int = 64 * 2**10
    tensor_bytes: int = 16 * 2**30
    min_side: int = 32_768
