"""Who may import whom, what is public, and that the documentation says what the code does."""

import ast
import inspect
import pkgutil
import re
import sys
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import skorchlite

PACKAGE = "skorchlite"
ROOT = Path(skorchlite.__file__).parent


# What each folder or file may import of ours; None: everything.
ALLOWED = {
    "_exceptions": [],
    "_runtime": [],
    "_compat": [],
    "datasets": ["_compat"],
    "_linalg": [],
    "_process_group": ["_exceptions"],
    "_sources": ["_linalg", "_runtime", "_exceptions"],
    "_inputs": ["_sources", "_runtime", "_exceptions", "_compat"],
    "_polynomials": ["_sources", "_linalg", "_exceptions"],
    "_objective": ["_sources", "_linalg", "_exceptions"],
    "_solvers": ["_objective", "_sources", "_linalg", "_runtime", "_exceptions"],
    "_estimators": None,
    "display": [],
    "__init__": None,
}

# Where a dependency may be imported.
HOMES = {
    "sklearn": ["_estimators", "_inputs", "_compat", "datasets", "display"],
    "torch.distributed": ["_process_group"],
    "dask": ["_inputs.dask_collections"],
    "pyarrow": ["_inputs.arrow"],
    "pandas": ["_estimators.coef_table", "_estimators.group_frame"],
    "polars": ["_estimators.group_frame"],
    "matplotlib": ["display"],
    "scipy": ["_estimators.coef_table", "_estimators.export", "_estimators.plain_values"],
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FOLDERS = [path for path in ROOT.rglob("__init__.py") if path.parent != ROOT]
FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_of(name):
    """Every module that a file imports, at its top or inside a function, with its full name."""
    path = FILES[name]
    here = [PACKAGE, *path.relative_to(ROOT).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.update([module] if node.module else [])
            # "from . import reductions" and "from torch import distributed" name modules too.
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def inside(module, package):
    return module == package or module.startswith(package + ".")


def file_of(module):
    """The file that an imported name of the package comes from."""
    name = module.removeprefix(PACKAGE).removeprefix(".")
    while name and name not in FILES:
        name = name.rpartition(".")[0]
    return name or "__init__"


def own_imports(name):
    return {file_of(module) for module in imports_of(name) if inside(module, PACKAGE)}


def room_of(name):
    """The folder or file at the top level that a file belongs to."""
    return name.partition(".")[0]


def folder_of(name):
    """The folder of a file; a file beside folders stands for itself."""
    folder = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
    beside_folders = any(name_of(path).rpartition(".")[0] == folder for path in FOLDERS)
    return name if beside_folders else folder


def test_imports_make_no_circle():
    graph = {name: own_imports(name) - {name} for name in FILES}
    assert list(TopologicalSorter(graph).static_order())


def test_folders_make_no_circle():
    graph = {}
    for name in FILES:
        folder = folder_of(name)
        graph.setdefault(folder, set()).update(map(folder_of, own_imports(name)))
    graph = {folder: others - {folder} for folder, others in graph.items()}
    assert list(TopologicalSorter(graph).static_order())


def test_each_folder_imports_what_the_table_allows():
    offenders = {
        f"{name} imports {other}"
        for name in FILES
        if (allowed := ALLOWED[room_of(name)]) is not None
        for other in own_imports(name)
        if room_of(other) not in (room_of(name), *allowed)
    }
    assert offenders == set()


def test_the_house_has_few_rooms_and_few_doors():
    rooms = set(map(room_of, FILES))
    doors = {
        (room_of(name), room_of(other))
        for name in FILES
        for other in own_imports(name)
        if room_of(name) != room_of(other) and "__init__" not in (name, room_of(other))
    }
    folders = {name_of(path) for path in FOLDERS}
    assert rooms == set(ALLOWED)
    assert len(rooms - {"__init__"}) <= 13
    assert len(doors) <= 29
    assert sum(folders.issuperset(door) for door in doors) <= 15


def test_own_modules_are_imported_relatively():
    offenders = set()
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            whole = isinstance(node, ast.Import) and [alias.name for alias in node.names]
            part = isinstance(node, ast.ImportFrom) and not node.level and [node.module]
            if any(inside(module, PACKAGE) for module in whole or part or []):
                offenders.add(name)
    assert offenders == set()


def test_each_dependency_has_its_home():
    offenders = set()
    for name in FILES:
        for module in imports_of(name):
            for dependency, homes in HOMES.items():
                if inside(module, dependency) and not any(inside(name, home) for home in homes):
                    offenders.add(f"{name} imports {module}")
    assert offenders == set()


def test_only_compat_names_what_is_private_in_scikit_learn():
    offenders = {
        f"{name} imports {module}"
        for name in FILES
        if name != "_compat"
        for module in imports_of(name)
        if inside(module, "sklearn") and "._" in module
    }
    assert offenders == set()


def test_only_documented_dependencies_are_imported():
    allowed = {PACKAGE, "torch", "sklearn", "numpy", *HOMES, *sys.stdlib_module_names}
    roots = {(name, m.partition(".")[0]) for name in FILES for m in imports_of(name)}
    assert {(name, root) for name, root in roots if root not in allowed} == set()


# --- types -------------------------------------------------------------------------------

TYPED = ("rows", "objective", "loss", "penalty", "basis", "solver", "solution", "origin")


def annotations():
    """Every annotation of an argument or an attribute, with the name that it is of."""
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.arg) and node.annotation is not None:
                yield name, node.arg, node.annotation
            elif isinstance(node, ast.AnnAssign):
                target = node.target
                yield name, getattr(target, "id", getattr(target, "attr", "")), node.annotation


def test_what_travels_between_folders_is_typed():
    offenders = {
        f"{name}: {argument}"
        for name, argument, annotation in annotations()
        if argument in TYPED
        for part in ast.walk(annotation)
        if isinstance(part, ast.Name) and part.id == "Any"
    }
    assert offenders == set()


# --- sizes -------------------------------------------------------------------------------


def definitions(kind):
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kind):
                yield name, node


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def docstring_lines(node):
    """How many lines the docstrings in a node have."""
    lines = 0
    for part in ast.walk(node):
        first = part.body[0] if isinstance(part, DOCUMENTED) and part.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            lines += first.end_lineno - first.lineno + 1
    return lines


def test_no_file_is_longer_than_a_reader_takes_in():
    own = {}
    for name, path in FILES.items():
        text = path.read_text()
        own[name] = len(text.splitlines()) - docstring_lines(ast.parse(text))
    assert {name: lines for name, lines in own.items() if lines > 400} == {}


def test_no_function_is_longer_than_a_page():
    own = {
        f"{name}.{node.name}": node.end_lineno - node.lineno + 1 - docstring_lines(node)
        for name, node in definitions(ast.FunctionDef)
        if node.name != "__init__"
    }
    assert {name: lines for name, lines in own.items() if lines > 50} == {}


def test_no_class_has_more_methods_than_a_reader_remembers():
    many = {}
    for name, node in definitions(ast.ClassDef):
        methods = [m for m in node.body if isinstance(m, ast.FunctionDef) and m.name != "__init__"]
        if len(methods) > 20:
            many[f"{name}.{node.name}"] = len(methods)
    assert many == {}


def test_a_constant_is_defined_once():
    homes = {}
    for name, path in FILES.items():
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                if isinstance(target, ast.Name) and target.id.isupper() and target.id[0] != "_":
                    homes.setdefault(target.id, []).append(name)
    assert {constant: names for constant, names in homes.items() if len(names) > 1} == {}


# --- public names ------------------------------------------------------------------------


def test_public_names_are_those_of_all():
    modules = {module.name for module in pkgutil.iter_modules([str(ROOT)])}
    public = {name for name in vars(skorchlite) if not name.startswith("_")} - modules
    assert public == {name for name in skorchlite.__all__ if name != "__version__"}
    assert sorted(skorchlite.__all__) == list(skorchlite.__all__)


def test_modules_are_private_unless_they_are_meant_for_users():
    modules = {module.name for module in pkgutil.iter_modules([str(ROOT)])}
    assert {name for name in modules if not name.startswith("_")} <= {"display", "datasets"}


# --- documentation -----------------------------------------------------------------------

PUBLIC_CLASSES = [
    getattr(skorchlite, name)
    for name in skorchlite.__all__
    if inspect.isclass(getattr(skorchlite, name))
]
every_public_class = pytest.mark.parametrize(
    "cls", PUBLIC_CLASSES, ids=[cls.__name__ for cls in PUBLIC_CLASSES]
)


def section(cls, title):
    """Lines of one numpydoc section of the docstring."""
    lines = inspect.getdoc(cls).splitlines()
    starts = [i for i, line in enumerate(lines[1:]) if re.fullmatch(r"-{3,}", line)]
    for start, end in pairwise([*starts, len(lines)]):
        if lines[start] == title:
            return lines[start + 2 : end]
    return []


def entries(cls, title):
    """``{name: description of its type}`` of a section of "name : type" entries."""
    heads = [line for line in section(cls, title) if line and not line[0].isspace()]
    return dict(re.split(r"\s*:\s*", head, maxsplit=1) for head in heads)


@every_public_class
def test_documented_parameters_are_those_of_the_signature_in_its_order(cls):
    assert list(entries(cls, "Parameters")) == list(inspect.signature(cls).parameters)


@every_public_class
def test_documented_defaults_are_those_of_the_signature(cls):
    documented = {}
    for name, kind in entries(cls, "Parameters").items():
        default = re.search(r"default=(.+)$", kind)
        assert default, f"{name} : {kind} names no default"
        documented[name] = ast.literal_eval(default.group(1))
    signature = inspect.signature(cls).parameters
    assert documented == {name: parameter.default for name, parameter in signature.items()}


@every_public_class
def test_documented_attributes_are_those_of_a_fit_on_named_columns(cls):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((20, 2)), columns=["a", "b"])
    estimator = cls().fit(X, X["a"] + rng.standard_normal(20))
    fitted = {name for name in vars(estimator) if name.endswith("_") and name[0] != "_"}
    computed = {
        name
        for name, member in inspect.getmembers(cls, lambda member: isinstance(member, property))
        if name.endswith("_") and name[0] != "_"
    }
    assert set(entries(cls, "Attributes")) == fitted | computed


@every_public_class
def test_docstring_has_examples_that_can_be_run(cls):
    assert any(line.startswith(">>> ") for line in section(cls, "Examples"))


@every_public_class
def test_constraints_cover_every_parameter(cls):
    assert set(cls._parameter_constraints) == set(inspect.signature(cls).parameters)


@every_public_class
def test_public_methods_are_documented(cls):
    methods = inspect.getmembers(cls, inspect.isfunction)
    own = [m for n, m in methods if n[0] != "_" and m.__module__.startswith(PACKAGE)]
    assert [method.__name__ for method in own if not inspect.getdoc(method)] == []
