"""Tables of the source tree for the generated blocks of the documentation: layers, packages, modules. See `generate.py`."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "src" / "tellapart"
LAYER_TEST = DOCS.parent / "tests" / "test_layers.py"


@functools.cache
def layers() -> tuple[tuple[str, ...], ...]:
    """`LAYERS` of tests/test_layers.py, the only place where the order of the packages is written down."""
    for node in ast.parse(LAYER_TEST.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS":
            return ast.literal_eval(node.value)
    raise LookupError(f"{LAYER_TEST} assigns no LAYERS")


def layer_list() -> str:
    """The layers from the lowest to the highest, one a line."""
    return "\n".join(f"{number}. {', '.join(f'`{name}`' for name in row)}" for number, row in enumerate(layers(), 1))


def summary(path: Path) -> str:
    """The first sentence or line of the docstring of a module, or of a package given by its folder."""
    file = path / "__init__.py" if path.is_dir() else path
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def _source_path(name: str) -> Path:
    """`types` → types.py, `data` → the folder."""
    folder = PACKAGE / name
    return folder if folder.is_dir() else folder.with_suffix(".py")


def _packages_inside(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/__init__.py"))


def tree() -> str:
    """Every top-level module and package in the order of the layers, packages inside packages below theirs."""
    rows = [("`__init__.py`", summary(PACKAGE / "__init__.py"))]
    for name in (name for row in layers() for name in row):
        path = _source_path(name)
        rows.append((f"`{path.name}{'/' if path.is_dir() else ''}`", summary(path)))
        rows += [(f"`{name}/{inner.name}/`", summary(inner)) for inner in _packages_inside(path)]
    if recipes_only := [p for p in sorted(PACKAGE.iterdir()) if p.is_dir() and list(p.glob("*.yaml"))]:
        rows += [(f"`{p.name}/`", f"{len(list(p.glob('*.yaml')))} recipes, one YAML file each.") for p in recipes_only]
    return table(("in `src/tellapart`", "what it is"), rows)


def module_tables() -> str:
    """Every package with a table of its modules, in the order of the layers."""
    top = [_source_path(name) for row in layers() for name in row]
    single = [path for path in top if path.is_file()]
    packages = [inner for path in top if path.is_dir() for inner in (path, *_packages_inside(path))]
    parts = ["## tellapart\n\n" + _module_table([PACKAGE / "__init__.py", *single])]
    for folder in packages:
        modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
        name = folder.relative_to(PACKAGE).as_posix()
        parts.append(f"## {name}\n\n{summary(folder)}\n\n{_module_table(modules)}")
    return "\n\n".join(parts)


def _module_table(paths: list[Path]) -> str:
    return table(("module", "what it is"), [(_linked(path), summary(path)) for path in paths])


def _linked(path: Path) -> str:
    """The name of a module, with a link to its page if it has one: plug-ins do."""
    page = path.relative_to(PACKAGE).with_suffix(".md")
    return f"[`{path.name}`]({page.as_posix()})" if len(page.parts) > 1 and (DOCS / page).exists() else f"`{path.name}`"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
