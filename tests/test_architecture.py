"""The import rules of the design, read off the source.

`cli → daemon → {control, config, checks, linux, log} → core → standard library`, checks and linux
apart, each library in its place, and a main process that can neither be stalled nor bloated.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "lvsd").rglob("*.py"))

#: What the pure core may use of the standard library: neither clock nor I/O, chance nor log.
PURE = {
    "__future__",
    "abc",
    "bisect",
    "collections",
    "copy",
    "dataclasses",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "ipaddress",
    "itertools",
    "math",
    "operator",
    "re",
    "struct",
    "types",
    "typing",
    "zlib",
}

#: Layer → the layers of lvsd it may import besides itself.
MAY: dict[str, set[str]] = {
    "core": set(),
    "events": set(),
    "rotation": set(),
    "logger": set(),
    "log": {"core", "logger", "rotation"},
    "program": {"core"},
    "checks": {"core", "log", "program"},
    "linux": {"core", "log"},
    "config": {"core", "log"},
    "control": {"core", "log"},
    "daemon": {"core", "events", "log", "program", "checks", "linux", "config", "control"},
    "cli": {"core", "log", "linux", "config", "control", "daemon"},
    "__main__": {"cli"},
}

#: Library → the only layers that may import it.
LIBRARIES = {
    "pyroute2": {"linux"},
    "aiohttp": {"checks", "control"},
    "asyncio_dgram": {"checks", "linux"},
    "asyncinotify": {"linux"},
    "aiosmtplib": {"daemon"},
    "aiomysql": {"checks"},
    "asyncpg": {"checks"},
    "oracledb": {"checks"},
    "msgspec": {"daemon", "control"},
    "structlog": {"logger"},
}

#: Modules of the main process, and what none of them may reach.
MAIN = ("lvsd.daemon.guard", "lvsd.daemon.vrrp")
NOT_IN_MAIN = ("lvsd.config", "lvsd.checks", "lvsd.control", "aiohttp", "pyroute2")


def name_of(path: Path) -> str:
    """`lvsd.core.model` of lvsd/core/model.py; a package's own name for its `__init__`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def layer(module: str) -> str:
    """The part of lvsd a module belongs to: `core`, `checks`, ..."""
    return module.split(".")[1] if "." in module else ""


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import under a node, at any depth, those only for the type checker left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and is_type_checking(child):
            for other in child.orelse:
                yield from statements(other)
        else:
            yield from statements(child)


def imports(module: str) -> set[str]:
    """Full names of the modules a module imports."""
    path = MODULES[module]
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *filter(None, [node.module])])
        submodules = {f"{base}.{alias.name}" for alias in node.names} & MODULES.keys()
        found |= submodules | {base}
    return found


def reached(module: str) -> dict[str, str]:
    """Everything imported with a module, directly or not, and by whom."""
    by: dict[str, str] = {}
    todo = [module]
    while todo:
        importer = todo.pop()
        for name in imports(importer):
            parents = [name.rsplit(".", n)[0] for n in range(name.count("."), 0, -1)]
            for each in (*parents, name):
                if each not in by:
                    by[each] = importer
                    if each in MODULES:
                        todo.append(each)
    return by


@pytest.mark.parametrize("module", MODULES)
def test_a_layer_imports_only_layers_below_it(module: str) -> None:
    if layer(module):
        assert layer(module) in MAY, f"{module} belongs to no layer of the design"
    allowed = MAY.get(layer(module), set()) | {layer(module), ""}
    wrong = {n for n in imports(module) if n.split(".")[0] == "lvsd" and layer(n) not in allowed}
    assert not wrong


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m) == "core"])
def test_the_core_is_pure(module: str) -> None:
    assert {n.split(".")[0] for n in imports(module)} <= PURE | {"lvsd"}


@pytest.mark.parametrize("module", MODULES)
def test_each_library_stays_in_its_place(module: str) -> None:
    for name in {n.split(".")[0] for n in imports(module)} - {"lvsd"}:
        if name not in sys.stdlib_module_names:
            assert layer(module) in LIBRARIES.get(name, set()), f"{module} imports {name}"


@pytest.mark.parametrize("module", [m for m in MAIN if m in MODULES])
def test_the_main_process_stays_small(module: str) -> None:
    by = reached(module)
    wrong = [n for n in by if any(n == f or n.startswith(f + ".") for f in NOT_IN_MAIN)]
    assert not wrong, [f"{by[n]} imports {n}" for n in wrong]


def test_the_rules_see_imports_at_any_depth() -> None:
    source = (
        "def f():\n try:\n  import a.b\n finally:\n  from c import d\nif TYPE_CHECKING:\n import e"
    )
    found = [ast.unparse(node) for node in statements(ast.parse(source))]
    assert found == ["import a.b", "from c import d"]
    assert reached("lvsd.checks.engine")["lvsd.checks.stream"] != "lvsd.checks.engine"
