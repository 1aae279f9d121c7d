"""The house rules that no linter checks."""

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "spectra"
MODULES = sorted(PACKAGE.rglob("*.py"))
SECTION = re.compile(r"^ *Parameters\n *-{10}$", re.MULTILINE)
MAX_LINES = 400

EXECUTES_DATA = {
    "__import__",
    "compile",
    "eval",
    "exec",
    "joblib.load",
    "os.popen",
    "os.system",
    "pickle.load",
    "pickle.loads",
    "torch.load",
    "yaml.load",
}
"""Calls that can run code that came with a checkpoint."""

RUN_MODELS = {
    "apply/adaptation/hooks.py",
    "apply/extraction/adapted.py",
    "apply/extraction/network.py",
}
"""Modules that hold a model of torch; whoever calls them has it."""


def module_id(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the name of every module imported, `import_module` included."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(name)):
                yield name
            case ast.Call(args=[ast.Constant(value=str(name)), *_]) if (
                ast.unparse(node.func).endswith("import_module")
            ):
                yield name


def dangers(tree: ast.AST) -> Iterator[str]:
    """Yield each call that could execute what a checkpoint contains."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in EXECUTES_DATA or any(
            keyword.arg in {"allow_pickle", "trust_remote_code", "shell"}
            for keyword in node.keywords
        ):
            yield f"line {node.lineno}: {name}"


def exported(tree: ast.Module) -> set[str] | None:
    """Return the names in ``__all__``, or None where there is none."""
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "__all__"
        ):
            return set(ast.literal_eval(node.value))
    return None


def defined(tree: ast.Module) -> set[str]:
    """Return the public functions and classes a module defines."""
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    }


def public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Yield public functions, and public methods of public classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (
                item for item in node.body if isinstance(item, ast.FunctionDef)
            )


def undocumented(function: ast.FunctionDef) -> set[str]:
    """Return the parameters that a docstring with sections leaves out."""
    text = ast.get_docstring(function) or ""
    if function.name.startswith("_") or not SECTION.search(text):
        return set()
    arguments = function.args
    names = {
        argument.arg
        for argument in (
            *arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs
        )
    }  # fmt: skip
    entries = re.split(SECTION, text, maxsplit=1)[1].split("\n\n", 1)[0]
    documented = {
        name.strip().strip("*`")
        for line in entries.splitlines()
        if line and not line.startswith(" ")
        for name in line.split(":")[0].split(",")
    }
    return names - documented - {"self", "cls"}


def test_the_package_is_found() -> None:
    assert PACKAGE / "core" / "errors.py" in MODULES


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_public_names_are_in_all(path: Path) -> None:
    tree = parse(path)
    names = exported(tree)
    if names is None:
        assert not defined(tree), "a module that defines has an __all__"
    else:
        assert defined(tree) <= names


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_docstring_is_one_line_or_complete(path: Path) -> None:
    missing = {
        function.name: names
        for function in public_functions(parse(path))
        if (names := undocumented(function))
    }
    assert missing == {}


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_module_is_one_idea(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_nothing_from_a_checkpoint_is_executed(path: Path) -> None:
    assert list(dangers(parse(path))) == []


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "core").rglob("*.py")), ids=module_id
)
def test_core_imports_the_standard_library_only(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(parse(path))}
    assert tops <= sys.stdlib_module_names | {"spectra"}


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_only_the_backend_knows_devices(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(parse(path))}
    if path.relative_to(PACKAGE).parts[0] != "backend":
        seen = tops & {"cupy", "cupyx", "torch"}
        assert seen == ({"torch"} if module_id(path) in RUN_MODELS else set())


def declared(*extras: str) -> set[str]:
    """Return the distributions that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    table = project["project"]
    wanted = list(table["dependencies"])
    for extra in extras:
        wanted += table["optional-dependencies"][extra]
    return {canonical(re.split(r"[<>=\[ ]", item)[0]) for item in wanted}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("folder", "ours", "extras"),
    [
        ("spectra", set(), ("dist", "table", "features", "figures")),
        ("tests", {"spectra", "analyses", "benchmarks"}, ("table", "test")),
        ("benchmarks", {"spectra", "tests"}, ("table", "test", "bench")),
    ],
)
def test_what_is_imported_is_declared(
    folder: str, ours: set[str], extras: tuple[str, ...]
) -> None:
    tops = {
        name.split(".")[0]
        for path in (ROOT / folder).rglob("*.py")
        for name in imported(parse(path))
    }
    optional = {"cupy", "cupyx", "torch"} if folder == "spectra" else {"cupy"}
    tops -= sys.stdlib_module_names | optional | ours | {folder}
    owners = packages_distributions()
    found = {
        top: {canonical(owner) for owner in owners.get(top, [top])}
        for top in tops
    }
    wanted = declared(*extras)
    assert [top for top, owner in found.items() if not owner & wanted] == []


# The checks themselves, on code that breaks each rule.


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_dangers_are_seen(line: str) -> None:
    assert len(list(dangers(ast.parse(line)))) == 1


def test_a_forgotten_parameter_is_seen() -> None:
    source = inspect.cleandoc('''
        def f(x, /, y, *, z):
            """Return x.

            Parameters
            ----------
            x, y
                Numbers.
            """
        ''')
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert undocumented(function) == {"z"}


def test_a_dynamic_import_is_seen() -> None:
    tree = ast.parse("importlib.import_module('torch.linalg')")
    assert list(imported(tree)) == ["torch.linalg"]
