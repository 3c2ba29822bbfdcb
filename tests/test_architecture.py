"""Who may import whom, what is public, and that the documentation says what the code does."""

import ast
import importlib
import inspect
import pkgutil
import re
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import skorchlite

PACKAGE = "skorchlite"
ROOT = Path(skorchlite.__file__).parent


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


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
            # "from . import _doubled" and "from torch import distributed" name modules too.
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


def test_imports_make_no_circle():
    graph = {name: own_imports(name) - {name} for name in FILES}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("name", FILES)
def test_own_modules_are_imported_relatively(name):
    tree = ast.parse(FILES[name].read_text())
    absolute = [
        node
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(inside(a.name, PACKAGE) for a in node.names))
        or (isinstance(node, ast.ImportFrom) and not node.level and inside(node.module, PACKAGE))
    ]
    assert absolute == []


@pytest.mark.parametrize("name", [name for name in FILES if name != "_process_group"])
def test_torch_distributed_has_one_user(name):
    assert not any(inside(module, "torch.distributed") for module in imports_of(name))


@pytest.mark.parametrize("name", FILES)
def test_only_documented_dependencies_are_imported(name):
    allowed = {PACKAGE, "torch", "sklearn", "numpy"}
    extras = {
        "display": "matplotlib",
        "_inputs.arrow": "pyarrow",
        "_inputs.dask_collections": "dask",
    }
    allowed |= {extras[name]} & imports_of(name) if name in extras else set()
    standard_library = importlib.import_module("sys").stdlib_module_names
    roots = {module.partition(".")[0] for module in imports_of(name)}
    assert roots - allowed - standard_library == set()


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
    X = pd.DataFrame(np.random.default_rng(0).standard_normal((20, 2)), columns=["a", "b"])
    estimator = cls().fit(X, X["a"])
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
