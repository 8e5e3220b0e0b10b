"""The documentation tells the truth: tables are those of the code, commands exist, links resolve, examples run."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import itertools
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from tellapart import plugins, registry
from tellapart.recipe import load as recipes
from tellapart.recipe.groups import GROUPS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FRONT = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in FRONT), *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
SHELLS = {"sh", "bash", "shell", "console"}


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # as for a program that is run
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


generate = _load(DOCS / "generate.py")


@pytest.fixture(params=PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


# --- generated tables -------------------------------------------------------------------------------------------------


def test_generated_blocks_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- generated:") == text.count("<!-- end -->") == len(generate.BLOCK.findall(text))
    assert generate.regenerate(text) == text, "run `python docs/generate.py`"


def test_every_option_has_a_table() -> None:
    text = "\n".join(path.read_text("utf-8") for path in PAGES)
    shown = {generate.locate(place) for place in re.findall(r"<!-- generated: options (\S+) -->", text)}
    families = [registry.find("classifiers", name).options_model({}) for name in registry.names("classifiers")]
    nets = [registry.find("nets", name).Options for name in registry.names("nets")]
    sections = [recipes.Inputs, recipes.Features, recipes.Train]
    augmentations = [registry.find("augmentations", name).Options for name in registry.names("augmentations")]
    descriptors = [registry.find("features", name).Options for name in registry.names("features")]
    checks = [registry.find("checks", name).Options for name in registry.names("checks")]
    starts = (*families, *nets, *sections, *augmentations, *descriptors, *checks)
    wanted = {model for start in starts for model in _with_nested(start)}
    assert {"Optimizer", "Schedule", "Stage"} <= {model.__name__ for model in wanted}
    assert not {model.__qualname__ for model in wanted - shown}


@pytest.mark.parametrize("kind", ["classifiers", "nets", "augmentations", "features", "explainers", "checks"])
def test_every_name_has_a_page(kind: str) -> None:
    assert {path.stem for path in (DOCS / kind).glob("*.md")} - {"index"} >= set(registry.names(kind))


@pytest.mark.parametrize("kind", ["nets", "augmentations"])
def test_every_net_and_augmentation_has_its_picture(kind: str) -> None:
    for page in (DOCS / kind).glob("*.md"):
        shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text("utf-8"))
        assert shown or page.stem == "index", f"{page.name} shows no picture"


def test_every_command_is_documented() -> None:
    """Each on a page of its name, with the table of its options; the root in cli.md, which links to all of them."""
    for name in generate.commands():
        text = (DOCS / f"{name or 'cli'}.md").read_text("utf-8")
        assert re.findall(r"<!-- generated: command(?: (\S+))? -->", text) == [name]
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", (DOCS / "cli.md").read_text("utf-8"))) >= set(generate.commands()) - {""}


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_says_what_it_is_and_is_documented(name: str) -> None:
    assert re.match(r"# \S", recipes.text(name)), "a recipe begins with a header comment"
    assert f"`{name}`" in (DOCS / "recipes.md").read_text("utf-8")
    recipes.load(name)


# --- links ------------------------------------------------------------------------------------------------------------


def test_links_resolve(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    broken = [t for t in targets if not re.match(r"[a-z]+:", t) and not _resolves(page, t)]
    assert not broken, broken


def test_every_page_can_be_reached() -> None:
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        here = waiting.pop()
        if here not in reached:
            reached.add(here)
            links = re.findall(r"\]\(([^)#\s]+\.md)", here.read_text("utf-8"))
            waiting += [(here.parent / link).resolve() for link in links]
    assert set(DOCS.rglob("*.md")) <= reached


# --- commands ---------------------------------------------------------------------------------------------------------


def test_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    wrong = [f"{line}: {fault}" for line in _command_lines(text) if (fault := _fault(line))]
    assert not wrong, "\n".join(wrong)


#: Options of other programs (timm's validate.py, mlflow, tensorboard, ruff) that pages name.
FOREIGN = {"--metrics-avg", "--split", "--backend-store-uri", "--logdir", "--check"}


def test_flags_in_prose_exist(page: Path) -> None:
    known = {flag for name in generate.commands() for flag in _flags(name)} | {"--help"} | FOREIGN
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    used = {flag for span in re.findall(r"`([^`\n]+)`", prose) for flag in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", span)}
    assert not used - known


def test_faults_are_found() -> None:
    assert _fault("tellapart compare photos -r svm-pca-rbf --minutes 3 -s train.epochs=3") == ""
    assert "no command" in _fault("tellapart compair photos")
    assert "--minute" in _fault("tellapart compare photos --minute 3")
    assert "no recipe" in _fault("tellapart train photos -r svn")
    assert list(_command_lines("```sh\n$ tellapart data x \\\n  --group g\n```\n`tellapart cache`")) == [
        "tellapart data x --group g", "tellapart cache",
    ]  # fmt: skip


# --- examples ---------------------------------------------------------------------------------------------------------


def test_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    blocks = [body for info, body in _fences(DOCS / "python.md") if info == "python"]
    assert len(blocks) >= 8
    names: dict[str, Any] = {"__name__": "docs"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"python.md, example {number}", "exec"), names)
    assert "unknown recipe 'knnn': did you mean 'knn'?" in str(_raised(names))
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_names_in_python_examples_exist(page: Path) -> None:
    """Every name of ours that an example imports, or uses as `ta.NAME`, exists."""
    wrong = []
    for body in (body for info, body in _fences(page) if info == "python"):
        tree = ast.parse(body)
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0]
        used = [(node.module or "", alias.name) for node in imports for alias in node.names]
        uses = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
        used += [("tellapart", node.attr) for node in uses if ast.unparse(node.value) == "ta"]
        wrong += [
            f"{module}.{name}" for module, name in used if module.split(".")[0] == "tellapart" and not _exists(module, name)
        ]
    assert not wrong


def _exists(module: str, name: str) -> bool:
    try:
        return hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}") is not None
    except ModuleNotFoundError:
        return False


def test_recipes_in_pages_are_recipes(page: Path, tmp_path: Path) -> None:
    blocks = [body for info, body in _fences(page) if info == "yaml"]
    for number, body in enumerate(b for b in blocks if re.search(r"^(classifier|extends):", b, re.MULTILINE)):
        path = tmp_path / f"{number}.yaml"
        path.write_text(body, encoding="utf-8")
        assert recipes.load(str(path)).classifier.family in registry.names("classifiers")


@pytest.fixture
def extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package of docs/adding.md, written and installed as an outside package: its entry points are found on the path."""
    import tomllib

    site = tmp_path / "site"
    for info, body in _fences(DOCS / "adding.md"):
        if title := re.search(r"title=(\S+)", info):
            path = site / title[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, encoding="utf-8")
    project = tomllib.loads((site / "pyproject.toml").read_text("utf-8"))["project"]
    meta = site / "tellapart_extras-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in of.items()) for g, of in project["entry-points"].items()]
    (meta / "entry_points.txt").write_text("\n".join(groups), encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    _forget_names()
    yield site
    _forget_names()


def test_the_package_of_adding_works(extras: Path, tmp_path: Path) -> None:
    """Its family, descriptor, net and augmentation train, are saved, loaded, and ask the same again."""
    import tellapart as ta

    generator = np.random.default_rng(0)
    labels = np.array(["dark", "light"] * 30)
    images = generator.integers(0, 120, size=(60, 12, 12, 3), dtype=np.uint8)
    images[labels == "light"] += 100
    settings = ta.Settings(runs=tmp_path / "runs", device="cpu", loggers=("lines",))
    recipes = [str(extras / "centroids.yaml"), str(extras / "patches.yaml")]
    board = ta.compare(ta.from_arrays(images, labels), recipes=recipes, settings=settings)
    assert {row.recipe for row in board.rows} == {"metadata", "centroids", "patches"}
    runs = {run.recipe_name: run for run in board.runs}
    assert runs["centroids"].scores("test")["accuracy"].value == 1
    assert runs["centroids"].cost["parameters"] == 2 * 8
    assert len(runs["patches"].log) == 3
    lines = (tmp_path / "runs" / "lines" / f"{runs['patches'].id}.txt").read_text("utf-8").splitlines()
    assert sum(line.split("\t")[1] == "loss/train" for line in lines) == 3
    documented = (DOCS / "runs.md").read_text("utf-8")
    written = {path.name for run in board.runs for path in run.folder.iterdir()} - {".lock"}
    assert not {name for name in written if not re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", documented)}
    for run in board.runs:
        stored = run.predictions("test")
        assert stored is not None
        again = ta.predict(run, run_table(run, images, labels), settings=settings)
        rows = [list(again.ids).index(name) for name in stored.ids]
        np.testing.assert_allclose(again.proba[rows], stored.proba, atol=1e-5)


def test_the_tests_of_the_package_of_adding_pass(extras: Path) -> None:
    """The page's own test file, run as an author would: every class keeps every promise of its kind."""
    import os
    import subprocess
    import sys

    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(extras), str(ROOT / "src")])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_extras.py"]
    found = subprocess.run(command, cwd=extras, env=surroundings, capture_output=True, text=True, timeout=800, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    tested = set(re.findall(r"plugins\.(check_\w+)", (extras / "test_extras.py").read_text("utf-8")))
    assert tested == {name for name in plugins.__all__ if name.startswith("check_")}


def test_the_package_of_adding_imports_public_names_only(extras: Path) -> None:
    for path in extras.rglob("*.py"):
        imported = re.findall(r"(?:from|import) (tellapart[\w.]*)", path.read_text("utf-8"))
        assert set(imported) <= {"tellapart", "tellapart.plugins"}, path


def test_a_data_set_is_read_by_the_layout_of_the_package_of_adding(extras: Path, tmp_path: Path) -> None:
    import tellapart as ta

    for name in ("a/1.png", "b/2.png", "b/3.png"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(b"x")
    assert ta.scan(tmp_path / "d").classes == ("a", "b")
    (tmp_path / "d" / "catalog.txt").write_text("cat: a/1.png\ndog: b/2.png\ndog: b/9.png\n", encoding="utf-8")
    table = ta.scan(tmp_path / "d")
    assert table.classes == ("cat", "dog") and table.ids.tolist() == ["a/1.png", "b/2.png"]
    assert [problem.where for problem in table.problems] == ["catalog.txt:3", "b/"] and table.layout == "catalog.txt: 2 images."
    assert table.notes == ("Not used: the folder names could hold labels too; to use it: --label-column folder.",)


def test_every_kind_of_plug_in_is_shown(extras: Path) -> None:
    for kind in registry.KINDS:
        assert registry._outside(kind), f"docs/adding.md has no example in tellapart.{kind}"
        for name in registry._outside(kind):
            assert registry.find(kind, name).__module__.startswith("extras.")
            assert (extras / f"{registry.find(kind, name).__module__.replace('.', '/')}.py").exists()


def test_outside_classes_have_tables_and_checked_options(extras: Path) -> None:
    del extras
    assert "standard deviation" in generate.option_table(registry.find("augmentations", "grain").Options)
    with pytest.raises(recipes.RecipeError, match="did you mean 'sharpness'"):
        recipes.parse({"classifier": {"family": "centroids", "sharpnes": 1}})


def test_the_folder_layouts_of_the_tutorial_are_understood(tmp_path: Path) -> None:
    import tellapart as ta

    for number, folder in enumerate(["real/a", "real/b", "edited/c", "edited/d"]):
        path = tmp_path / "photos" / f"{folder}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(path)
    table = ta.scan(tmp_path / "photos")
    assert table.classes == ("edited", "real") and table.positive == "edited"


# --- reading pages ----------------------------------------------------------------------------------------------------


def run_table(run: Any, images: np.ndarray, labels: np.ndarray) -> Any:
    """The same images, with labels that are unknown."""
    import tellapart as ta

    return ta.from_arrays(images, [None] * len(labels), classes=run.classes)


def _fences(path: Path) -> list[tuple[str, str]]:
    return [(m["info"].strip(), m["body"]) for m in FENCE.finditer(path.read_text(encoding="utf-8"))]


def _raised(names: dict[str, Any]) -> Exception:
    """The error of the last example of python.md, raised again."""
    ta = names["ta"]
    with pytest.raises(ta.TellapartError) as caught:
        ta.train(names["table"], "knnn", settings=names["settings"])
    return caught.value


def _forget_names() -> None:
    registry.find.cache_clear()
    registry._outside.cache_clear()


def _with_nested(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for info in model.model_fields.values():
        for kind in _types(info.annotation):
            yield from _with_nested(kind)


def _types(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _types(argument)


def _resolves(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return False
    return not anchor or anchor in _anchors(file.read_text("utf-8"))


def _anchors(text: str) -> set[str]:
    """What headings can be linked by: lower case, spaces to hyphens, other signs dropped."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _command_lines(text: str) -> Iterator[str]:
    """`tellapart …` as written in shell blocks (a prompt and continued lines understood) and in inline code."""
    for match in FENCE.finditer(text):
        if match["info"].strip().partition(" ")[0] in SHELLS:
            for line in match["body"].replace("\\\n", " ").splitlines():
                line = line.removeprefix("$ ").strip()
                if line.startswith("tellapart "):
                    yield " ".join(line.split())
    for span in re.findall(r"`(tellapart [^`]+)`", FENCE.sub("", text)):
        yield " ".join(span.split())


def _fault(line: str) -> str:
    """What is wrong with a command line, "" when nothing is."""
    words = shlex.split(line.partition(" #")[0].partition(" > ")[0].partition(" | ")[0])[1:]
    root = _flags("")
    while words and words[0] in root:
        words.pop(0)
    if not words or words[0] == "COMMAND":
        return ""
    name = words[0]
    if name not in generate.commands():
        return f"there is no command {name!r}"
    unknown = [w for w in words[1:] if re.match(r"-{1,2}[a-z]", w) and w.partition("=")[0] not in _flags(name)]
    named = [value for flag, value in itertools.pairwise(words) if flag in ("-r", "--recipe")]
    known = (*recipes.names(), *GROUPS, "RECIPE", "NAME")
    missing = [r for r in named if not r.endswith(".yaml") and r not in known]
    return f"unknown {unknown}" if unknown else f"no recipe {missing}" if missing else ""


def _flags(name: str) -> set[str]:
    parameters = generate.commands()[name].params
    options = [p for p in parameters if generate.is_option(p)]
    return {flag for p in options for flag in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}


def test_the_picture_of_the_schedules_is_current(tmp_path: Path) -> None:
    _load(DOCS / "schedule_picture.py").draw(tmp_path / "schedules.svg")
    assert (tmp_path / "schedules.svg").read_bytes() == (DOCS / "schedules.svg").read_bytes()
