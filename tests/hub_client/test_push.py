"""Results as one commit of a dataset repository, and back again."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub.utils import close_session
from markdown_it import MarkdownIt

import spectra
from spectra.api.publishing import publish
from spectra.cli.main import app
from spectra.core.errors import AuthError, SpectraError, UsageError
from spectra.hub.failures import HubError
from spectra.hub.push import destination
from spectra.hub.shelf import prune
from spectra.report.dataset_card import dataset_card
from tests.checkpoints import adapters
from tests.hub import Fault, Hub, Stranger
from tests.hub_client.settings import SECRET

# huggingface_hub uploads files with an argument that its HTTP library renames.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")

REPO = "org/results"
AUTHORIZATION = f"Bearer {SECRET}"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a folder with a run and its report."""
    folder = tmp_path_factory.mktemp("made")
    adapters(folder / "p", [4] * 6, {"q": (24, 16)})
    run = spectra.fit(spectra.scan(folder / "p"), folder / "run.h5")
    spectra.overlap(run).save(folder / "report")
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("SPECTRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", SECRET)
    # Xet has a protocol and a client of its own, which no loopback speaks.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with Hub([], token=SECRET, grants={"org/"}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub
    close_session()


def pushed(made: Path, repo: str = REPO, **options: Any) -> tuple[str, str]:
    """Push what was made; return the address and what was told."""
    told: list[str] = []
    report = spectra.OverlapReport.stored(spectra.load(made / "run.h5"))
    files = sorted((made / "report").iterdir())
    url = report.push_to_hub(repo, files, tell=told.append, **options)
    (line,) = told
    return url, line


def seed_of(text: str) -> int:
    """Return the seed of the report in a run of the hub."""
    report = spectra.OverlapReport.stored(spectra.load(text))
    return int(report.document["settings"]["overlap"]["seed"])


def commits(hub: Hub, repo: str = REPO) -> int:
    """Return how many there are after the hub's own first one."""
    return len(hub.datasets.history.get(repo, [None])) - 1


def refused(made: Path, kind: type[SpectraError], **options: Any) -> str:
    with pytest.raises(kind) as told:
        pushed(made, **options)
    assert SECRET not in str(told.value)
    return f"{told.value.code}: {told.value}"


def test_all_goes_as_one_commit_and_comes_back(made: Path, hub: Hub) -> None:
    url, line = pushed(made)
    repository = hub.datasets.repositories[REPO]
    assert commits(hub) == 1
    assert url == f"{hub.endpoint}/datasets/{REPO}/commit/{repository.sha}"
    report = {p.name: p.read_bytes() for p in (made / "report").iterdir()}
    run = (made / "run.h5").read_bytes()
    names = {*report, "run.h5", "README.md", ".gitattributes"}
    assert repository.files.keys() == names
    assert report.items() <= dict(repository.files).items()
    assert repository.files["run.h5"] == run
    assert f"{hub.endpoint}/datasets/{REPO} (public): " in line
    assert line.startswith(f"pushing {len(names) - 1} files, ")
    assert f"run.h5 {len(run) / 1e3:.0f} kB" in line

    back = spectra.load(REPO)
    local = spectra.load(made / "run.h5")
    assert back.models == local.models
    assert back.layers == local.layers
    stored = spectra.OverlapReport.stored
    assert stored(back).document == stored(local).document
    assert back.path is not None
    assert back.path.read_bytes() == run


def test_the_run_of_a_hub_is_not_written_to(made: Path, hub: Hub) -> None:
    pushed(made)
    run = spectra.load(REPO)
    before = run.path.read_bytes()
    again = spectra.overlap(run, seed=1)
    assert again.document["settings"]["overlap"]["seed"] == 1
    assert run.path.read_bytes() == before


def test_what_is_loaded_is_not_pruned(made: Path, hub: Hub) -> None:
    pushed(made)
    run = spectra.load(REPO)
    spool = run.path.parents[2]
    left = prune(spool, to=0)
    assert (len(left.held), len(left.removed)) == (1, 0)
    assert spectra.load(REPO).layers == run.layers


def test_figures_keep_their_folder(made: Path, hub: Hub, tmp_path) -> None:
    files = [tmp_path / "report.md", tmp_path / "figures" / "a.svg"]
    files[1].parent.mkdir()
    for file in files:
        file.write_text("text")
    run = spectra.load(made / "run.h5")
    report = spectra.OverlapReport.stored(run)
    report.push_to_hub(REPO, files, tell=lambda _: None)
    found = hub.datasets.repositories[REPO].files
    assert {"report.md", "figures/a.svg", "run.h5"} <= found.keys()
    assert b"| figures/a.svg | a figure |" in found["README.md"]


def test_a_run_in_memory_is_not_pushed(made: Path, hub: Hub) -> None:
    run = spectra.fit(spectra.scan(made / "p"))
    report = spectra.OverlapReport(
        spectra.OverlapReport.stored(spectra.load(made / "run.h5")).document,
        run,
    )
    with pytest.raises(UsageError, match="in memory alone") as told:
        report.push_to_hub(REPO, [])
    assert told.value.code == "E_PUSH"
    assert hub.requests == []


def test_offline_nothing_is_loaded(made: Path, hub: Hub, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE") as told:
        spectra.load(REPO)
    assert told.value.code == "E_OFFLINE"
    assert hub.requests == []


def test_nothing_is_uploaded_over_plain_http(
    made: Path, hub: Hub, monkeypatch
) -> None:
    """To another machine than this one, whatever the hub says."""
    monkeypatch.setattr(hub.cdn, "sign_upload", lambda *_: "http://a.test/x")
    line = refused(made, HubError)
    assert line.startswith("E_REDIRECT: ")
    assert "http://a.test/x: not https" in line
    assert commits(hub) == 0


def test_a_revision_is_the_run_of_that_day(
    made: Path, hub: Hub, tmp_path: Path
) -> None:
    pushed(made)
    first = hub.datasets.repositories[REPO].sha
    shutil.copyfile(made / "run.h5", tmp_path / "run.h5")
    run = spectra.load(tmp_path / "run.h5")
    spectra.overlap(run, seed=1).save(tmp_path / "report")
    pushed(tmp_path)
    assert commits(hub) == 2
    at = f"hf://datasets/{REPO}@{first}"
    seeds = [seed_of(text) for text in (REPO, at, f"{REPO}@{first}")]
    assert seeds == [1, 0, 0]
    with hub.watched() as seen:
        spectra.load(f"{at}/run.h5")
    assert not [r for r in seen if r.url.startswith(hub.cdn.endpoint)
                and r.sent > 2**21]  # fmt: skip


def test_what_is_here_comes_first(
    made: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    shutil.copyfile(made / "run.h5", tmp_path / "org" / "results")
    assert len(spectra.load(REPO).models) == 6
    for text in ("run", "nowhere/run.h5", "./org/none"):
        with pytest.raises(UsageError, match=r"there is no run file \S+; "):
            spectra.load(text)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("org/none", "E_NO_RUN"),
        ("hf://org/model", "E_SOURCE"),
        ("hf://datasets/", "E_SOURCE"),
        ("org/na me", "E_SOURCE"),
        ("org/results@none", "E_NO_RUN"),
        ("hf://datasets/org/results@main/other.h5", "E_NO_RUN"),
    ],
)
def test_what_is_no_run_gets_one_line(
    made: Path, hub: Hub, text: str, code: str
) -> None:
    pushed(made)
    with pytest.raises(UsageError) as told:
        spectra.load(text)
    assert told.value.code == code
    assert "\n" not in str(told.value)


def test_bytes_that_were_changed_on_the_way_are_not_kept(
    made: Path, hub: Hub
) -> None:
    pushed(made)
    evil = Fault("evil-body", times=None, path="*run.h5")
    with hub.fault(evil), pytest.raises(HubError, match="hashes to") as told:
        spectra.load(REPO)
    assert told.value.code == "E_BAD_RESPONSE"
    assert len(spectra.load(REPO).models) == 6


def test_the_store_and_strangers_are_not_told_the_token(
    made: Path, hub: Hub
) -> None:
    with Stranger(b"{}") as stranger:
        hub.datasets.verify_at = stranger.endpoint
        pushed(made)
    puts = [r for r in hub.cdn.requests if r.method == "PUT"]
    assert puts
    assert stranger.requests, "the upload was to be confirmed there"
    for request in (*hub.cdn.requests, *stranger.requests):
        assert "authorization" not in request.headers
        assert SECRET not in str(request)
    for request in hub.requests:
        assert request.headers["authorization"] == AUTHORIZATION


def test_without_our_guard_a_stranger_would_be_told(
    made: Path, hub: Hub
) -> None:
    """What huggingface_hub does by itself, which is why there is a guard."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token=SECRET)
    api.create_repo(REPO, repo_type="dataset")
    with Stranger(b"{}") as stranger:
        hub.datasets.verify_at = stranger.endpoint
        api.upload_file(
            path_or_fileobj=made / "run.h5", path_in_repo="run.h5",
            repo_id=REPO, repo_type="dataset",
        )  # fmt: skip
        close_session()
    told = {r.headers.get("authorization") for r in stranger.requests}
    assert told == {AUTHORIZATION}


def test_a_redirect_takes_no_token_along(made: Path, hub: Hub) -> None:
    with Stranger(b"{}") as stranger:
        away = Fault(
            "redirect", value=f"{stranger.endpoint}/x", times=None,
            where="hub", path="*/commit/*",
        )  # fmt: skip
        with hub.fault(away):
            refused(made, HubError)
    assert not any("authorization" in r.headers for r in stranger.requests)


def test_the_clients_factory_is_as_it_was(made: Path, hub: Hub) -> None:
    from huggingface_hub.utils import _http

    before = _http._GLOBAL_CLIENT_FACTORY
    pushed(made)
    refused(made, UsageError, repo="org/../x")
    assert _http._GLOBAL_CLIENT_FACTORY is before


@pytest.mark.parametrize(
    "repo",
    ["name", "a b/c", "../x", "org/..", "org/na\x1bme", "org/name\n", "a/b/c",
     "", "/x", "org/", "-/-", "org/name@rev", "hf://org/name", "ö/ü"],
)  # fmt: skip
def test_a_hostile_name_asks_nothing(made: Path, hub: Hub, repo: str) -> None:
    line = refused(made, UsageError, repo=repo)
    assert line.startswith("E_PUSH: ")
    assert line.isprintable()
    assert hub.requests == []


def test_without_a_token(made: Path, hub: Hub, monkeypatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    line = refused(made, AuthError)
    assert line.startswith("E_AUTH: to push takes a token")
    assert hub.requests == []


def test_offline(made: Path, hub: Hub, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert refused(made, HubError).startswith("E_OFFLINE: HF_HUB_OFFLINE")
    assert hub.requests == []


def test_a_token_that_may_not_write(made: Path, hub: Hub) -> None:
    line = refused(made, AuthError, repo="others/results")
    assert line.startswith("E_AUTH: the token may not write to others/results")
    assert "status 403" in line
    hub.shelf.token = hub.datasets.token = "hf_another"  # noqa: S105
    assert "the hub refuses the token" in refused(made, AuthError)
    assert commits(hub) == 0


def test_private_is_private(made: Path, hub: Hub) -> None:
    _, line = pushed(made, private=True)
    assert "(private)" in line
    assert hub.datasets.repositories[REPO].private
    assert len(spectra.load(REPO).models) == 6
    pushed(made, repo="org/public")
    line = refused(made, UsageError, repo="org/public", private=True)
    assert line.startswith("E_PUSH: ")
    assert "and public" in line


def test_a_repository_of_something_else_is_left_alone(
    made: Path, hub: Hub
) -> None:
    from tests.hub.writing import put

    mine = {"README.md": b"# Mine", "train.csv": b"a"}
    put(hub.datasets, spectra_free("org/data", mine))
    line = refused(made, UsageError, repo="org/data")
    assert line.startswith("E_PUSH: ")
    assert "train.csv" in line
    assert hub.datasets.repositories["org/data"].files == mine


def spectra_free(name: str, files: dict[str, bytes]) -> Any:
    from tests.hub import Repository

    return Repository(name, files)


def test_nothing_new_makes_no_commit(made: Path, hub: Hub) -> None:
    pushed(made)
    pushed(made)
    assert commits(hub) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("status", value=403, times=None, where="cdn"), "E_NETWORK"),
        (Fault("status", value=500, times=None, path="*/commit/*"), None),
        (Fault("status", value=429, times=None, path="*/create"),
         "E_RATE_LIMIT"),
        (Fault("status", value=422, times=None, path="*/preupload/*"),
         "E_BAD_RESPONSE"),
        (Fault("reset-before-headers", times=None, path="*/batch"),
         "E_NETWORK"),
        (Fault("html", times=None, path="*/preupload/*"),
         "E_BAD_RESPONSE"),
    ],
)  # fmt: skip
def test_a_failure_on_the_way(
    made: Path, hub: Hub, fault: Fault, code: str | None
) -> None:
    before = {p: p.read_bytes() for p in made.rglob("*.*") if p.is_file()}
    with hub.fault(fault):
        line = refused(made, HubError)
    if code is not None:
        assert line.startswith(f"{code}: "), line
        assert commits(hub) == 0
    assert "all, or nothing" in line
    assert {p: p.read_bytes() for p in before} == before
    pushed(made)
    assert commits(hub) == 1


def test_a_note_says_how_to_push_alone(made: Path, hub: Hub) -> None:
    run = spectra.load(made / "run.h5")
    document = spectra.OverlapReport.stored(run).document
    files = sorted((made / "report").iterdir())
    gone = Fault("status", value=403, times=None, where="cdn")
    with hub.fault(gone), pytest.raises(HubError) as told:
        publish(document, run, files, destination(REPO), tell=lambda _: None)
    (note,) = told.value.__notes__
    assert f"spectra report {made / 'run.h5'} -o {made / 'report'}" in note


def test_the_command(made: Path, hub: Hub, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    app(
        ["report", str(made / "run.h5"), "-o", str(out), "--private",
         "--push-to-hub", REPO, "--format", "md,parquet"],
        standalone_mode=False,
    )  # fmt: skip
    printed = capsys.readouterr()
    first, last = printed.err.splitlines()
    assert first.startswith("spectra: pushing 6 files, ")
    assert last.startswith(f"spectra: pushed: {hub.endpoint}/datasets/{REPO}")
    assert len(printed.out.splitlines()) == 4
    files = hub.datasets.repositories[REPO].files
    assert {"layers.parquet", "report.md", "run.h5"} <= files.keys()
    card = head_of(files["README.md"].decode())
    assert card["configs"][0] == {
        "config_name": "layers", "data_files": "layers.parquet",
    }  # fmt: skip


def test_private_alone_is_refused(made: Path, tmp_path: Path) -> None:
    words = ["report", str(made / "run.h5"), "-o", str(tmp_path), "--private"]
    with pytest.raises(UsageError, match="add --push-to-hub") as told:
        app(words, standalone_mode=False)
    assert told.value.code == "E_PUSH"


def test_run_knows_before_it_fits(made: Path, hub: Hub, tmp_path) -> None:
    out = tmp_path / "out"
    words = ["run", str(made / "p"), "-o", str(out), "--push-to-hub", "a b"]
    with pytest.raises(UsageError, match="ORG/NAME"):
        app(words, standalone_mode=False)
    assert not out.exists()


@pytest.mark.slow
def test_run_pushes_what_it_made(made: Path, hub: Hub, tmp_path) -> None:
    out = tmp_path / "out"
    app(
        ["run", str(made / "p"), "-o", str(out), "--format", "json",
         "--push-to-hub", REPO],
        standalone_mode=False,
    )  # fmt: skip
    files = hub.datasets.repositories[REPO].files
    assert files["run.h5"] == (out / "run.h5").read_bytes()
    assert files["report.json"] == (out / "report.json").read_bytes()
    assert head_of(files["README.md"].decode())["viewer"] is False


def head_of(card: str) -> dict[str, Any]:
    _, head, _ = card.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(head)
    return found


def test_the_card_holds_foreign_text_as_text(made: Path) -> None:
    run = spectra.load(made / "run.h5")
    document = spectra.OverlapReport.stored(run).document
    evil = "---\nlicense: mit\n<img src=x>[a](http://b)"
    document["population"]["models"][0]["id"] = evil
    document["layers"][0]["name"] = evil
    files = ("report.html", "layers.csv", "pairs.csv", "run.h5")
    card = dataset_card(document, REPO, files)
    assert head_of(card) == {
        "pretty_name": "Overlap report of 6 checkpoints",
        "tags": ["spectra", "weight-space"],
        "configs": [
            {"config_name": "layers", "data_files": "layers.csv"},
            {"config_name": "pairs", "data_files": "pairs.csv"},
        ],
    }
    assert card.count("\n---\n") == 1
    shown = MarkdownIt("commonmark").enable("table").render(card)
    assert "license: mit" in shown
    assert "<img" not in shown
    assert "<a " not in shown
    assert f'spectra.load("{REPO}")' in card


@pytest.mark.slow
def test_killed_while_it_uploads(
    made: Path, hub: Hub, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.undo()
    out = tmp_path / "out"
    words = [sys.executable, "-m", "spectra", "report", made / "run.h5", "-o",
             out, "--push-to-hub", REPO]  # fmt: skip
    env = os.environ | {
        "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": SECRET,
        "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    with hub.fault(Fault("no-headers", value=60.0, where="cdn")):
        process = subprocess.Popen(words, env=env, stderr=subprocess.PIPE)
        until = time.monotonic() + 60
        while not hub.cdn.stored and time.monotonic() < until:
            time.sleep(0.02)
        process.kill()
        process.communicate()
    assert hub.cdn.stored, "an upload was under way"
    assert commits(hub) == 0
    assert (out / "report.html").is_file()
    again = subprocess.run(
        words, env=env, check=False, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert commits(hub) == 1
