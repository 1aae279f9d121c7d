"""The hub's own client, as it is, finds in `tests.hub` what it expects."""

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import (
    HfApi,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
)
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub import Fault, Hub
from tests.hub_server.models import (
    ADAPTER,
    BASE,
    FILES,
    PUBLIC,
    TOKEN,
    WEIGHTS,
)


def test_a_model(api: HfApi) -> None:
    found = api.model_info("org/base")
    assert (found.sha, found.author) == (BASE.sha, "org")
    assert found.card_data.license == "mit"
    assert found.tags == list(BASE.all_tags)
    assert found.last_modified is not None
    assert found.used_storage == sum(map(len, FILES.values()))
    assert api.model_info("org/base", revision="v1").sha == BASE.sha
    assert api.model_info("org/base", revision="old").sha == "1" * 40
    assert api.model_info("org/base", revision="1" * 40).sha == "1" * 40
    found = api.model_info("org/base", files_metadata=True)
    small, _, large = found.siblings
    assert (small.size, small.lfs) == (len(FILES["config.json"]), None)
    assert large.lfs.size == large.size == len(WEIGHTS)
    assert large.lfs.sha256 == BASE.contents["sub/model.safetensors"].sha256
    found = api.model_info("org/base", expand=["siblings"])
    assert (found.sha, len(found.siblings)) == (None, 3)
    names = [each.name for each in api.list_repo_refs("org/base").branches]
    assert names == ["main", "v1", "old"]


def test_the_commit_changes_with_any_file() -> None:
    other = replace(BASE, files=FILES | {"config.json": b"{}"})
    assert other.sha != BASE.sha
    assert replace(BASE, likes=3).sha == BASE.sha


def test_a_tree(api: HfApi, hub: Hub) -> None:
    tree = api.list_repo_tree("org/base", recursive=True)
    names = ["config.json", "sub", "sub/deep", *sorted(FILES)[1:]]
    assert sorted(each.path for each in tree) == sorted(names)
    top = list(api.list_repo_tree("org/base", revision=BASE.sha))
    assert [each.path for each in top] == ["config.json", "sub"]
    folder = api.list_repo_tree("org/base", "sub/deep", expand=True)
    (entry,) = folder
    assert entry.path == "sub/deep/a b+c%.txt"
    assert entry.last_commit.oid == BASE.sha
    assert entry.security.safe
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("org/base", "none"))
    hub.shelf.page = 2
    with hub.watched() as seen:
        tree = list(api.list_repo_tree("org/base", recursive=True))
    assert (len(tree), len(seen)) == (5, 3)


def test_paths_info(api: HfApi) -> None:
    paths = ["sub/model.safetensors", "none", "sub"]
    file, folder = api.get_paths_info("org/base", paths, expand=True)
    assert (file.size, file.lfs.size) == (len(WEIGHTS), len(WEIGHTS))
    assert file.last_commit.oid == BASE.sha
    assert folder.path == "sub"


def test_downloads(hub: Hub, tmp_path: Path) -> None:
    for name, body in FILES.items():
        path = hf_hub_download(
            "org/base",
            name,
            endpoint=hub.endpoint,
            cache_dir=tmp_path,
            token=TOKEN,
        )
        assert Path(path).read_bytes() == body
        assert Path(path).parts[-len(Path(name).parts) - 1] == BASE.sha
    (large,) = hub.cdn.requests
    assert "authorization" not in large.headers
    assert all("authorization" in each.headers for each in hub.requests)
    assert large.sent == len(WEIGHTS)
    assert hub.bytes_sent == sum(map(len, FILES.values()))


def test_a_snapshot(hub: Hub, tmp_path: Path) -> None:
    hub.shelf.page = 2
    path = snapshot_download(
        "org/old", endpoint=hub.endpoint, cache_dir=tmp_path, token=False
    )
    there = {
        each.relative_to(path).as_posix(): each.read_bytes()
        for each in Path(path).rglob("*")
        if each.is_file()
    }
    assert there == FILES
    assert Path(path).name == ADAPTER.sha


def test_metadata_of_files(hub: Hub) -> None:
    def metadata(name: str, revision: str = "main"):
        url = hf_hub_url(
            "org/base", name, revision=revision, endpoint=hub.endpoint
        )
        return get_hf_file_metadata(url, token=False)

    large = metadata("sub/model.safetensors", "old")
    assert large.commit_hash == "1" * 40
    assert large.size == len(WEIGHTS)
    content = BASE.contents["sub/model.safetensors"]
    assert large.etag == content.sha256
    assert large.location.startswith(hub.cdn.endpoint)
    assert large.xet_file_data is None
    small = metadata("config.json")
    assert small.commit_hash == BASE.sha
    assert small.etag == BASE.contents["config.json"].blob
    assert small.size == len(FILES["config.json"])


@pytest.mark.parametrize(
    ("id", "error", "anonymous", "member"),
    [
        ("org/none", RepositoryNotFoundError, 401, 404),
        ("org/private", RepositoryNotFoundError, 401, 404),
        ("org/gated", GatedRepoError, 401, 403),
        ("org/disabled", DisabledRepoError, 403, 403),
        ("org/base", RevisionNotFoundError, 404, 404),
        ("org/base", EntryNotFoundError, 404, 404),
    ],
)
def test_refusals(
    hub: Hub,
    tmp_path: Path,
    id: str,  # noqa: A002
    error: type[HfHubHTTPError],
    anonymous: int,
    member: int,
) -> None:
    hub.shelf.grants = ()
    revision = "v9" if error is RevisionNotFoundError else "main"
    name = "none.json" if error is EntryNotFoundError else "config.json"
    for token, status in ((False, anonymous), (TOKEN, member)):
        url = hf_hub_url(id, name, revision=revision, endpoint=hub.endpoint)
        with pytest.raises(error) as caught:
            get_hf_file_metadata(url, token=token)
        assert caught.value.response.status_code == status
        assert caught.value.response.headers["X-Error-Message"]


def test_a_gated_model_is_described_but_not_given(
    api: HfApi, tmp_path: Path
) -> None:
    assert api.model_info("org/gated").gated == "manual"
    assert len(list(api.list_repo_tree("org/gated", recursive=True))) == 5
    with pytest.raises(GatedRepoError):
        api.hf_hub_download("org/gated", "config.json", cache_dir=tmp_path)


def test_a_token_with_grants(
    api: HfApi, member: HfApi, hub: Hub, tmp_path: Path
) -> None:
    assert member.whoami()["name"] == "tester"
    listed = {each.id for each in member.list_models()}
    assert listed == {*PUBLIC, "org/private"}
    for name in ("org/gated", "org/private"):
        path = member.hf_hub_download(
            name, "sub/model.safetensors", cache_dir=tmp_path
        )
        assert Path(path).read_bytes() == WEIGHTS
    bad = HfApi(endpoint=hub.endpoint, token="hf_bad")  # noqa: S106
    for call in (
        bad.whoami,
        lambda: list(bad.list_models()),
        lambda: bad.model_info("org/base"),
        lambda: list(bad.list_repo_tree("org/base")),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            call()
        assert caught.value.response.status_code == 401
        assert not isinstance(caught.value, RepositoryNotFoundError)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/private")


def test_a_renamed_model(api: HfApi, tmp_path: Path) -> None:
    assert "org/old" not in {each.id for each in api.list_models()}
    with pytest.raises(EntryNotFoundError):
        get_hf_file_metadata(
            hf_hub_url("org/old", "none", endpoint=api.endpoint), token=False
        )
    assert api.model_info("org/old").id == "ann/Adapter"
    path = api.hf_hub_download("org/old", "config.json", cache_dir=tmp_path)
    assert Path(path).read_bytes() == FILES["config.json"]


def test_the_client_waits_out_a_fault(api: HfApi, hub: Hub) -> None:
    limited = Fault("429", value="ratelimit", path="/api/models")
    with hub.fault(limited), hub.watched() as seen:
        assert len(list(api.list_models())) == len(PUBLIC)
    assert [each.status for each in seen] == [429, 200]
    assert [each.faults for each in seen] == [("429",), ()]
