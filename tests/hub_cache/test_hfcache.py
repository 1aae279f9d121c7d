"""The Hugging Face cache, with the layout that huggingface_hub writes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spectra.hub.hfcache import (
    cached_absence,
    cached_commit,
    cached_file,
    cached_files,
    cached_repositories,
    hugging_face_cache,
)
from spectra.weights.bytes import FileSource

REPO = "org/name"
COMMIT = "c" * 40
OTHER = "d" * 40
NAMES = ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Return the folder of a cache with one repository."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    add(folder / "models--org--name", "config.json", b"{}")
    add(folder / "models--org--name", "sub/model.safetensors", b"weights")
    ref(folder / "models--org--name", "main", COMMIT)
    ref(folder / "models--org--name", "refs/pr/3", COMMIT)
    return folder


@pytest.fixture
def repository(cache):
    return cache / "models--org--name"


def add(repository, path, content, commit=COMMIT):
    blob = repository / "blobs" / f"{abs(hash(content)):064x}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link = repository / "snapshots" / commit / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))


def ref(repository, name, content):
    path = repository / "refs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_files_are_found_and_can_be_opened(repository):
    path = cached_file(REPO, COMMIT, "sub/model.safetensors")
    assert path.parent == repository / "blobs"
    with FileSource(path) as file:
        assert file.nbytes == len(b"weights")
    assert cached_file(REPO, COMMIT, "absent") is None
    assert cached_file(REPO, COMMIT, "sub") is None
    assert cached_file(REPO, OTHER, "config.json") is None
    assert cached_file("org/absent", COMMIT, "config.json") is None


def test_huggingface_hub_finds_the_same(cache):
    from huggingface_hub import try_to_load_from_cache

    theirs = try_to_load_from_cache(
        REPO, "sub/model.safetensors", cache_dir=cache, revision="refs/pr/3"
    )
    commit = cached_commit(REPO, "refs/pr/3")
    ours = cached_file(REPO, commit, "sub/model.safetensors")
    assert Path(theirs).resolve() == ours


def test_commits_of_revisions():
    assert cached_commit(REPO, "main") == COMMIT
    assert cached_commit(REPO, "refs/pr/3") == COMMIT
    assert cached_commit(REPO, COMMIT) == COMMIT
    assert cached_commit(REPO, OTHER) is None
    assert cached_commit(REPO, "absent") is None
    assert cached_commit("org/absent", "main") is None


def test_a_commit_without_its_snapshot_is_not_known(repository):
    ref(repository, "new", OTHER)
    assert cached_commit(REPO, "new") is None


def test_all_files_of_a_snapshot(repository):
    add(repository, "a.txt", b"a", commit=OTHER)
    assert list(cached_files(REPO, COMMIT)) == [
        "config.json", "sub/model.safetensors"
    ]  # fmt: skip
    assert cached_files(REPO, OTHER)["a.txt"].read_bytes() == b"a"
    assert cached_files(REPO, "main") == {}
    assert cached_files("org/absent", COMMIT) == {}


def test_a_part_of_a_snapshot_is_what_it_is(repository):
    cached_file(REPO, COMMIT, "config.json").unlink()
    assert list(cached_files(REPO, COMMIT)) == ["sub/model.safetensors"]
    assert cached_file(REPO, COMMIT, "config.json") is None


def test_a_snapshot_without_links(repository):
    """Where there are no links, huggingface_hub keeps the file itself."""
    folder = repository / "snapshots" / OTHER / "sub"
    folder.mkdir(parents=True)
    (folder / "f").write_text("x")
    assert cached_file(REPO, OTHER, "sub/f") == folder / "f"
    assert list(cached_files(REPO, OTHER)) == ["sub/f"]


def test_a_cache_behind_links(cache, tmp_path, monkeypatch):
    """A user may have moved the cache, or one repository, to another disk."""
    moved = tmp_path / "disk2"
    (cache / "models--org--name").rename(moved)
    (cache / "models--org--name").symlink_to(moved)
    (tmp_path / "link").symlink_to(cache)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "link"))
    assert cached_commit(REPO, "main") == COMMIT
    assert len(cached_files(REPO, COMMIT)) == 2


def test_known_absences(repository):
    path = repository / ".no_exist" / COMMIT / "sub" / "index.json"
    path.parent.mkdir(parents=True)
    path.touch()
    assert cached_absence(REPO, COMMIT, "sub/index.json")
    assert not cached_absence(REPO, COMMIT, "config.json")
    assert not cached_absence(REPO, "main", "sub/index.json")
    assert not cached_absence(REPO, COMMIT, "../sub/index.json")


def test_repositories(cache):
    for name in ("models--gpt2", "datasets--org--data", "models--a--b--c",
                 "models--..--..", "models--", ".locks"):  # fmt: skip
        (cache / name).mkdir()
    (cache / "models--org--file").touch()
    assert list(cached_repositories()) == ["gpt2", REPO]


def test_no_cache_is_an_empty_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "absent"))
    assert list(cached_repositories()) == []
    assert cached_commit(REPO, "main") is None
    assert cached_file(REPO, COMMIT, "config.json") is None
    assert cached_files(REPO, COMMIT) == {}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub"),
        ({"HF_HOME": "~/b"}, "/me/b/hub"),
        ({"HF_HOME": "$HOME/b"}, "/me/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HF_HOME": ""}, "/me/.cache/huggingface/hub"),
        ({}, "/me/.cache/huggingface/hub"),
    ],
)
def test_the_environment_counts_at_call_time(monkeypatch, variables, expected):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/me")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hugging_face_cache() == Path(expected)


# Hostile.


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("secret")
    return path


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../x", "/etc/passwd", "a/../../x", "a//b", "a/", "./x",
     f"../{COMMIT}/config.json", "\0", "sub\0", "\ud800", "x" * 5000],
)  # fmt: skip
def test_paths_that_lead_away_are_no_files(path):
    assert cached_file(REPO, COMMIT, path) is None
    assert not cached_absence(REPO, COMMIT, path)


@pytest.mark.parametrize(
    "repo", ["", "..", "../x", "org/..", "a/b/c", "/etc", "org--name", "a\0"]
)
def test_names_that_lead_away_are_no_repositories(repo):
    assert cached_file(repo, COMMIT, "config.json") is None
    assert cached_commit(repo, "main") is None
    assert cached_files(repo, COMMIT) == {}


@pytest.mark.parametrize(
    "commit", ["", "..", "main", COMMIT.upper(), "c" * 39]
)
def test_commits_are_40_digits(commit):
    assert cached_file(REPO, commit, "config.json") is None


@pytest.mark.parametrize(
    "revision", ["", "..", "../snapshots", "/etc/passwd", "a\0", "x" * 5000]
)
def test_revisions_that_lead_away(revision):
    assert cached_commit(REPO, revision) is None


@pytest.mark.parametrize(
    "content",
    ["", "main", COMMIT + "\n", "../../x", COMMIT.upper(), COMMIT + COMMIT,
     "\xff" * 40,
     COMMIT + "\n" * 10_000 + "x", "../" + COMMIT],
)  # fmt: skip
def test_refs_hold_a_commit(repository, content):
    ref(repository, "bad", content)
    expected = COMMIT if content.strip("\nx") == COMMIT else None
    assert cached_commit(REPO, "bad") == expected


def test_a_huge_ref_is_not_read(repository):
    with (repository / "refs" / "huge").open("wb") as file:
        file.truncate(2**40)
    assert cached_commit(REPO, "huge") is None


def test_a_ref_that_is_a_link_or_a_pipe(repository, tmp_path):
    outside = tmp_path / "ref"
    outside.write_text(COMMIT)
    (repository / "refs" / "link").symlink_to(outside)
    (repository / "refs" / "folder").symlink_to(tmp_path)
    os.mkfifo(repository / "refs" / "pipe")
    for revision in ("link", "folder/ref", "pipe", "refs"):
        assert cached_commit(REPO, revision) is None


def test_links_lead_to_the_repositorys_own_blobs_only(
    cache, repository, secret
):
    add(cache / "models--org--private", "f", b"private")
    private = cached_file("org/private", COMMIT, "f")
    snapshot = repository / "snapshots" / COMMIT
    targets = {
        "outside": secret,
        "other": private,
        "loop": snapshot / "loop",
        "absent": repository / "blobs" / "absent",
        "ref": repository / "refs" / "main",
        "neighbour": snapshot / "sub" / ".." / "config.json" / "..",
    }
    for name, target in targets.items():
        (snapshot / name).symlink_to(target)
    (snapshot / "folder").symlink_to(secret.parent)
    os.mkfifo(snapshot / "pipe")
    for path in (*targets, "folder/secret", "pipe"):
        assert cached_file(REPO, COMMIT, path) is None
    assert list(cached_files(REPO, COMMIT)) == [
        "config.json", "sub/model.safetensors"
    ]  # fmt: skip


def test_blobs_that_are_elsewhere_are_no_blobs(repository, tmp_path):
    (repository / "blobs").rename(tmp_path / "moved")
    (repository / "blobs").symlink_to(tmp_path / "moved")
    assert cached_file(REPO, COMMIT, "config.json") is None
    assert cached_files(REPO, COMMIT) == {}


def test_a_name_that_is_not_text_is_passed_over(repository):
    folder = os.fsencode(repository / "snapshots" / COMMIT)
    os.close(os.open(folder + b"/\xff", os.O_CREAT | os.O_WRONLY))
    assert len(cached_files(REPO, COMMIT)) == 2


def test_no_network_is_touched(tmp_path):
    code = (
        "from spectra.hub.hfcache import *\n"
        "import socket; socket.socket = None\n"
        f"assert cached_commit({REPO!r}, 'main') == {COMMIT!r}\n"
        f"assert cached_files({REPO!r}, {COMMIT!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
