"""Figures for papers: what is in their files, and what is drawn."""

import errno
import os
import re
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.text import Text

import spectra.report.figures.written
from spectra.core.errors import StorageError
from spectra.report.figures import FIGURES, write_figures
from spectra.report.figures.overlap import MOST
from spectra.report.figures.style import WIDTH, shown, styled
from spectra.report.pairs import MEASURES, tree
from spectra.subspaces.result import PopulationFit
from tests.report.sample import fit_of, report_of

BY_NAME = {one.name: one for one in FIGURES}
ROOT = Path(__file__).resolve().parents[2]


def drawn(name: str, report: Any, fit: PopulationFit) -> Any:
    with styled():
        figure = BY_NAME[name].draw(report, fit)
        figure.draw_without_rendering()
    return figure


def words_of(svg: bytes) -> list[str]:
    """Return the texts that a reader of the file finds in it."""
    tree = ET.fromstring(svg)  # noqa: S314  # our own file
    return [node.text or "" for node in tree.findall(".//{*}text")]


def line_of(axes: Any, label: str) -> Any:
    (line,) = (each for each in axes.lines if each.get_label() == label)
    return line


@pytest.fixture(scope="module")
def written(tmp_path_factory: Any) -> dict[str, bytes]:
    """Return the files of a report with the hostile names of the sample."""
    fit = fit_of(20, 8, hostile=True)
    report = report_of(fit)
    folder = tmp_path_factory.mktemp("figures") / "new"
    paths = write_figures(report, fit, folder)
    assert {path.name for path in folder.iterdir()} == {p.name for p in paths}
    return {path.name: path.read_bytes() for path in paths}


def test_each_figure_is_written_as_svg_and_pdf(
    written: dict[str, bytes],
) -> None:
    names = ("depth", "scree", "held-out", "overlap")
    assert list(written) == [f"{n}.{f}" for n in names for f in ("svg", "pdf")]
    for name, content in written.items():
        if name.endswith(".pdf"):
            assert content.startswith(b"%PDF-")
            assert b"/FontFile2" in content  # TrueType, not drawn outlines
            assert b"/Type3" not in content
            (box,) = re.findall(rb"/MediaBox \[ 0 0 (\S+) ", content)
            assert float(box) == pytest.approx(72 * WIDTH)
            assert b"/CreationDate" not in content
        else:
            assert len(words_of(content)) > 5
            assert f'width="{72 * WIDTH:.0f}pt"'.encode() in content
            assert b"dc:date" not in content
            assert b"font-family: 'DejaVu Sans', sans-serif;" in content


def test_chance_and_units_stand_on_every_figure(
    written: dict[str, bytes],
) -> None:
    for name in BY_NAME:
        words = " ".join(words_of(written[f"{name}.svg"]))
        assert "chance" in words
    for name in ("depth", "scree", "held-out"):
        words = " ".join(words_of(written[f"{name}.svg"]))
        assert "(share of" in words or "Share of deviations" in words


def test_nothing_foreign_is_markup_in_a_file(
    written: dict[str, bytes],
) -> None:
    for content in written.values():
        assert b"<script" not in content
        assert b"<img" not in content
        assert "\u202e".encode() not in content
        assert b"\x1b[31m" not in content
    assert "a\\u202egnp.exe\\x1b[31m" in words_of(written["depth.svg"])


def test_dollars_and_backslashes_are_text(
    hostile_report: dict[str, Any], hostile_fit: PopulationFit
) -> None:
    names = ["$x^2$", r"\alpha \frac{1}{0}", "$", "\u8a9e.3.x"]
    for layer, name in zip(hostile_report["layers"], names, strict=False):
        layer["name"] = name
    figure = drawn("depth", hostile_report, hostile_fit)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:3] == names[:3]
    assert labels[3] == r"\u8a9e.*.x"
    assert not any(text.get_parse_math() for text in figure.findobj(Text))
    figure = drawn("scree", hostile_report, hostile_fit)
    assert not any(text.get_parse_math() for text in figure.findobj(Text))


def test_what_the_font_lacks_becomes_an_escape() -> None:
    assert shown("é π 語", 9) == "é π \\u8a9e"
    assert shown("W" * 300, 1.0).count("W") < 20
    assert shown("ab", 0.01) == "ab"


def test_equal_reports_give_equal_bytes_in_any_process(
    written: dict[str, bytes], tmp_path: Path
) -> None:
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from spectra.report.figures import write_figures\n"
        "from tests.report.sample import fit_of, report_of\n"
        "fit = fit_of(20, 8, hostile=True)\n"
        "write_figures(report_of(fit), fit, Path(sys.argv[1]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    (tmp_path / "matplotlibrc").write_text("font.size: 30\naxes.grid: True\n")
    more = {
        "PYTHONHASHSEED": "7",
        "SOURCE_DATE_EPOCH": "7",
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
    }
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "again")],
        env=os.environ | more,
        cwd=ROOT,
        check=True,
    )
    for name, content in written.items():
        assert (tmp_path / "again" / name).read_bytes() == content


def test_what_the_user_set_in_matplotlib_is_left_as_it_was(
    report: dict[str, Any], fit: PopulationFit
) -> None:
    before = dict(mpl.rcParams)
    drawn("depth", report, fit)
    assert dict(mpl.rcParams) == before


def test_depth_has_a_line_a_type_and_an_interval_a_layer(
    report: dict[str, Any], fit: PopulationFit
) -> None:
    names = [f"h.{i}.{t}" for t in ("q", "v") for i in (3, 0, 1)]
    for i, layer in enumerate(report["layers"]):
        layer["name"] = [*names, "head", "h.2.q"][i]
        layer["model_axis"]["held_out"]["effect"] = {
            "k": 1, "value": i / 10, "low": i / 10 - 0.01, "high": i / 10 + 1,
        }  # fmt: skip
    report["layers"][4]["model_axis"]["held_out"]["effect"]["value"] = None
    (axes,) = drawn("depth", report, fit).axes
    q = line_of(axes, "h.*.q")
    assert np.round(q.get_xdata()).tolist() == [0, 1, 2, 3]
    assert q.get_ydata() == pytest.approx([0.1, 0.2, 0.7, 0.0])
    v = line_of(axes, "h.*.v")
    assert np.round(v.get_xdata()).tolist() == [1, 3]
    head = line_of(axes, "head")
    assert np.round(head.get_xdata()).tolist() == [5]
    assert [t.get_text() for t in axes.get_xticklabels()][-1] == "none"
    assert list(line_of(axes, "chance").get_ydata()) == [0, 0]
    ends = np.concatenate(
        [
            [segment[:, 1] for segment in each.get_segments()]
            for each in axes.collections
        ]
    )
    assert sorted(map(tuple, ends.round(2))) == sorted(
        (round(i / 10 - 0.01, 2), round(i / 10 + 1, 2))
        for i in (0, 1, 2, 3, 5, 6, 7)
    )


def test_types_beyond_the_colours_stay_grey(
    report: dict[str, Any], fit: PopulationFit
) -> None:
    for i, layer in enumerate(report["layers"]):
        layer["name"] = f"layers.{i}.experts.{i}.w"
    figure = drawn("depth", report, fit)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[-2:] == ["1 other type", "chance"]
    assert labels[0] == "0.w"
    assert figure.legends[0].get_title().get_text() == "layers.*.experts.…"


def test_scree_shows_the_reports_own_shares(
    measured: dict[str, Any], fit: PopulationFit
) -> None:
    figure = drawn("scree", measured, fit)
    effects = [
        layer["model_axis"]["held_out"]["effect"]["value"]
        for layer in measured["layers"]
    ]
    best = measured["layers"][int(np.argmax(effects))]["model_axis"]
    values = [v for v in best["eigenvalues"] if v is not None]
    shares = np.array(values) / best["energy"]
    scree, cumulated = figure.axes[0], figure.axes[3]
    assert scree.lines[0].get_ydata() == pytest.approx(shares)
    assert scree.lines[1].get_ydata() == pytest.approx([1 / 19] * 2)
    observed = line_of(cumulated, "observed").get_ydata()
    for level, share in best["evr"].items():
        assert observed[int(level)] == pytest.approx(share)
    null = best["null"]["strength"]["evr"]
    line = line_of(cumulated, "null, mean to 95 %")
    for k, mean in zip(line.get_xdata(), line.get_ydata(), strict=True):
        assert mean == null[str(k)]["mean"]
    (band,) = cumulated.collections
    tops = {tuple(vertex) for vertex in band.get_paths()[0].vertices}
    assert {(int(k), null[k]["q95"]) for k in null} <= tops


@pytest.mark.parametrize(("floor", "is_drawn"), [(0.01, True), (1e-9, False)])
def test_the_floor_is_drawn_or_written(
    floor: float, is_drawn: bool, report: dict[str, Any], fit: PopulationFit
) -> None:
    for layer in report["layers"]:
        layer["model_axis"]["floor"] = floor * layer["model_axis"]["energy"]
    axes = drawn("scree", report, fit).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ([] if is_drawn else ["floor 1e-09"])
    if is_drawn:
        (span,) = axes.patches
        assert span.get_height() == pytest.approx(floor)


def test_held_out_is_median_and_range_over_layers(
    report: dict[str, Any], fit: PopulationFit
) -> None:
    rng = np.random.default_rng(0)
    values: dict[int, list[float]] = {1: [], 4: []}
    for layer in report["layers"]:
        found = {str(k): float(rng.random()) for k in values}
        layer["model_axis"]["held_out"]["captured"] = found | {"16": None}
        for k, each in values.items():
            each.append(found[str(k)])
    (axes,) = drawn("held-out", report, fit).axes
    line = line_of(axes, "population's directions")
    assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == {
        k: statistics.median(each) for k, each in values.items()
    }
    vertices = axes.collections[0].get_paths()[0].vertices
    for k, each in values.items():
        at_k = vertices[vertices[:, 0] == k, 1]
        assert (at_k.min(), at_k.max()) == (min(each), max(each))
    assert axes.get_legend().get_title().get_text() == (
        "median and range, 8 layers"
    )


def test_the_map_is_of_the_most_shared_layer_in_clustered_order(
    report: dict[str, Any], fit: PopulationFit
) -> None:
    report["layers"][5]["model_axis"]["held_out"]["effect"]["low"] = 0.5
    models = report["population"]["models"]
    for i, model in enumerate(models):
        model["group"], model["init_group"] = (0 if i < 3 else i), None
    figure = drawn("overlap", report, fit)
    layer = fit.layers[5]
    _, _, strips, _, output, *_ = figure.axes
    measure = MEASURES[1]
    matrix = measure.matrix(layer)
    order = tree(matrix).order
    np.fill_diagonal(matrix, np.nan)
    shown_map = output.images[0].get_array().filled(np.nan)
    np.testing.assert_array_equal(shown_map, matrix[np.ix_(order, order)])
    lineage, start = np.asarray(strips.images[0].get_array())
    own = [tuple(lineage[place]) for place in range(20) if order[place] < 3]
    alone = {tuple(lineage[p]) for p in range(20) if order[p] >= 3}
    assert len(own) == 3
    assert len(set(own)) == 1
    assert len(alone) == 1
    assert own[0] not in alone
    assert {tuple(cell) for cell in start} == alone
    texts = [axes.get_xlabel() for axes in figure.axes]
    assert f"overlap (chance {4 / 48:.2g})" in texts
    assert f"overlap (chance {4 / 32:.2g})" in texts


def test_the_trees_join_members_at_one_less_their_mean_overlap(
    report: dict[str, Any], fit: PopulationFit
) -> None:
    report["layers"][5]["model_axis"]["held_out"]["effect"]["low"] = 0.5
    figure = drawn("overlap", report, fit)
    for measure, branches, overlaps, width in zip(
        MEASURES[1:], figure.axes[:2], figure.axes[4:6], (48, 32), strict=True
    ):
        (lines,) = branches.collections
        tops = [segment[1, 1] for segment in lines.get_segments()]
        joins = tree(measure.matrix(fit.layers[5])).joins
        assert sorted(tops) == pytest.approx(sorted(1 - joins))
        (chance,) = branches.lines
        assert list(chance.get_ydata()) == pytest.approx([1 - 4 / width] * 2)
        assert branches.get_xlim() == overlaps.get_xlim()
        low, high = branches.get_ylim()
        assert low == 0
        assert high > max(*tops, 1 - 4 / width)
    assert figure.axes[0].get_ylabel() == "1 − overlap"


def test_of_many_members_some_are_drawn_and_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
    report: dict[str, Any], fit: PopulationFit,
) -> None:  # fmt: skip
    assert MOST == 1000
    monkeypatch.setattr("spectra.report.figures.overlap.MOST", 6)
    figure = drawn("overlap", report, fit)
    assert figure.axes[4].get_ylabel() == "5 of 20 members"
    assert figure.axes[4].images[0].get_array().shape == (5, 5)


def test_what_cannot_be_held_out_is_told_in_its_place(
    report: dict[str, Any], fit: PopulationFit
) -> None:
    for layer in report["layers"]:
        layer["model_axis"] = {"eigenvalues": None, "held_out": None}
    told = {
        name: [
            text.get_text()
            for axes in drawn(name, report, fit).axes
            for text in axes.texts
        ]
        for name in BY_NAME
    }
    assert told.pop("scree") == ["no layer has a spectrum"]
    assert set(map(tuple, told.values())) == {("no layer could be held out",)}


def test_a_full_disk_leaves_the_old_figures(
    report: dict[str, Any], fit: PopulationFit, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("depth.svg", "depth.pdf"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(spectra.report.figures.written, "FIGURES", FIGURES[:1])
    left = [1]

    def refuse(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(spectra.report.figures.written.os, "fsync", refuse)
    with pytest.raises(StorageError, match="No space left on device"):
        write_figures(report, fit, tmp_path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "depth.svg": "old", "depth.pdf": "old",
    }  # fmt: skip
