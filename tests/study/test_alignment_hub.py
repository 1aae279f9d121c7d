"""Embeddings of checkpoints on a hub, beside those of a folder."""

import pytest

import spectra
from spectra.core.errors import UsageError
from tests.hub import Repository
from tests.study.test_alignment import DRAWS, vocabularies
from tests.study.test_hub import serve, surroundings

__all__ = ["surroundings", "vocabularies"]


def test_embeddings_on_a_hub(vocabularies, monkeypatch):
    paths, _ = vocabularies
    local = spectra.alignment(*paths, draws=DRAWS)
    shelf = [
        Repository(f"owner/{path.name}", {
            file.name: file.read_bytes() for file in path.iterdir()
        })
        for path in paths
    ]  # fmt: skip
    names = [each.id for each in shelf]
    with serve(shelf, monkeypatch):
        found = spectra.alignment(*names, draws=DRAWS)
        mixed = spectra.alignment(paths[0], names[1], draws=DRAWS)
        with pytest.raises(UsageError, match="REPO_GONE") as caught:
            spectra.alignment(paths[0], "owner/none", draws=DRAWS)
    assert caught.value.code == "E_FEATURES"
    assert [model["id"] for model in found.document["models"]] == names
    assert [model["id"] for model in mixed.document["models"]] == [
        "a", "owner/b",
    ]  # fmt: skip
    for key in ("value", "null_mean", "p", "n_items", "coverage"):
        wanted = [row[key] for row in local.pairs]
        assert [row[key] for row in found.pairs] == wanted
        assert [row[key] for row in mixed.pairs] == wanted
