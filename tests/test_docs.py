"""The documents say what the code does, no less and no more."""

import ast
import dataclasses
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import spectra
from spectra.align.permutation import NULLS as ALIGNED_NULLS
from spectra.backend.memory import parse_bytes
from spectra.core.tensors import DTYPE_BITS
from spectra.report.wording import VERDICTS
from spectra.statistics.nulls.table import NULLS
from spectra.statistics.sides.null import side_nulls
from spectra.statistics.trajectory.changes import CITE, KEEPS
from spectra.study.studyfile import Study

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    {*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "cache" / "README.md"}
)
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
ONE_WORD_CODE = re.compile(r"[A-Z]{5,}")
ENVIRONMENT = ("HF_", "NUMPY_", "OMP_", "OPENBLAS_", "SPECTRA_", "XDG_")
MACHINE = re.compile(
    r"/(?:root|work|home/\w+)/|pythonhos[t]ed|py[p]i\.org|127\.0\.0\.1"
)
NAMED_BY_DATA = {"counts", "environment", "null", "settings"}
"""Keys whose own keys are names of something, not part of the schema."""
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def strings(tree: ast.AST) -> set[str]:
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def exported(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "__all__"
        ):
            return strings(node.value)
    return set()


def with_details(tree: ast.AST) -> set[str]:
    """Return strings that a text with a space follows: a code, a detail."""
    rows = [
        node.elts if isinstance(node, ast.Tuple) else node.args
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple | ast.Call)
    ]
    return {
        first.value
        for row in rows
        for first, second in itertools.pairwise(row)
        if isinstance(first, ast.Constant)
        and isinstance(first.value, str)
        and " " in ast.unparse(second)
    }


def codes_of(tree: ast.Module) -> set[str]:
    """Return every code that a module gives to something it raises."""
    found = {text for text in strings(tree) if CODE.fullmatch(text)}
    found |= {t for t in with_details(tree) if ONE_WORD_CODE.fullmatch(t)}
    return {
        code
        for code in found - exported(tree) - DTYPE_BITS.keys()
        if not code.startswith(ENVIRONMENT)
    }


def codes_in_source() -> set[str]:
    trees = (
        ast.parse(path.read_text(encoding="utf-8"))
        for path in (ROOT / "spectra").rglob("*.py")
    )
    return set().union(*map(codes_of, trees))


def rows(page: str) -> Iterator[list[str]]:
    """Yield the cells of each row that begins with a name in code type."""
    for line in page.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def first_cells(page: str) -> set[str]:
    """Return the names in code type that begin the rows of tables."""
    return {
        name
        for first, *_ in rows(page)
        for name in re.findall(r"`([^`]+)`", first)
    }


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the report of six small fine-tunes and one broken file."""
    folder = tmp_path_factory.mktemp("population")
    base = tmp_path_factory.mktemp("base")
    rng = np.random.default_rng(0)
    for i in range(7):
        weights = {
            name: rng.standard_normal((12, 10), dtype=np.float32)
            for name in ("first.weight", "second.weight")
        }
        place = folder / f"member-{i}" if i < 6 else base
        place.mkdir(exist_ok=True)
        save_file(weights, place / "model.safetensors")
    (folder / "broken").mkdir()
    (folder / "broken" / "model.safetensors").write_bytes(b"no")
    run = spectra.fit(spectra.scan(folder), base=str(base))
    return spectra.overlap(run).document


def words_in_code_type(page: str) -> set[str]:
    return {
        part
        for text in re.findall(r"`([^`\n]+)`", page)
        for part in text.split(".")
    }


def keys_of(value: Any) -> Iterator[str]:
    """Yield every key of a report; levels of k are no keys."""
    if isinstance(value, list):
        for item in value:
            yield from keys_of(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not key.isdecimal():
                yield key
            if key == "null" and item:
                yield from (k for row in item.values() for k in keys_of(row))
            elif key not in NAMED_BY_DATA:
                yield from keys_of(item)


def test_every_key_of_a_report_is_explained(report: dict[str, Any]) -> None:
    explained = words_in_code_type(text_of("report.md"))
    keys = {k for k in keys_of(report) if not k.endswith("_reason")}
    assert keys - explained == set()


def test_every_explained_key_is_in_a_report(report: dict[str, Any]) -> None:
    explained = {
        part
        for cell in first_cells(text_of("report.md")) - VERDICTS.keys()
        for part in cell.split(".")
    }
    assert explained - set(keys_of(report)) == set()


def test_the_keys_of_a_training_run_are_explained(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for step in range(8):
        folder = tmp_path / f"step-{step}"
        folder.mkdir()
        weights = rng.standard_normal((12, 10), dtype=np.float32)
        save_file({"w.weight": weights}, folder / "model.safetensors")
    run = spectra.fit(spectra.scan(tmp_path))
    document = spectra.overlap(run, ordered=True).document
    (layer,) = document["layers"]
    found = [document["trajectory"], layer["trajectory"]]
    keys = {k for k in keys_of(found) if not k.endswith("_reason")}
    page = text_of("trajectory.md")
    assert keys - words_in_code_type(page) == set()
    assert first_cells(page) - keys == set()
    assert "trajectory" in words_in_code_type(text_of("report.md"))


def test_every_code_is_documented() -> None:
    assert codes_in_source() - first_cells(text_of("codes.md")) == set()


def test_every_documented_code_is_raised() -> None:
    assert first_cells(text_of("codes.md")) - codes_in_source() == set()


def test_every_code_is_met_in_a_test() -> None:
    """By its name, in a text that the test expects."""
    trees = (
        ast.parse(path.read_text(encoding="utf-8"))
        for path in (ROOT / "tests").rglob("*.py")
    )
    words = {
        word
        for tree in trees
        for text in strings(tree)
        for word in re.findall(r"\w+", text)
    }
    assert first_cells(text_of("codes.md")) - words == set()


def test_codes_are_seen() -> None:
    tree = ast.parse('raise Quarantine("NONFINITE", "3 values")\nx = "ST_A"')
    assert codes_of(tree) == {"NONFINITE", "ST_A"}


def defaults_of_a_study() -> dict[str, Any]:
    tables = [
        getattr(Study(), table.name) for table in dataclasses.fields(Study)
    ]
    return {
        key.name: getattr(table, key.name)
        for table in tables
        for key in dataclasses.fields(table)
    }


def test_the_keys_of_a_study_are_documented() -> None:
    documented = {
        name.strip("`"): default.strip("`")
        for name, default, _ in rows(text_of("study.md"))
    }
    defaults = defaults_of_a_study()
    assert documented.keys() == defaults.keys()
    stated = {
        name: tomllib.loads(f"value = {text}")["value"]
        for name, text in documented.items()
        if text not in {"none", "all", "all four"}
    }
    for name in ("max_stream", "memory"):
        stated[name] = parse_bytes(stated[name])
    assert stated == {name: defaults[name] for name in stated}


@pytest.mark.parametrize("page", ["glossary.md", "report.md"])
def test_every_verdict_is_explained(page: str) -> None:
    mark = "**{}**" if page == "glossary.md" else "`{}`"
    text = text_of(page)
    assert [v for v in VERDICTS if mark.format(v) not in text] == []


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = [path.parent / target for target in LINK.findall(text)]
    assert [target for target in targets if not target.exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_no_place_of_one_machine_is_named(path: Path) -> None:
    assert MACHINE.findall(path.read_text(encoding="utf-8")) == []


def test_the_constraints_name_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    versions = re.compile(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.]*( ; .+)?")
    assert [line for line in lines if not versions.fullmatch(line)] == []
    assert "torch==2.13.0" in lines


def test_what_the_code_cites_is_among_the_references():
    """Each "Surname 1901" and each "Surname (1901)" of the code."""
    listed = [
        " ".join(entry.split())
        for entry in text_of("references.md").split("\n- ")
    ]
    name = r"[A-Z][a-zö]+"
    others = rf"(?:, {name})* and {name}| et al\."
    cited = re.compile(rf"({name})(?:{others})?,? \(?((?:19|20)\d\d)\b")
    found = {
        match.groups()
        for path in (ROOT / "spectra").rglob("*.py")
        for match in cited.finditer(" ".join(path.read_text("utf-8").split()))
    }
    assert {("Bartlett", "1933"), ("Edmonds", "1967")} <= found
    assert not [
        (surname, year)
        for surname, year in found
        if not any(e.startswith(f"{surname}, ") and year in e for e in listed)
    ]


def test_every_null_is_in_the_table_of_nulls():
    """By name, with what its draws keep and whom it is from."""
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in text_of("nulls.md").splitlines()
        if line.startswith("|")
    ]
    drawn = (*NULLS, *side_nulls(np.full(4, 0.1), 2, 8))
    cited = {(null.name, null.keeps, null.cite) for null in drawn}
    assert len(cited) == 7
    assert cited <= {(name, keeps, cite) for name, keeps, _, cite, _ in rows}
    assert (KEEPS, CITE) in {(row[1], row[3]) for row in rows}
    aligned = {(null.name, null.keeps) for null in ALIGNED_NULLS}
    assert aligned <= {(name, keeps) for name, keeps, *_ in rows}
