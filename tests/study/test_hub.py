"""From a query of a hub to a run file: equal bits, or a code."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import spectra
from spectra.core.errors import IncompleteError, SpectraError, UsageError
from spectra.hub.limits import NetworkLimits
from tests.hub import Fault, Hub, Repository, Stranger
from tests.store.test_runfile import equal
from tests.study.hub_population import (
    FORMATS,
    TAG,
    peft,
    refused,
    repositories,
    sharded,
)

TOKEN = "hf_TheSecretOfTheseTests0123"  # noqa: S105 - of the loopback

QUICK = NetworkLimits(
    connect=2.0,
    first_byte=3.0,
    backoff=0.005,
    backoff_cap=0.02,
    floor_seconds=2.0,
    retry_after=5.0,
)


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch) -> None:
    """The caches of a new user, and a client that waits for little."""
    for name in list(os.environ):
        if name.startswith(("HF_", "SPECTRA_")) or name.lower().endswith(
            "_proxy"
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SPECTRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("spectra.hub.session.NetworkLimits", lambda: QUICK)


def serve(shelf, monkeypatch, **options) -> Hub:
    hub = Hub(shelf, token=TOKEN, **options)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    return hub


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    with serve(repositories(25), monkeypatch, page=10) as hub:
        yield hub


def fitted(out: Path, **query) -> bytes:
    """Return the bytes of the run file of a query."""
    catalog = spectra.scan(**({"filter": (TAG,)} | query))
    spectra.fit(catalog, out, workers=2)
    return out.read_bytes()


def forget(monkeypatch, folder: Path) -> None:
    monkeypatch.setenv("SPECTRA_CACHE", str(folder))


def test_a_query_becomes_a_run(hub, tmp_path):
    catalog = spectra.scan(filter=(TAG,))
    assert len(catalog) == 25
    assert not catalog.value.quarantine
    assert {a.layers[0].kind for a in catalog.value.architectures} == {
        "dense",
        "low-rank",
    }
    for model in catalog.value.models:
        repo = "/".join(model.id.split("/")[:2])
        sha = hub.repositories[repo].sha
        assert model.revision == sha
        assert model.path.startswith(f"hf://{repo}@{sha}")
        assert (model.license, model.base_claim) == ("mit", "org/base")
        assert all(file.etag and file.nbytes for file in model.files)
    run = spectra.fit(catalog, tmp_path / "run.h5")
    counts = {layer.kind: len(layer.members) for layer in run.value.layers}
    assert counts == {"low-rank": 20, "dense": 5}


def test_a_run_of_a_hub_is_that_of_its_files(hub, tmp_path):
    """The same bytes in local folders give the same matrices."""
    run = spectra.fit(spectra.scan(filter=(TAG,)))
    for repo in hub.repositories.values():
        for name, body in repo.files.items():
            path = tmp_path / "local" / repo.id / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
    local = spectra.fit(spectra.scan(tmp_path / "local"))
    for one, other in zip(run.value.layers, local.value.layers, strict=True):
        assert (one.name, one.kind) == (other.name, other.kind)
        # The members stand in another order: those with larger norms first.
        grams = []
        for layer in (one, other):
            order = np.argsort(np.diag(layer.gram))
            grams.append(layer.gram[np.ix_(order, order)])
        np.testing.assert_allclose(*grams, rtol=1e-9, atol=1e-9)


TRANSIENT = [
    Fault("cut", times=4, path="*.safetensors"),
    Fault("cut", times=4, where="cdn", value=0),
    Fault("reset", times=4, where="cdn"),
    Fault("reset-before-headers", times=4),
    Fault("drip", path="*style.safetensors", value=300, where="cdn"),
    Fault("slow", times=3, value=0.2),
    Fault("status", times=3, value=503),
    Fault("status", times=3, value=500, where="cdn"),
    Fault("429", times=2, value="none"),
    Fault("429", times=1, value="retry-after-seconds"),
    Fault("429", times=1, value="retry-after-date"),
    Fault("429", times=1, value="ratelimit"),
    Fault("429", times=2, value="retry-after-negative"),
    Fault("429", times=2, value="retry-after-garbage"),
    Fault("cut-json", times=2, path="/api/*"),
    Fault("html", times=2, path="/api/*"),
    Fault("ignore-range", times=None, where="cdn"),
    Fault("wrong-start", times=2, where="cdn"),
]


def named(fault: Fault) -> str:
    return f"{fault.kind}-{fault.where}-{fault.value}"


@pytest.mark.parametrize("fault", TRANSIENT, ids=named)
@pytest.mark.slow
def test_what_passes_leaves_the_same_bits(hub, tmp_path, monkeypatch, fault):
    clean = fitted(tmp_path / "clean.h5")
    forget(monkeypatch, tmp_path / "other")
    with hub.fault(fault):
        assert fitted(tmp_path / "found.h5") == clean
    assert any(fault.kind in request.faults for request in hub.traffic)


HOSTILE = [
    (Fault("wrong-start", None, "cdn"), "RANGE_MISMATCH"),
    (Fault("wrong-end", None, "cdn"), "RANGE_MISMATCH"),
    (Fault("wrong-total", None, "cdn"), "RANGE_MISMATCH"),
    (Fault("star-total", None, "cdn"), "RANGE_MISMATCH"),
    (Fault("two-content-ranges", None, "cdn"), "RANGE_MISMATCH"),
    (Fault("multipart", None, "cdn"), "RANGE_MISMATCH"),
    (Fault("gzip", None, "cdn"), "ENCODING"),
    (Fault("changed-commit", None, "hub", "*/resolve/*"), "SOURCE_CHANGED"),
    (Fault("evil-body", None, "cdn", value=-1), "SOURCE_HASH"),
    (Fault("etag-path", None), ""),
]


@pytest.mark.parametrize(
    ("fault", "code"), HOSTILE, ids=lambda v: getattr(v, "kind", v)
)
@pytest.mark.slow
def test_what_does_not_pass_has_a_code_and_no_wrong_number(
    hub, tmp_path, monkeypatch, fault, code
):
    """One format's files are answered wrongly; the others' numbers stay."""
    fitted(tmp_path / "clean.h5")
    clean = spectra.load(tmp_path / "clean.h5").value
    forget(monkeypatch, tmp_path / "other")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    bad = "*adapter_model.safetensors"
    peft_one = hub.repositories["owner-0/peft-0000"]
    size = len(peft_one.files["adapter_model.safetensors"])
    aimed = Fault(
        fault.kind, fault.times, fault.where,
        bad if fault.path == "*" else fault.path.replace("*/", "*/peft-*/", 1),
        value=size + fault.value if fault.value else None,
    )  # fmt: skip
    with hub.fault(aimed):
        catalog = spectra.scan(filter=(TAG,))
        run = spectra.fit(catalog, tmp_path / "found.h5").value
    assert any(fault.kind in request.faults for request in hub.traffic)
    if not code:
        # All but the catalogue, which has no tag of theirs.
        assert not run.quarantine
        assert run.models == clean.models
        assert all(map(equal, run.layers, clean.layers))
    else:
        assert {record.code for record in run.quarantine} == {code}
    exact = {layer.name: layer for layer in clean.layers}
    for layer in run.layers:
        whole = exact[layer.name]
        position = {clean.models[i].id: j for j, i in enumerate(whole.members)}
        kept = [position[run.models[i].id] for i in layer.members]
        np.testing.assert_allclose(
            layer.gram, whole.gram[np.ix_(kept, kept)], rtol=1e-12
        )
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    allowed = (tmp_path / "other", tmp_path / "found.h5")
    assert all(any(p.is_relative_to(a) for a in allowed) for p in written)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("next-link", None, path="/api/models"), "E_PAGINATION"),
        (Fault("html", None, path="/api/*"), "E_BAD_RESPONSE"),
        (Fault("huge-json", None, path="/api/*"), "E_BAD_RESPONSE"),
        (Fault("gzip-bomb", None, path="/api/*"), "E_ENCODING"),
        (Fault("status", None, path="/api/*", value=503), "E_NETWORK"),
        (Fault("429", None, value="retry-after-huge"), "E_RATE_LIMIT"),
    ],
    ids=lambda v: getattr(v, "kind", v),
)
def test_a_listing_that_cannot_be_trusted_ends_the_command(hub, fault, code):
    with hub.fault(fault), pytest.raises(IncompleteError) as caught:
        spectra.scan(filter=(TAG,))
    assert caught.value.code == code


@pytest.mark.parametrize("kind", ["redirect", "next-link"])
def test_a_stranger_is_never_asked(hub, kind):
    with Stranger() as stranger:
        fault = Fault(kind, None, value=f"{stranger.endpoint}/api/models")
        with hub.fault(fault), pytest.raises(SpectraError):
            spectra.fit(spectra.scan(filter=(TAG,)))
        heads = [request.headers for request in stranger.requests]
    assert not any("authorization" in head for head in heads)


def test_each_refusal_is_one_line_and_the_rest_goes_on(monkeypatch):
    rows = refused()
    shelf = [*repositories(10), *(repo for repo, _ in rows)]
    with serve(shelf, monkeypatch) as hub:
        catalog = spectra.scan("bad/none", filter=(TAG,))
        assert len(catalog) == 10
        found = [(q.id, q.code) for q in catalog.value.quarantine]
        expected = [(repo.id, code) for repo, code in rows]
        assert sorted(found) == sorted([*expected, ("bad/none", "REPO_GONE")])
        assert hub.requests


def test_the_token_is_seen_by_the_hub_alone(hub, tmp_path):
    fitted(tmp_path / "run.h5")
    secret = f"Bearer {TOKEN}"
    assert {r.headers.get("authorization") for r in hub.requests} == {secret}
    assert hub.cdn.requests
    assert not any("authorization" in r.headers for r in hub.cdn.requests)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()


def test_a_second_run_fetches_nothing(hub, tmp_path):
    first = fitted(tmp_path / "one.h5")
    with hub.watched() as seen:
        assert fitted(tmp_path / "two.h5") == first
    pages = [request for request in seen if request.path == "/api/models"]
    assert len(pages) == 3
    assert seen == pages


def test_a_catalogue_needs_no_listing(hub, tmp_path):
    spectra.scan(filter=(TAG,)).save(tmp_path / "catalog.jsonl")
    first = fitted(tmp_path / "one.h5")
    with hub.watched() as seen:
        catalog = spectra.scan(tmp_path / "catalog.jsonl")
        spectra.fit(catalog, tmp_path / "two.h5")
    assert not seen
    assert (tmp_path / "two.h5").read_bytes() == first


def test_headers_cost_little(hub):
    with hub.watched() as seen:
        spectra.scan(filter=(TAG,))
    sent: dict[str, int] = {}
    for request in seen:
        if request.path.endswith(".safetensors"):
            name = request.url.partition("?")[0]
            sent[name] = sent.get(name, 0) + request.sent
    assert sent
    assert max(sent.values()) <= 128 * 2**10


def test_two_layers_of_big_files_cost_their_own_bytes(tmp_path, monkeypatch):
    """Ranges, nothing on the disk: at most 1.05 times what is wanted."""
    shelf = [
        Repository(
            f"big/m{i}",
            sharded(np.random.default_rng(i), layers=32, side=160),
            (TAG,),
        )
        for i in range(4)
    ]
    with serve(shelf, monkeypatch) as hub:
        catalog = spectra.scan(filter=(TAG,))
        globs = ("*.3.mlp.up_proj", "*.20.mlp.up_proj")
        plan = catalog.plan(layers=globs)
        with hub.watched() as seen:
            run = spectra.fit(catalog, layers=globs)
        wanted = 4 * 2 * 160 * 162 * 4
        assert plan.bytes_to_fetch == plan.bytes_to_read == wanted
        assert plan.repositories == 4
        assert (plan.whole_files, plan.ranged_files) == (0, 8)
        assert len(run.layers) == 2
        assert wanted <= sum(request.sent for request in seen) <= 1.05 * wanted
        assert len(seen) <= plan.requests
        spooled = tmp_path / "cache" / "spool"
        assert not list(spooled.glob("*/*/content"))


def test_a_plan_knows_what_will_be_fetched(hub):
    catalog = spectra.scan(filter=(TAG,))
    plan = catalog.plan()
    with hub.watched() as seen:
        spectra.fit(catalog)
    assert plan.repositories == 25
    assert (plan.whole_files, plan.ranged_files) == (30, 0)
    assert plan.bytes_to_fetch == sum(
        request.sent for request in seen if request.status == 206
    )
    assert len(seen) == plan.requests
    assert catalog.plan().requests == catalog.plan().bytes_to_fetch == 0


@pytest.mark.parametrize(
    "source",
    ["{id}", "{id}@main", "hf://{id}@{sha}", "{endpoint}/{id}", "@list"],
)
def test_forms_of_a_source(hub, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    repo = hub.repositories["owner-0/peft-0000"]
    text = source.format(id=repo.id, sha=repo.sha, endpoint=hub.endpoint)
    (tmp_path / "list").write_text(f"{repo.id}  # the one\n")
    (model,) = spectra.scan(text).value.models
    assert (model.id, model.revision) == (repo.id, repo.sha)


def test_a_folder_or_a_file_of_a_repository(hub):
    (nested,) = (r for r in hub.repositories.values() if "nested-0001" in r.id)
    for inner in ("checkpoint-9", "checkpoint-9/adapter_model.safetensors"):
        (model,) = spectra.scan(f"hf://{nested.id}@main/{inner}").value.models
        assert model.path == f"hf://{nested.id}@{nested.sha}/{inner}"
    absent = spectra.scan(f"hf://{nested.id}@main/other")
    assert [q.code for q in absent.value.quarantine] == ["ENTRY"]


def test_limit_and_sort_and_author(hub):
    assert len(spectra.scan(filter=(TAG,), limit=7)) == 7
    some = spectra.scan(author="owner-1", base_model="org/base")
    assert {m.id.partition("/")[0] for m in some.value.models} == {"owner-1"}
    adapters = spectra.scan(base_model="org/base", relation="adapter")
    assert len(adapters) == 25
    assert len(spectra.scan(base_model="org/base", relation="merge")) == 0
    assert len(spectra.scan(filter=(TAG,), match=("*/kohya-*",))) == 5


def test_a_broken_off_listing_goes_on(hub):
    fault = Fault("status", None, path="/api/models", after=2, value=503)
    with hub.fault(fault), pytest.raises(IncompleteError):
        spectra.scan(filter=(TAG,))
    with hub.watched() as seen:
        assert len(spectra.scan(filter=(TAG,))) == 25
    pages = [r for r in seen if r.path == "/api/models"]
    assert len(pages) == 1
    assert "cursor" in pages[0].query


def test_the_cache_of_the_hubs_client_is_enough(hub, tmp_path, monkeypatch):
    """Offline too: what huggingface_hub has downloaded is read there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import close_session

    names = [f"owner-{i % 3}/{FORMATS[i % 5].__name__}-{i:04}" for i in (0, 5)]
    for name in names:
        snapshot_download(
            name,
            endpoint=hub.endpoint,
            cache_dir=str(tmp_path / "hf" / "hub"),
            token=TOKEN,
        )
    close_session()
    online = spectra.fit(spectra.scan(*names)).value
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with hub.watched() as seen:
        offline = spectra.fit(spectra.scan(*names)).value
    assert not seen
    assert [m.path for m in online.models] == [m.path for m in offline.models]
    for one, other in zip(online.layers, offline.layers, strict=True):
        assert (one.inner == other.inner).all()
    with pytest.raises(IncompleteError) as caught:
        spectra.scan("owner-2/kohya-0002")
    assert caught.value.code == "E_OFFLINE"


def test_a_basis_of_a_hub(hub, tmp_path):
    from spectra.study.basis import write_basis

    fitted(tmp_path / "run.h5")
    run = spectra.load(tmp_path / "run.h5")
    basis = write_basis(
        run.value, tmp_path / "basis.safetensors", k=2, axis="model"
    )
    assert set(basis.layers) == set(run.layers)


def test_a_hub_is_added_to_a_folder(hub, tmp_path):
    """Fetched whole, read by range, or there already: the fresh fit's bits."""
    for repo in (f"owner-{i % 3}/peft-{i:04}" for i in (0, 5)):
        for name, body in hub.repositories[repo].files.items():
            path = tmp_path / "local" / repo.split("/")[1] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
    run, fresh = tmp_path / "run.h5", tmp_path / "fresh.h5"
    local, query = tmp_path / "local", {"search": "00", "limit": 20}
    spectra.fit(spectra.scan(local), run)
    more = spectra.scan(**query)
    names = [model.path for model in more.value.models]
    grown = spectra.fit(more, run)
    assert (len(grown.models), grown.n_new) == (22, 20)
    with hub.watched() as seen:
        assert spectra.fit(more, run).n_new == 0
    assert not seen
    listed = tmp_path / "all.txt"
    listed.write_text("\n".join([str(local), *names]))
    spectra.fit(spectra.scan(f"@{listed}"), fresh)
    layers = (spectra.load(path).value.layers for path in (run, fresh))
    assert all(map(equal, *layers))


def test_a_commit_to_the_card_makes_no_new_member(hub, tmp_path):
    """Another commit of the weights does."""
    run = tmp_path / "run.h5"
    fitted(run)
    for name, file in (
        ("README.md", b"# Better"),
        ("style.safetensors", None),
    ):
        repo = hub.repositories["owner-2/kohya-0002"]
        other = hub.repositories["owner-1/kohya-0007"].files
        files = {**repo.files, name: file or other[name]}
        moved = dataclasses.replace(repo, files=files)
        hub.repositories[repo.id] = moved
        grown = spectra.fit(spectra.scan(repo.id), run)
        assert grown.n_new == int(file is None)
    names = [model.id for model in grown.models]
    assert f"{repo.id}/style@{moved.sha[:7]}" in names
    assert len(grown.models) == 26


def test_a_run_outlives_what_a_hub_takes_away(hub, tmp_path, monkeypatch):
    """Where it is in no cache either, nothing is added."""
    run = tmp_path / "run.h5"
    spectra.fit(spectra.scan(author="owner-0"), run)
    before = run.read_bytes()
    more = spectra.scan(author="owner-1")
    forget(monkeypatch, tmp_path / "elsewhere")
    del hub.repositories["owner-0/peft-0000"]
    with pytest.raises(UsageError, match=r"stays as it is.*peft-0000"):
        spectra.fit(more, run)
    assert run.read_bytes() == before
    forget(monkeypatch, tmp_path / "cache")
    assert spectra.fit(more, run).n_new == len(more)


def test_a_base_of_a_hub(monkeypatch):
    rng = np.random.default_rng(0)
    base = rng.standard_normal((9, 8)).astype("f4")
    shelf = [
        Repository(
            f"org/m{i}",
            {
                "model.safetensors": save(
                    {"w": base + i * rng.standard_normal((9, 8)).astype("f4")}
                ),
                "config.json": b"{}",
            },
        )
        for i in range(4)
    ]
    with serve(shelf, monkeypatch):
        run = spectra.fit(spectra.scan(author="org"), base="org/m0")
        assert run.value.layers[0].kind == "difference"
        assert len(run.models) == 3
        assert run.value.settings["base"].startswith("hf://org/m0@")


def test_nothing_to_look_at():
    with pytest.raises(UsageError, match="name a SOURCE"):
        spectra.scan()


def command(*words, **env) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spectra", *map(str, words)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
def test_one_command_from_a_query_to_a_report(tmp_path, monkeypatch):
    """200 repositories; then with each transient fault: equal bits."""
    with serve(repositories(200), monkeypatch, page=100) as hub:
        out = tmp_path / "clean"
        done = command("run", "--filter", TAG, "-o", out)
        assert done.returncode == 0, done.stderr
        clean = fitted(tmp_path / "clean.h5")
        of_command = spectra.load(out / "run.h5").value.layers
        of_fit = spectra.load(tmp_path / "clean.h5").value.layers
        assert all(map(equal, of_command, of_fit))
        report = json.loads((out / "report.json").read_text())
        assert report["population"]["n_models"] == 200
        assert TOKEN not in done.stdout + done.stderr
        for number, fault in enumerate(TRANSIENT):
            forget(monkeypatch, tmp_path / f"cache-{number}")
            with hub.fault(fault):
                found = fitted(tmp_path / f"{number}.h5")
            assert found == clean, fault


@pytest.mark.slow
def test_a_kill_in_the_middle_costs_what_was_in_flight(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    shelf = []
    for i in range(24):
        files = peft(rng)
        body = {"base_model.model.big.lora_A.weight": (3, 120_000),
                "base_model.model.big.lora_B.weight": (9, 3)}  # fmt: skip
        files["adapter_model.safetensors"] = save(
            {n: rng.standard_normal(s).astype("f4") for n, s in body.items()}
        )
        shelf.append(Repository(f"org/a{i:02}", files))
    size = len(shelf[0].files["adapter_model.safetensors"])
    with serve(shelf, monkeypatch) as hub:
        spectra.scan(author="org").save(tmp_path / "c.jsonl")
        words = ["fit", tmp_path / "c.jsonl", "-o", tmp_path / "run.h5"]
        before = hub.bytes_sent
        slow = Fault("slow", None, "cdn", value=0.3)
        with hub.fault(slow):
            child = subprocess.Popen(
                [sys.executable, "-m", "spectra", *map(str, words)]
            )
            while hub.bytes_sent < before + 9 * size:
                assert child.poll() is None, "it ended before it was killed"
                time.sleep(0.01)
            child.send_signal(signal.SIGKILL)
            child.wait()
        done = command(*words)
        assert done.returncode == 0, done.stderr
        spent = hub.bytes_sent - before
        in_flight = NetworkLimits().connections * size
        assert spent <= 24 * size + in_flight + 64 * 2**10


@pytest.mark.slow
def test_ten_thousand_repositories_are_listed_in_seconds(
    tmp_path, monkeypatch
):
    """Their files are looked at by name alone: none of them has weights."""
    files = {f"file-{i}.txt": b"" for i in range(20)}
    shelf = [
        Repository(f"many/m{i:05}", files, ("many",)) for i in range(10_000)
    ]
    code = (
        "import re, sys, time, spectra\n"
        "from pathlib import Path\n"
        "started = time.monotonic()\n"
        "catalog = spectra.scan(filter=('many',))\n"
        "seconds = time.monotonic() - started\n"
        "status = Path('/proc/self/status').read_text()\n"
        "peak = int(re.search(r'VmHWM:\\s+([0-9]+) kB', status)[1]) * 1024\n"
        "print(len(catalog.value.quarantine), seconds, peak)\n"
    )
    with serve(shelf, monkeypatch, page=1000):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=dict(os.environ), capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    count, seconds, peak = map(float, done.stdout.split())
    assert count == 10_000
    assert seconds < 30
    assert peak < 500 * 2**20


def test_parts_of_a_pipeline_are_found_by_their_files(monkeypatch):
    """Subfolders of a pipeline, trainers' checkpoints, and one that moved."""
    rng = np.random.default_rng(3)
    weights = save({"w": rng.standard_normal((6, 5)).astype("f4")})
    pipeline = {"model_index.json": b"{}", "README.md": b"# It"}
    for part in ("unet", "vae"):
        pipeline[f"{part}/config.json"] = b"{}"
        pipeline[f"{part}/diffusion_pytorch_model.safetensors"] = weights
        pipeline[f"{part}/diffusion_pytorch_model.fp16.safetensors"] = b""
    steps = {
        f"checkpoint-{n}/{name}": body
        for n in (10, 20)
        for name, body in peft(rng).items()
    }
    shelf = [
        Repository("org/pipeline", pipeline, (TAG,)),
        Repository("org/steps", steps, (TAG,)),
        Repository("org/old", moved_to="org/steps"),
    ]
    with serve(shelf, monkeypatch):
        catalog = spectra.scan("org/old", filter=(TAG,))
        assert [model.id for model in catalog.value.models] == [
            "org/pipeline/unet",
            "org/pipeline/vae",
            "org/steps/checkpoint-10",
            "org/steps/checkpoint-20",
        ]
        assert catalog.value.models[1].duplicate_of == "org/pipeline/unet"
        (moved,) = catalog.value.quarantine
        assert (moved.id, moved.code) == ("org/old", "MOVED")
        assert "org/steps" in moved.detail


def test_a_listing_that_ended_is_asked_for_again(hub):
    """Whether it ended by itself or since enough had been found."""
    for limit in (3, None):
        query = {"filter": (TAG,), "limit": limit}
        before = spectra.scan(**query).value.models[0]
        old = hub.repositories[before.id]
        new = dataclasses.replace(
            old, files={**old.files, f"{limit}.txt": b""}
        )
        hub.repositories[before.id] = new
        after = spectra.scan(**query).value.models[0]
        assert (before.revision, after.revision) == (old.sha, new.sha)
        assert old.sha != new.sha


@pytest.mark.parametrize("value", ["endless", "itself"])
def test_a_listing_without_an_end_is_no_population(hub, value):
    fault = Fault("next-link", None, path="/api/models", value=value)
    with hub.fault(fault), pytest.raises(IncompleteError) as caught:
        spectra.scan(filter=(TAG,))
    assert caught.value.code == "E_PAGINATION"
    assert len(hub.requests) < 50
    with hub.watched() as seen:
        assert len(spectra.scan(filter=(TAG,))) == 25
    assert "cursor" not in seen[0].query


def test_a_page_that_the_hub_no_longer_knows_costs_a_fresh_listing(hub):
    fault = Fault("status", None, path="/api/models", after=1, value=503)
    with hub.fault(fault), pytest.raises(IncompleteError):
        spectra.scan(filter=(TAG,))
    gone = Fault("status", None, path="/api/models", value=400)
    with hub.fault(gone), pytest.raises(IncompleteError):
        spectra.scan(filter=(TAG,))
    assert len(spectra.scan(filter=(TAG,))) == 25


def test_a_relation_is_one_to_a_base():
    with pytest.raises(UsageError, match="base_model"):
        spectra.scan(author="owner-0", relation="merge")
