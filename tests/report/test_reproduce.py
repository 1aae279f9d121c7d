"""The study that a page ends with is read back as what was asked for."""

from pathlib import Path
from typing import Any

import pytest

from spectra.core.settings import FitSettings, OverlapSettings, as_json
from spectra.report.reproduce import commands, study_lines
from spectra.study.studyfile import Study, read_study
from tests.report.sample import HOSTILE

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def again(report: dict[str, Any], folder: Path) -> Study:
    path = folder / "study.toml"
    path.write_text("\n".join(study_lines(report)), encoding="utf-8")
    return read_study(path)


def test_every_setting_comes_back(
    report: dict[str, Any], tmp_path: Path
) -> None:
    fit = FitSettings(base="org/base", layers=("*.q", 'a"b'), rank=8)
    overlap = OverlapSettings(
        k=(2, 8), null=("permuted-rows",), alpha=1e-5, ordered=True,
        groups={"a b": "one", "c": "two"},
    )  # fmt: skip
    report["settings"] = {"fit": as_json(fit), "overlap": as_json(overlap)}
    study = again(report, tmp_path)
    assert study.fit == fit
    assert study.overlap == overlap


def test_sources_of_a_hub_stand_at_their_commits(
    report: dict[str, Any], tmp_path: Path
) -> None:
    models = report["population"]["models"]
    for model in models:
        model["revision"] = COMMIT
    models[0]["id"] = models[1]["id"] = "org/many"
    models[1]["id"] += "/folder"
    study = again(report, tmp_path)
    assert study.population.sources[0] == f"org/many@{COMMIT}"
    assert len(study.population.sources) == len(models) - 1


def test_of_local_files_no_place_is_told(
    report: dict[str, Any], tmp_path: Path
) -> None:
    for model in report["population"]["models"]:
        model["revision"] = None
    text = "\n".join(study_lines(report))
    assert "# 20 of the checkpoints are files" in text
    assert "/pop/" not in text
    assert again(report, tmp_path).population.sources == (str(tmp_path),)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_strangers_stay_within_their_quotes(
    report: dict[str, Any], tmp_path: Path, name: str
) -> None:
    report["settings"]["overlap"]["groups"] = {name: name}
    study = again(report, tmp_path)
    assert study.overlap.groups is not None
    assert len(study.overlap.groups) == 1
    assert study.overlap.draws == report["settings"]["overlap"]["draws"]


def test_the_version_is_pinned(report: dict[str, Any]) -> None:
    assert commands(report)[0].endswith(f"=={report['version']}")
