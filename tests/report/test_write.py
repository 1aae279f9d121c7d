"""Files of a report: all of them, or the old ones."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

import spectra.report.exporters
from spectra.core.errors import StorageError, UsageError
from spectra.report import EXPORTERS, write
from spectra.report.wording import number
from spectra.study.studyfile import FORMATS
from spectra.subspaces.result import PopulationFit

ALL = tuple(exporter.name for exporter in EXPORTERS)
PLAIN = tuple(name for name in ALL if name != "parquet")


def turned_round(value: Any) -> Any:
    """Return the same JSON value with the keys in another order."""
    if isinstance(value, list):
        return [turned_round(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: turned_round(value[key]) for key in reversed(value)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_command_line_and_studies_know_every_format() -> None:
    assert FORMATS == ALL


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda e: e.name)
def test_a_format_writes_its_files(
    exporter: Any, report: dict[str, Any], fit: PopulationFit, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "folder"
    paths = write(report, fit, folder, formats=[exporter.name])
    assert paths == tuple(folder / name for name in exporter.files)
    assert set(contents(folder)) == set(exporter.files)
    for name, text in contents(folder).items():
        if name.endswith(".parquet"):
            assert text[:4] == text[-4:] == b"PAR1"
            continue
        assert len(text.decode("utf-8")) > 200
        assert b"\r" not in text
        assert text.endswith(b"\n")


def test_hostile_names_are_written_in_every_format(
    hostile_report: dict[str, Any], hostile_fit: PopulationFit, tmp_path: Path
) -> None:
    paths = write(hostile_report, hostile_fit, tmp_path, formats=PLAIN)
    for path in paths:
        text = path.read_bytes()
        assert b"\x1b" not in text
        assert path.suffix == ".json" or "\u202e".encode() not in text


def test_the_same_report_gives_the_same_bytes(
    report: dict[str, Any], fit: PopulationFit, tmp_path: Path
) -> None:
    again = turned_round(report)
    assert list(again["settings"]) != list(report["settings"])
    write(report, fit, tmp_path / "a", formats=ALL)
    write(again, fit, tmp_path / "b", formats=ALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_measured_report_is_written_in_every_format(
    measured: dict[str, Any], fit: PopulationFit, tmp_path: Path
) -> None:
    paths = write(measured, fit, tmp_path, formats=PLAIN)
    texts = {path.name: path.read_text(encoding="utf-8") for path in paths}
    for layer in measured["layers"]:
        shown = number(layer["output_side"]["overlap_mean"])
        assert shown in texts["report.html"]
        assert shown in texts["report.md"]
        assert repr(layer["model_axis"]["evr"]["7"]) in texts["layers.csv"]
    assert json.loads(texts["report.json"]) == measured


def test_an_unknown_format_writes_nothing(
    report: dict[str, Any], fit: PopulationFit, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"docx.*choose from html, json"):
        write(report, fit, tmp_path / "x", formats=["json", "docx"])
    assert not (tmp_path / "x").exists()


def test_a_full_disk_leaves_the_old_files(
    report: dict[str, Any], fit: PopulationFit, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write(report, fit, tmp_path, formats=ALL)
    before = contents(tmp_path)
    left = [3]

    def refuse(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(spectra.report.exporters.os, "fsync", refuse)
    report["verdict"]["text"] = "another"
    with pytest.raises(StorageError, match="No space left on device") as told:
        write(report, fit, tmp_path, formats=ALL)
    assert told.value.exit_code == 5
    assert contents(tmp_path) == before


def test_a_number_that_is_none_leaves_the_old_files(
    report: dict[str, Any], fit: PopulationFit, tmp_path: Path
) -> None:
    write(report, fit, tmp_path, formats=ALL)
    before = contents(tmp_path)
    report["layers"][0]["model_axis"]["energy"] = float("nan")
    with pytest.raises(ValueError, match=r"not JSON compliant|undefined"):
        write(report, fit, tmp_path, formats=ALL)
    assert contents(tmp_path) == before


def test_a_file_in_the_way_is_named(
    report: dict[str, Any], fit: PopulationFit, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(StorageError, match="taken"):
        write(report, fit, tmp_path / "taken", formats=["md"])
    assert (tmp_path / "taken").read_text() == "mine"


def test_every_file_is_on_disk_before_any_takes_its_name(
    report: dict[str, Any], fit: PopulationFit, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    steps = []
    fsync, replace = os.fsync, Path.replace

    def seen_fsync(descriptor: int) -> None:
        steps.append("fsync")
        fsync(descriptor)

    def seen_replace(self: Path, target: Path) -> Path:
        steps.append("replace")
        return replace(self, target)

    monkeypatch.setattr(spectra.report.exporters.os, "fsync", seen_fsync)
    monkeypatch.setattr(Path, "replace", seen_replace)
    write(report, fit, tmp_path, formats=["csv"])
    assert steps[: steps.index("replace")].count("fsync") >= 3
    assert steps.count("replace") == 3
    assert steps[-1] == "fsync"
