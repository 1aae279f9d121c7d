"""``fit --metrics``: each member's numbers are those that inspect shows."""

import json

import numpy as np
import pytest

import spectra
from spectra.core.errors import UsageError
from spectra.core.settings import OverlapSettings
from spectra.statistics.spectrum.layer_score import layer_score
from spectra.statistics.spectrum.panel import NUMBERS
from spectra.weights.stream import TensorReader
from tests.checkpoints import adapters, dense, write_dense
from tests.cli.test_cli import spectra as typed

SHAPES = {"a": (40, 30), "b": (24, 60)}


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """Return six checkpoints, one of them a copy, and one that is broken."""
    folder = tmp_path_factory.mktemp("p")
    place, members, _ = dense(folder, 6, SHAPES)
    write_dense(place / "m06-copy", members["m00"])
    write_dense(place / "m07-bad", {n: np.full(s, np.nan)
                                    for n, s in SHAPES.items()})  # fmt: skip
    return place


@pytest.fixture(scope="module")
def run(population, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run.h5"
    spectra.fit(spectra.scan(population), out, metrics=True)
    return spectra.load(out)


def test_each_row_is_that_of_inspect(run, population):
    rows = run.metrics()
    assert len(rows) == 2 * 6
    for row in rows:
        shown = spectra.inspect(population / row["id"]).layers
        (alone,) = [layer for layer in shown if layer["name"] == row["layer"]]
        assert row["alpha_status"] == alone["alpha_status"]
        for name in NUMBERS:
            assert row[name] == alone[name], name


def test_a_report_has_their_spread_and_the_score(run):
    report = spectra.overlap(run, alpha_std=9.0, alpha_score=0.0)
    settings = OverlapSettings(alpha_std=9.0, alpha_score=0.0)
    rows, scores = run.metrics(), []
    for layer in report.layers:
        own = [row for row in rows if row["layer"] == layer["name"]]
        for name, spread in layer["metrics"].items():
            values = [row[name] for row in own if row[name] is not None]
            assert spread["n"] == len(values)
            assert spread["mean"] == pytest.approx(np.mean(values))
            assert spread["std"] == pytest.approx(np.std(values), abs=1e-12)
            assert spread["min"] == min(values)
            assert spread["max"] == max(values)
        score = layer_score([row["alpha"] for row in own], settings)
        said = layer["alpha_score"]
        assert said["q"] == pytest.approx(score.q)
        assert said["retained"] == score.retained
        scores.append(score)
    together = report.document["alpha_score"]
    assert together["n_layers"] == 2
    assert together["n_retained"] == sum(s.retained for s in scores)
    assert together["q_all"] == pytest.approx(
        np.sqrt(scores[0].q * scores[1].q)
    )


def test_the_reports_show_them(population, tmp_path):
    done = typed("run", population, "-o", tmp_path / "out", "--metrics")
    assert done.returncode == 3, "one is broken"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    score = report["alpha_score"]
    assert f"layer score: q_all {score['q_all']:.3f}" in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Checkpoints one by one" in page
    mean = report["layers"][0]["metrics"]["stable_rank"]["mean"]
    assert f"<td>{mean:.3f}</td>" in page


def test_without_there_are_none(population):
    run = spectra.fit(spectra.scan(population))
    assert run.metrics() == []
    document = spectra.overlap(run).document
    assert document["alpha_score"] is None
    assert "--metrics" in document["alpha_score_reason"]
    for layer in document["layers"]:
        assert layer["metrics"] is None
        assert layer["alpha_score"] is None


def test_of_adapters_and_differences(tmp_path):
    folder, members = adapters(tmp_path / "a", [3] * 5, {"q": (14, 11)})
    run = spectra.fit(spectra.scan(folder), metrics=True)
    for row in run.metrics():
        A, B, scale = members[row["id"]]["q"]
        assert row["norm"] == pytest.approx(np.linalg.norm(scale * B @ A))
        assert row["num_spikes"] is None
    place, tuned, base = dense(tmp_path / "d", 5, {"w": (14, 11)}, spread=0.1)
    run = spectra.fit(
        spectra.scan(place), base=str(tmp_path / "d" / "base"), metrics=True
    )
    for row in run.metrics():
        moved = np.linalg.norm(tuned[row["id"]]["w"] - base["w"])
        assert row["norm"] == pytest.approx(moved, rel=1e-5)


def test_plan_knows_what_is_read(population, monkeypatch):
    catalog = spectra.scan(population)
    planned = catalog.plan(metrics=True)
    honest, read = TensorReader.read, []

    def counted(self, ref, start, stop):
        read.append((stop - start) * ref.nbytes // ref.size)
        return honest(self, ref, start, stop)

    monkeypatch.setattr(TensorReader, "read", counted)
    spectra.fit(catalog, metrics=True)
    assert 1 / 1.5 < planned.bytes_to_read / sum(read) < 1.5


def shown(report):
    return [layer["name"] for layer in report.layers]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Return a run, and thresholds that retain one of its two layers."""
    folder = tmp_path_factory.mktemp("scored")
    members, _, _ = dense(folder, 6, SHAPES, seed=3)
    spectra.fit(spectra.scan(members), folder / "run.h5", metrics=True)
    run = spectra.load(folder / "run.h5")
    whole = spectra.overlap(run)
    scores = {x["name"]: x["alpha_score"]["q"] for x in whole.layers}
    kept = max(scores, key=scores.__getitem__)
    wide = {"alpha_std": 99.0, "alpha_high": 99.0, "alpha_in_range": 0.0}
    between = sum(scores.values()) / 2
    return members, run, kept, {**wide, "alpha_score": between}


def test_retained_layers_alone_are_reported(scored):
    _, run, kept, limits = scored
    whole = spectra.overlap(run, **limits)
    assert [x["alpha_score"]["retained"] for x in whole.layers].count(
        True
    ) == 1
    part = spectra.overlap(run, layers=["retained"], **limits)
    assert shown(part) == [kept]
    assert part.document["settings"]["overlap"]["layers"] == ["retained"]
    assert part.verdict.endswith("; --layers left out 1 layer of the run.")
    assert "--layers" not in whole.verdict
    # It is the layer as the whole report has it, but for its neighbours' p.
    (same,) = [x for x in whole.layers if x["name"] == kept]
    for key in ("metrics", "alpha_score", "shape", "input_side"):
        assert part.layers[0][key] == same[key]
    assert part.document["population"]["n_groups"] == 6
    assert part.document["alpha_score"]["n_layers"] == 1


def test_layers_of_a_report_are_named_by_globs_too(scored):
    _, run, kept, limits = scored
    (other,) = set(SHAPES) - {kept}
    assert shown(spectra.overlap(run, layers=[f"{other}*"])) == [other]
    both = spectra.overlap(run, layers=[other, "retained"], **limits)
    assert shown(both) == sorted(SHAPES)


def test_no_layer_is_left(scored, population, tmp_path):
    members, run, _, limits = scored
    with pytest.raises(UsageError, match="none of 2 layers") as none:
        spectra.overlap(
            run, layers=["retained"], **limits | {"alpha_low": 98.0}
        )
    assert none.value.code == "E_NO_LAYER"
    bare = spectra.fit(spectra.scan(population), tmp_path / "bare.h5")
    with pytest.raises(UsageError, match="no layer scores") as unknown:
        spectra.overlap(bare, layers=["retained"])
    assert unknown.value.code == "E_NO_LAYER"
    with pytest.raises(UsageError, match="when all are fitted") as early:
        spectra.fit(spectra.scan(members), layers=["retained"])
    assert early.value.code == "E_NO_LAYER"


def test_run_reports_on_retained_layers(scored, tmp_path):
    """It asks for the metrics itself, and fits only what globs match."""
    members, _, kept, limits = scored
    (tmp_path / "study.toml").write_text(
        "[population]\n"
        f"sources = [{str(members)!r}]\n"
        "[overlap]\n" + "\n".join(f"{k} = {v}" for k, v in limits.items())
    )
    for globs in (["retained"], ["retained", "--layers", "[ab]"]):
        done = typed("run", str(tmp_path / "study.toml"), "--json", "-o",
                     str(tmp_path / "out"), "--layers", *globs)  # fmt: skip
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert [x["name"] for x in document["layers"]] == [kept]
        assert document["settings"]["fit"]["metrics"]
