"""The plan of the house: who may import whom, and what importing costs."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import latentkit
import latentkit.adapters

ROOT = Path(__file__).resolve().parent.parent

# A module imports from the rows above its own, and from its own package.
LAYERS = [
    ["errors", "exports", "interrupts", "shown", "tables", "texts"],
    ["checks", "console", "bundled"],
    ["files", "streams", "images", "archives"],
    ["folders"],
    ["manifest", "stores"],
    ["engines"],
    ["priors"],
    ["protocols"],
    ["roc", "neighbours", "curves", "arithmetic", "directions", "attributes"],
    ["graphs"],
    ["nets"],
    ["checkpoint"],
    ["conditional"],
    ["adapters"],
    ["calibration", "support"],
    ["sampling"],
    ["smoothing", "opinions", "geometry", "inversion", "metrics", "projection"],
    ["holes", "edits"],
    ["refined", "quality"],
    ["routes", "judges"],
    ["encoders", "style"],
    ["captions", "scatter", "series"],
    ["render", "planes", "plots"],
    ["animation", "landscapes"],
    ["strips"],
    ["strengths", "walks"],
    ["tides", "journeys"],
    ["reports", "notebooks"],
    ["limits", "views"],
    ["drawn"],
    ["verbs"],
    ["options"],
    ["cli"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Within a row two exceptions: a direction says how well it ranks, and a classifier splits labels as directions do.
WITHIN = {"directions": {"roc"}, "attributes": {"directions"}}
TENSORS_ONLY = ["roc", "neighbours", "curves", "arithmetic", "directions", "attributes", "graphs"]
HEAVY = {
    "PIL",
    "cuml",
    "cupy",
    "datasets",
    "diffusers",
    "imageio",
    "imageio_ffmpeg",
    "jinja2",
    "matplotlib",
    "numba",
    "pyarrow",
    "ray",
    "huggingface_hub",
    "onnx",
    "onnxruntime",
    "pynndescent",
    "pythae",
    "pytorch_pretrained_biggan",
    "safetensors",
    "scipy",
    "sklearn",
    "threadpoolctl",
    "tqdm",
    "umap",
    "zarr",
    "zuko",
}
MODULES = sorted(path for package in ("latentkit", "trainers") for path in (ROOT / package).rglob("*.py"))


def dotted(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def is_type_checking(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(path, *, top_level=False):
    """Yield the dotted names that a module imports; only those that run at its import if `top_level`."""

    def visit(nodes):
        for node in nodes:
            if is_type_checking(node):
                continue
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                # `from latentkit import streams` names a module; `from latentkit.checks import x` does not.
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif not (top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
                yield from visit(ast.iter_child_nodes(node))

    yield from visit(tree_of(path).body)


def room(name):
    """Return the module or package of latentkit that a dotted name lies in, or None."""
    parts = name.split(".")
    return parts[1] if parts[0] == "latentkit" and len(parts) > 1 and parts[1] in RANK else None


OURS = [path for path in MODULES if dotted(path).startswith("latentkit.")]
every_module = pytest.mark.parametrize("module", MODULES, ids=dotted)


def test_every_module_has_a_place_in_the_table():
    found = {dotted(path).split(".")[1] for path in OURS}
    assert found <= RANK.keys(), f"give {sorted(found - RANK.keys())} a layer"


@pytest.mark.parametrize("module", OURS, ids=dotted)
def test_layers_run_downwards(module):
    own = room(dotted(module))
    for name in imports(module):
        other = room(name)
        assert not name.startswith("trainers"), "latentkit never imports trainers"
        if other is not None and other != own:
            allowed = RANK[other] < RANK[own] or other in WITHIN.get(own, ())
            assert allowed, f"{dotted(module)} imports {name}, which is not above it"


@pytest.mark.parametrize("name", TENSORS_ONLY)
def test_tensor_modules_never_see_a_model(name):
    files = [path for path in OURS if room(dotted(path)) == name]
    assert files
    used = {room(imported) for path in files for imported in imports(path)} - {None, name}
    assert used <= {"errors", "checks", "streams", "priors", "roc", "neighbours", "directions"}


@every_module
def test_no_private_name_crosses_a_module(module):
    for name in imports(module):
        package, *parts = name.split(".")
        private = [part for part in parts if part.startswith("_") and not part.endswith("__")]
        assert not (private and package in ("latentkit", "trainers")), f"{dotted(module)} imports {name}"


@pytest.mark.parametrize("module", OURS, ids=dotted)
def test_heavy_libraries_are_imported_where_they_are_used(module):
    heavy = {name for name in imports(module, top_level=True) if name.split(".")[0] in HEAVY}
    assert not heavy, f"{dotted(module)} imports {sorted(heavy)} at its top"


def test_import_latentkit_is_light():
    heavy = sorted({*HEAVY, "torch", "numpy"})
    code = f"import sys, latentkit; found = [m for m in {heavy} if m in sys.modules]; sys.exit(' '.join(found) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"import latentkit imports {done.stderr}"


@every_module
def test_no_assert_and_no_print(module):
    name = dotted(module)
    for node in ast.walk(tree_of(module)):
        assert not isinstance(node, ast.Assert), f"{name}:{node.lineno} asserts; raise a named error"
        printing = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        assert not printing or name in ("latentkit.cli", "latentkit.console", "trainers.__main__"), f"{name} prints"


@every_module
def test_every_module_says_what_is_public(module):
    """`__all__` is there unless the module only has a docstring, and each of its names exists."""
    name, tree = dotted(module), tree_of(module)
    if name.endswith("__main__") or all(isinstance(node, ast.Expr) for node in tree.body):
        return
    namespace = importlib.import_module(name)
    assert hasattr(namespace, "__all__"), f"{name} has no __all__"
    assert len(set(namespace.__all__)) == len(namespace.__all__)
    for public in namespace.__all__:
        getattr(namespace, public)


def test_public_names_resolve_and_are_listed():
    for name in latentkit.__all__:
        assert getattr(latentkit, name) is not None
        assert name in dir(latentkit)
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        latentkit.no_such_name  # noqa: B018


def test_public_names_are_public_at_home():
    for home, names in latentkit._HOMES.items():
        module = importlib.import_module(f"latentkit.{home}")
        assert set(names) <= set(module.__all__), f"{home}.__all__ lacks {set(names) - set(module.__all__)}"


def test_type_checkers_see_the_same_names():
    # Of the adapters the top takes the names, and they take them from their own modules.
    for package in (latentkit, latentkit.adapters):
        block = next(node for node in tree_of(Path(package.__file__)).body if is_type_checking(node))
        seen = {alias.asname: f"{node.module}" for node in block.body for alias in node.names}
        homes = package._HOMES.items()
        assert seen == {name: f"{package.__name__}.{home}" for home, names in homes for name in names}


def test_version_is_a_literal():
    """setup.cfg reads it without importing anything."""
    tree = tree_of(ROOT / "latentkit" / "__init__.py")
    values = [
        n.value for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__version__"
    ]
    assert len(values) == 1
    assert values[0].value == latentkit.__version__


def test_every_package_is_found_by_setup_cfg():
    """A folder without `__init__.py` would be left out of the wheel."""
    for package in ("latentkit", "trainers"):
        for path in (ROOT / package).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), f"{path.parent} has no __init__.py"
    assert {info.name for info in pkgutil.iter_modules([str(ROOT / "latentkit")])} >= {"priors", "nets"}
