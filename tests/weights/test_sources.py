import os
from pathlib import Path

import pytest

from spectra.core.errors import UsageError
from spectra.weights.sources import expand, places
from tests.weights.files import member, zeros_file

W = {"w": ("F32", (3, 4))}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def ids(source):
    found, _ = places(str(source))
    return [place.ids[0] for place in found]


def test_a_folder_of_checkpoints_in_order_of_path(tmp_path):
    for name in ("b", "a", "sub/c", "sub/d"):
        member(tmp_path / name)
    assert ids(tmp_path) == ["a", "b", "c", "d"]
    found, faults = places(str(tmp_path))
    assert found[2].ids == ("c", "sub/c", f"{tmp_path.name}/sub/c")
    assert found[2].path == str(tmp_path / "sub" / "c")
    assert not faults


def test_one_checkpoint_and_one_file(tmp_path):
    folder = member(tmp_path / "m")
    assert ids(folder) == ["m"]
    assert ids(folder / "model.safetensors") == ["m"]
    odd = zeros_file(tmp_path / "odd.safetensors", W)
    assert ids(odd) == ["odd"]


def test_a_file_that_is_named_brings_its_configuration(tmp_path):
    folder = member(tmp_path / "m")
    zeros_file(folder / "other.safetensors", W)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (place,), _ = places(str(folder / "model.safetensors"))
    assert sorted(place.folder.files) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def test_lora_of_diffusers_is_its_folder_with_its_card(tmp_path):
    folder = tmp_path / "p" / "style"
    zeros_file(folder / "pytorch_lora_weights.safetensors", W)
    zeros_file(folder / "the same for kohya.safetensors", W)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (place,), _ = places(str(tmp_path / "p"))
    assert place.ids[0] == "style"
    assert "README.md" in place.folder.files


@pytest.mark.parametrize("stray", ["x.safetensors", "model.safetensors"])
def test_strays_beside_checkpoints_are_members(tmp_path, stray):
    member(tmp_path / "a")
    zeros_file(tmp_path / stray, W)
    found, _ = places(str(tmp_path))
    assert len(found) == 2
    assert {place.path for place in found} == {
        str(tmp_path / "a"),
        str(tmp_path / stray),
    }


def test_a_folder_of_files_is_a_population(tmp_path):
    for name in ("b.safetensors", "a.safetensors"):
        zeros_file(tmp_path / name, W)
    assert ids(tmp_path) == ["a", "b"]


def test_numbered_shards_are_one_member(tmp_path):
    for stem in ("x", "y"):
        for n in (1, 2):
            name = f"{stem}-{n:05}-of-00002.safetensors"
            zeros_file(tmp_path / name, {f"w{n}": ("F32", (3, 4))})
    found, _ = places(str(tmp_path))
    assert [place.ids[0] for place in found] == ["x", "y"]
    assert [len(place.folder.files) for place in found] == [2, 2]


def test_a_checkpoint_is_not_searched_further(tmp_path):
    folder = member(tmp_path / "m")
    member(folder / "checkpoint-500")
    assert ids(tmp_path) == ["m"]


def test_a_configuration_above_a_population_does_not_hide_it(tmp_path):
    member(tmp_path / "a")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "results.pt").write_bytes(b"x")
    assert ids(tmp_path) == ["a"]


def test_hidden_folders_are_passed_over(tmp_path):
    member(tmp_path / "a")
    member(tmp_path / ".cache" / "b")
    assert ids(tmp_path) == ["a"]


@pytest.fixture
def cache(tmp_path):
    """A cache of huggingface_hub: blobs, and links to them."""
    hub = tmp_path / "hub"
    for repository, commit in (
        ("models--org--name", COMMIT),
        ("models--org--name", COMMIT[::-1]),
        ("models--solo", COMMIT),
    ):
        blobs = hub / repository / "blobs"
        zeros_file(blobs / commit, {f"w{commit[0]}": ("F32", (3, 4))})
        snapshot = hub / repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").symlink_to(
            Path("..") / ".." / "blobs" / commit
        )
        (hub / repository / "refs").mkdir(exist_ok=True)
        (hub / repository / "refs" / "main").write_text(commit)
    return hub


def test_a_cache_of_the_hub(cache):
    found, faults = places(str(cache))
    assert not faults
    assert [place.ids[0] for place in found] == ["org/name"] * 2 + ["solo"]
    assert [place.revision for place in found] == [
        COMMIT,
        COMMIT[::-1],
        COMMIT,
    ]
    assert found[0].ids[1] == "org/name@0123456"
    for place in found:
        real = Path(*place.folder.files.values())
        assert real.parent.name == "blobs"
        assert not real.is_symlink()


def test_a_snapshot_alone_may_read_its_blobs(cache):
    snapshot = cache / "models--solo" / "snapshots" / COMMIT
    (place,), _ = places(str(snapshot))
    assert place.revision == COMMIT
    assert place.ids[0] == "solo"
    real = Path(next(iter(place.folder.files.values())))
    assert real.parent.name == "blobs"


def test_a22_a_snapshot_may_not_read_another_repository(cache):
    link = cache / "models--solo" / "snapshots" / COMMIT / "model.safetensors"
    link.unlink()
    link.symlink_to(cache / "models--org--name" / "blobs" / COMMIT)
    (place,), _ = places(str(link.parent))
    assert Path(place.folder.files["model.safetensors"]).is_symlink()


def test_a22_links_to_folders(tmp_path):
    root = tmp_path / "root"
    member(root / "a")
    member(tmp_path / "far")
    (root / "again").symlink_to(root / "a")
    (root / "loop").symlink_to(root)
    (root / "far").symlink_to(tmp_path / "far")
    found, faults = places(str(root))
    assert [place.ids[0] for place in found] == ["a"]
    assert [(fault.id, fault.code) for fault in faults] == [
        ("root/far", "SOURCE_OUTSIDE")
    ]


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    member(tmp_path / "a")
    member(tmp_path / "b")
    listed = os.scandir

    def scandir(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found, faults = places(str(tmp_path))
    assert [place.ids[0] for place in found] == ["a"]
    assert [(fault.id, fault.code) for fault in faults] == [
        (f"{tmp_path.name}/b", "SOURCE_UNREADABLE")
    ]


def test_too_deep_a_tree_ends(tmp_path):
    path = tmp_path.joinpath(*["d"] * 100)
    path.mkdir(parents=True)
    found, faults = places(str(tmp_path))
    assert not found
    assert [fault.code for fault in faults] == ["SOURCE_UNREADABLE"]


def test_lists(tmp_path):
    member(tmp_path / "a")
    inner = tmp_path / "sub"
    inner.mkdir()
    (inner / "more.txt").write_text("../a\n/absolute  # a comment\n")
    (tmp_path / "list.txt").write_text(
        "# members\n\na\norg/name\n@sub/more.txt\n"
    )
    assert list(expand([f"@{tmp_path}/list.txt", "z"])) == [
        str(tmp_path / "a"),
        "org/name",
        str(inner / "../a"),
        "/absolute",
        "z",
    ]


def refused(source):
    with pytest.raises(UsageError) as caught:
        [places(one) for one in expand([source])]
    assert caught.value.code == "E_SOURCE"
    return str(caught.value)


def test_what_is_not_there(tmp_path):
    assert "neither" in refused(str(tmp_path / "absent"))
    assert "neither" in refused("./org/name")
    assert "neither" in refused(str(tmp_path / "x.safetensors"))
    assert "no checkpoint" in refused(str(tmp_path))
    (tmp_path / "notes.txt").write_text("x")
    assert "not a checkpoint" in refused(str(tmp_path / "notes.txt"))
    assert "cannot read" in refused(f"@{tmp_path}/none.txt")
    (tmp_path / "self.txt").write_text("@self.txt\n")
    assert "within itself" in refused(f"@{tmp_path}/self.txt")


def test_ids_hold_no_absolute_path(tmp_path, cache):
    member(tmp_path / "a")
    for source in (tmp_path, tmp_path / "a", cache):
        for place in places(str(source))[0]:
            assert not any(name.startswith("/") for name in place.ids)
            assert not any(str(tmp_path.parent) in name for name in place.ids)
