"""The house rules that a machine can check: layers, light imports, sizes, docstrings, what is never used.

Everything here reads the source; only the import tests run it, each in a process of its own.
"""

from __future__ import annotations

import ast
import graphlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "tellapart"
#: A module imports from its own package and from the rows above it, never from its neighbors in a row.
LAYERS = (
    ("terminal",),
    ("errors", "progress"),
    ("types", "regular_files", "os_errors"),
    ("formatting", "io", "plain_data", "registry", "spreadsheet"),
    ("places",),
    ("recipe",),
    ("metrics", "combiners"),
    ("calibration",),
    ("data",),
    ("augmentations", "nets"),
    ("features",),
    ("training",),
    ("classifiers",),
    ("runs",),
    ("leaderboards", "search"),
    ("exporters",),
    ("inference",),
    ("checks", "perturbations", "explainers", "forgeries"),
    ("alignment",),
    ("plugins",),
    ("workflows",),
    ("reports", "sklearn"),
    ("server",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}
#: tellapart itself: it names everything and imports nothing until asked; only the command line reads it.
FACADE = "__init__"
BY_NAME = {"registry.py", "__init__.py", "plugins/__init__.py"}  # may import modules by a computed name
FILE_LINES, FUNCTION_LINES, MEDIAN_LINES = 350, 50, 12
HEAVY = ("torch", "torchvision", "pandas", "numpy", "scipy", "sklearn", "skimage", "matplotlib", "pyarrow", "PIL")
VAGUE = {"util", "utils", "helper", "helpers", "manager", "factory", "misc", "common"}
#: Dataclasses that hold a state on purpose; all others are frozen.
STATES = {"Context", "Outcome"}

FILES = sorted(ROOT.rglob("*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def test_every_module_has_a_layer() -> None:
    assert {layer_of(name) for name in TREES} - {FACADE} <= set(RANK)


def test_imports_go_one_way() -> None:
    wrong = []
    for name, tree in TREES.items():
        own = layer_of(name)
        for line, target in imports(tree, name):
            if own != FACADE and target != own and not _may_import(own, target):
                wrong.append(f"{name}:{line}: {own} imports {target}, which is not to its left")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """No circle of imports, within a package either, be they at the top or inside a function.

    Not counted: what stands under `if TYPE_CHECKING:`, which never runs; and that importing a module runs the `__init__` of its
    package first. So an `__init__` may import its members as long as none of them imports from it.
    """
    try:
        graphlib.TopologicalSorter(module_graph(TREES)).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' ← '.join(error.args[1])}")


def test_a_circle_of_imports_is_seen() -> None:
    sources = {
        "a/__init__.py": "from tellapart.a.one import One",
        "a/one.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tellapart.a import two",
        "a/two.py": "def f():\n    from tellapart.a.one import One\n    from . import three",
        "a/three.py": "import tellapart.a.one",
    }
    trees = {name: ast.parse(text) for name, text in sources.items()}
    graph = module_graph(trees)
    assert graph == {
        "a/__init__.py": {"a/one.py"}, "a/one.py": set(), "a/two.py": {"a/one.py", "a/three.py"}, "a/three.py": {"a/one.py"},
    }  # fmt: skip
    trees["a/one.py"] = ast.parse("def f():\n    from tellapart.a.two import Two")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(module_graph(trees)).prepare()


def test_modules_are_imported_by_name_in_three_places_only() -> None:
    wrong = [
        f"{name}:{call.lineno}"
        for name, tree in TREES.items()
        for call in _calls(tree)
        if name not in BY_NAME and _called(call).rpartition(".")[2] in ("import_module", "__import__")
    ]
    assert not wrong, wrong


def test_scores_and_types_know_no_torch() -> None:
    parts = [name for name in TREES if layer_of(name) in ("errors", "types", "metrics", "calibration", "combiners")]
    wrong = [f"{name}:{line}" for name in parts for line, module in outside_imports(TREES[name]) if module == "torch"]
    assert not wrong, wrong
    modules = [f"tellapart.{name.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}" for name in parts]
    assert "torch" not in _modules_after(f"import {', '.join(modules)}")


#: A metadata-only run of bare arrays, and images to submit answers for, made in the folder `sys.argv[1]`. Without metadata the
#: null is the class prior; with some it is an estimator that skops loads, and importing skops has scikit-learn import torch.
_MADE = """
import sys
from pathlib import Path
import numpy as np, tellapart as ta
from PIL import Image
folder = Path(sys.argv[1])
images = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
(folder / "asked").mkdir()
for row in range(3):
    Image.fromarray(images[row]).save(folder / "asked" / f"{row}.png")
settings = ta.Settings(runs=folder / "runs", device="cpu")
ta.compare(ta.from_arrays(images, ["a", "b"] * 30), recipes=["metadata"], settings=settings)
"""
#: What is made of a finished metadata-only run: a leaderboard, a report, a submission.
_WITHOUT_TORCH = """
import sys
from pathlib import Path
from tellapart.workflows._experiment import Settings
from tellapart.reports.report import write_report
from tellapart.workflows.submit import submit
from tellapart.leaderboards.leaderboard import build
from tellapart.runs.store import list_runs
folder = Path(sys.argv[1])
runs = list_runs(folder / "runs")
board = build(runs)
board.to_dict(), board.to_frame(), board._repr_html_(), board.__rich__()
write_report(runs, folder / "report.html")
(folder / "sample.csv").write_text("id,label\\n0,a\\n1,a\\n2,b\\n")
settings = Settings(runs=folder / "runs", device="cpu")
submit(runs[0], test=folder / "asked", sample=folder / "sample.csv", out=folder / "answers.csv", settings=settings)
"""


def test_leaderboard_report_and_submission_load_no_torch(tmp_path: Path) -> None:
    """Of finished runs, in a fresh interpreter; torch takes seconds."""
    import_only = "import tellapart.reports.report, tellapart.workflows.submit, tellapart.leaderboards.leaderboard"
    assert "torch" not in _modules_after(import_only)
    subprocess.run([sys.executable, "-c", _MADE, str(tmp_path)], check=True, capture_output=True, timeout=280)
    assert "torch" not in _modules_after(_WITHOUT_TORCH, str(tmp_path))
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    "code",
    [
        "import tellapart; tellapart.__all__; dir(tellapart)",
        "import tellapart.plugins; tellapart.plugins.__all__; dir(tellapart.plugins)",
        "import tellapart.cli.main",
        "import sys; sys.argv = ['tellapart', '--help']; from tellapart.cli.main import main\ntry: main()\n"
        "except SystemExit: pass",
    ],
    ids=["import tellapart", "import tellapart.plugins", "import tellapart.cli.main", "tellapart --help"],
)
def test_light_imports(code: str) -> None:
    assert _modules_after(code).isdisjoint(HEAVY)


def test_files_are_short() -> None:
    counts = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert not {name: n for name, n in counts.items() if n > FILE_LINES}


def test_functions_are_short() -> None:
    sizes = {f"{name}:{f.lineno} {f.name}": _lines(f) for name, tree in TREES.items() for f in functions(tree)}
    assert not {name: n for name, n in sizes.items() if n > FUNCTION_LINES}
    assert statistics.median(sizes.values()) <= MEDIAN_LINES


def test_what_is_public_has_a_docstring() -> None:
    bare = [
        f"{name}:{where}"
        for name, tree in TREES.items()
        if tree.body  # an empty __init__.py has nothing to say
        for where in _without_docstring(tree, name)
    ]
    assert not bare, "\n".join(bare)


def test_nothing_forbidden_is_called() -> None:
    forbidden = {"hasattr", "eval", "exec", "joblib.dump", "joblib.load", "torch.load", "torch.save"}
    wrong = [
        f"{name}:{call.lineno}: {_called(call)}"
        for name, tree in TREES.items()
        for call in _calls(tree)
        if _called(call) in forbidden or any(k.arg == "allow_pickle" and not _is_false(k.value) for k in call.keywords)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_forbidden_is_imported() -> None:
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "imp"}
    wrong = [
        f"{name}:{line}: {module}"
        for name, tree in TREES.items()
        for line, module in outside_imports(tree)
        if module in forbidden
    ]
    assert not wrong, "\n".join(wrong)


def test_a_users_error_is_never_an_assertion() -> None:
    wrong = [f"{name}:{n.lineno}" for name, tree in TREES.items() for n in ast.walk(tree) if isinstance(n, ast.Assert)]
    assert not wrong, wrong


def test_only_the_command_line_prints() -> None:
    wrong = [
        f"{name}:{call.lineno}"
        for name, tree in TREES.items()
        if layer_of(name) != "cli"
        for call in _calls(tree)
        if _called(call) == "print"
    ]
    assert not wrong, wrong


def test_dataclasses_are_frozen() -> None:
    wrong = []
    for name, tree in TREES.items():
        for cls in (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
            made = [d for d in cls.decorator_list if "dataclass" in ast.unparse(d)]
            if made and "frozen=True" not in ast.unparse(made[0]) and cls.name not in STATES:
                wrong.append(f"{name}:{cls.lineno} {cls.name}")
    assert not wrong, wrong


def test_names_say_something() -> None:
    words = {name: set(name.removesuffix(".py").replace("/", "_").split("_")) for name in TREES}
    assert not [name for name, of in words.items() if of & VAGUE]


def test_the_checks_see_what_they_should() -> None:
    """The walk above finds an import wherever it stands, and however it is written."""
    code = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from tellapart.reports import report
def f():
    import tellapart.cli.main
    from tellapart import recipe as recipes, Recipe
    from .split import split
    from ..types import Score
class A:
    from .. import errors
"""
    found = [target for _, target in imports(ast.parse(code), "data/scan.py")]
    assert sorted(found) == ["__init__", "cli", "data", "errors", "recipe", "reports", "types"]
    assert _may_import("data", "recipe") and _may_import("cli", FACADE)
    assert not _may_import("data", "reports") and not _may_import("augmentations", "nets")
    assert not _may_import("data", FACADE) and not _may_import("data", "unheard_of")


# --- reading the source -----------------------------------------------------------------------------------------------


def layer_of(name: str) -> str:
    """The layer of a file, by its path below `tellapart/`."""
    return name.partition("/")[0].removesuffix(".py")


def imports(tree: ast.AST, name: str) -> Iterator[tuple[int, str]]:
    """(line, layer) of everything of ours that a module imports, wherever the statement stands."""
    for node in ast.walk(tree):
        for module in _imported(node, name):
            first, _, rest = module.partition(".")
            if first == "tellapart":
                layer = rest.partition(".")[0]
                yield node.lineno, layer if layer in _TOP else FACADE


def module_graph(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """File → the files that it imports; `from a.b import c` is the module a.b.c where there is one, else a.b."""
    graph = {}
    for name, tree in trees.items():
        found = {file for node in _run_nodes(tree) for module in _targets(node, name) if (file := _file(module, trees))}
        graph[name] = found - {name}
    return graph


def _targets(node: ast.AST, name: str) -> Iterator[str]:
    for base in _imported(node, name):
        if isinstance(node, ast.ImportFrom) and base.count("."):
            yield from (f"{base}.{alias.name}" for alias in node.names)
        else:
            yield base


def _file(module: str, trees: dict[str, ast.Module]) -> str | None:
    """The file of a dotted name, or of what it stands in; None outside tellapart, and for tellapart itself."""
    parts = module.split(".")
    if parts[0] != "tellapart":
        return None
    for end in (len(parts), len(parts) - 1):
        path = "/".join(parts[1:end])
        found = next((name for name in (f"{path}.py", f"{path}/__init__.py") if path and name in trees), None)
        if found:
            return found
    return None


def _run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield other
                yield from _run_nodes(other)
        else:
            yield child
            yield from _run_nodes(child)


def outside_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, top-level package) of everything that a module imports."""
    for node in ast.walk(tree):
        for module in _imported(node, "x.py"):
            yield node.lineno, module.partition(".")[0]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


_TOP = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def _imported(node: ast.AST, name: str) -> list[str]:
    """Dotted names that one statement imports; `from tellapart import recipe` names the module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    package = ["tellapart", *name.split("/")[:-1]]
    start = package[: len(package) - node.level + 1] if node.level else []
    base = ".".join([*start, *([node.module] if node.module else [])])
    return [f"tellapart.{alias.name}" for alias in node.names] if base == "tellapart" else [base]


def _may_import(own: str, target: str) -> bool:
    if target == FACADE:
        return own == "cli"
    return target in RANK and RANK[target] < RANK[own]


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _called(call: ast.Call) -> str:
    """The dotted name that is called; "" where it is not a name."""
    return ast.unparse(call.func) if isinstance(call.func, ast.Name | ast.Attribute) else ""


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _without_docstring(node: ast.AST, name: str) -> Iterator[str]:
    """Public module, classes and functions; what is inside a function or a private class is private."""
    if not ast.get_docstring(node):  # type: ignore[arg-type]
        yield f"{node.lineno} {node.name}" if isinstance(node, ast.ClassDef | ast.FunctionDef) else "1 the module"
    if isinstance(node, ast.FunctionDef):
        return
    for child in node.body:  # type: ignore[attr-defined]
        if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
            yield from _without_docstring(child, name)


def _modules_after(code: str, *arguments: str) -> set[str]:
    """Top-level packages that a fresh interpreter holds after some code."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    command = [sys.executable, "-c", program, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    return set(json.loads(result.stdout.splitlines()[-1]))
