"""What the hub says of a model, key by key."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from tests.hub.content import Content, is_large
from tests.hub.repository import Repository


def siblings(repository: Repository, /) -> list[dict[str, str]]:
    return [{"rfilename": name} for name in repository.files]


def base_models(repository: Repository, /) -> dict[str, Any] | None:
    if repository.base_models is None:
        return None
    relation, ids = repository.base_models
    return {"relation": relation, "models": [{"id": each} for each in ids]}


def card(repository: Repository, /) -> dict[str, Any] | None:
    license = repository.license  # noqa: A001
    given = {} if license is None else {"license": license}
    return given | dict(repository.card) or None


def parameters(repository: Repository, /) -> dict[str, Any] | None:
    count = repository.num_parameters
    if count is None:
        return None
    return {"parameters": {"BF16": count}, "total": count}


def used_storage(repository: Repository, /) -> int:
    return sum(each.size for each in repository.contents.values())


def absent(_: Repository, /) -> None:
    return None


FIELDS: Mapping[str, Callable[[Repository], Any]] = MappingProxyType(
    {
        "author": lambda each: each.author,
        "baseModels": base_models,
        "cardData": card,
        "childrenModelCount": absent,
        "config": lambda each: each.config,
        "createdAt": lambda each: each.created_at,
        "disabled": lambda each: each.disabled,
        "downloads": lambda each: each.downloads,
        "downloadsAllTime": lambda each: each.downloads,
        "evalResults": absent,
        "gated": lambda each: each.gated,
        "gguf": absent,
        "inference": absent,
        "inferenceProviderMapping": absent,
        "lastModified": lambda each: each.last_modified,
        "library_name": lambda each: each.library_name,
        "likes": lambda each: each.likes,
        "mask_token": absent,
        "model-index": absent,
        "pipeline_tag": lambda each: each.pipeline_tag,
        "private": lambda each: each.private,
        "resourceGroup": absent,
        "safetensors": parameters,
        "sha": lambda each: each.sha,
        "siblings": siblings,
        "spaces": absent,
        "tags": lambda each: each.all_tags,
        "transformersInfo": absent,
        "trendingScore": lambda each: each.trending_score,
        "usedStorage": used_storage,
        "widgetData": absent,
    }
)

LISTED = (
    "likes",
    "private",
    "downloads",
    "tags",
    "pipeline_tag",
    "library_name",
    "createdAt",
)
FULL = (
    *LISTED,
    "author",
    "sha",
    "lastModified",
    "gated",
    "disabled",
    "siblings",
)
DETAILED = (*FULL, "config", "cardData", "safetensors", "usedStorage")


def describe(repository: Repository, keys: Iterable[str], /) -> dict[str, Any]:
    """Return the id and those of the keys that have a value."""
    said = {"id": repository.id}
    values = ((key, FIELDS[key](repository)) for key in keys)
    return said | {key: each for key, each in values if each is not None}


def blob(name: str, content: Content, /) -> dict[str, Any]:
    """Return a sibling with its size and its names in git and LFS."""
    said = {"rfilename": name, "size": content.size}
    if not is_large(name, content):
        return said | {"blobId": content.blob}
    lfs = {
        "sha256": content.sha256,
        "size": content.size,
        "pointerSize": len(content.pointer),
    }
    return said | {"blobId": Content(content.pointer).blob, "lfs": lfs}
