"""A model repository: its files, and what a listing says of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tests.hub.content import Content


@dataclass(frozen=True)
class Repository:
    """Files at their one commit, and the tags that queries find them by.

    Attributes
    ----------
    base_models
        The relation, such as ``"adapter"``, and the ids of the bases.
    refs
        More names of revisions. ``""`` stands for the one commit; any other
        value is a commit of its own with the same files.
    moved_to
        The id under which the repository is found now.
    """

    id: str
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    gated: Literal[False, "auto", "manual"] = False
    private: bool = False
    disabled: bool = False
    license: str | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    base_models: tuple[str, tuple[str, ...]] | None = None
    library_name: str | None = None
    pipeline_tag: str | None = None
    num_parameters: int | None = None
    created_at: str = "2024-01-01T00:00:00.000Z"
    last_modified: str = "2024-01-01T00:00:00.000Z"
    downloads: int = 0
    likes: int = 0
    trending_score: int = 0
    refs: Mapping[str, str] = field(default_factory=dict)
    moved_to: str | None = None

    @property
    def author(self) -> str:
        return self.id.partition("/")[0]

    @cached_property
    def contents(self) -> Mapping[str, Content]:
        return {name: Content(source) for name, source in self.files.items()}

    @cached_property
    def sha(self) -> str:
        """The commit: 40 hexadecimal digits that change with any file."""
        files = {name: each.sha256 for name, each in self.contents.items()}
        text = json.dumps([self.id, files])
        return hashlib.sha256(text.encode()).hexdigest()[:40]

    @cached_property
    def all_tags(self) -> tuple[str, ...]:
        """The tags, with those that a hub makes of the other fields."""
        relation, bases = self.base_models or ("", ())
        made = (
            self.library_name,
            self.pipeline_tag,
            self.license and f"license:{self.license}",
            *(f"base_model:{base}" for base in bases),
            *(f"base_model:{relation}:{base}" for base in bases),
        )
        return tuple(dict.fromkeys((*self.tags, *filter(None, made))))

    @cached_property
    def tag_set(self) -> frozenset[str]:
        return frozenset(self.all_tags)

    def commit(self, revision: str, /) -> str | None:
        """Return the commit of a name, or None where there is none."""
        refs = {name: to or self.sha for name, to in self.refs.items()}
        known = {"main": self.sha, self.sha: self.sha} | refs
        return (known | {each: each for each in refs.values()}).get(revision)
