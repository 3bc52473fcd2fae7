"""Reads BUILD as Python and says where the files do not keep to it.

`load` alone brings in the rules, as in a Bazel that has no native ones; `glob`
looks at the real files. A folder of `tfwd` is called a room.
"""

import ast
import dataclasses
import pathlib

RULES = "@rules_python//python:{}.bzl"

# Which other rooms the files of a room, or a file beside the rooms, may import.
# `tfwd` is the public face, tfwd/__init__.py.
ORDER = {
    "tfwd": {
        "binaries",
        "extras",
        "kfac",
        "models",
        "optimizers",
        "scaling",
        "schedules",
    },
    "arguments": set(),
    "binaries": set(),
    "callbacks": {
        "arguments",
        "diagnostics",
        "durable",
        "extras",
        "kfac",
        "optimizers",
        "types",
    },
    "csv_lines": set(),
    "data": {"extras"},
    "diagnose": {"training"},
    "diagnostics": {
        "arguments",
        "csv_lines",
        "durable",
        "extras",
        "kfac",
        "optimizers",
        "text_table",
        "types",
    },
    "durable": set(),
    "extras": set(),
    "hashing": set(),
    "kfac": {"arguments", "hashing", "optimizers", "text_table", "types"},
    "models": {"arguments", "hashing"},
    "optimizers": {
        "arguments",
        "scaling",
        "schedules",
        "text_table",
        "types",
        "versions",
    },
    "quiet": set(),
    "scaling": {"arguments"},
    "schedules": {"arguments", "types"},
    "text_table": set(),
    "training": {
        "tfwd",
        "arguments",
        "callbacks",
        "data",
        "diagnostics",
        "csv_lines",
        "durable",
        "extras",
        "kfac",
        "models",
        "optimizers",
        "quiet",
        "scaling",
        "schedules",
    },
    "train": {"training"},
    "tune": {"training", "tuning"},
    "tuning": {
        "arguments",
        "durable",
        "extras",
        "kfac",
        "optimizers",
        "text_table",
        "training",
    },
    "types": set(),
    "versions": set(),
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A rule of BUILD; `srcs` are paths, `deps` names without the colon."""

    rule: str
    name: str
    srcs: list
    deps: list
    main: str | None
    args: list


def read_targets(text, root):
    """Executes a BUILD file; returns its Python targets by name."""
    targets = {}

    def declare(rule):
        def add(name, srcs=(), deps=(), main=None, args=(), **_):
            if name in targets:
                raise ValueError(f"{name} is declared twice")
            deps = [dep.removeprefix(":") for dep in deps]
            targets[name] = Target(rule, name, srcs, deps, main, args)

        return add

    def load(file, *rules):
        for rule in rules:
            if file != RULES.format(rule):
                raise ValueError(f"{rule} is not loaded from its own file")
            namespace[rule] = declare(rule)

    def match(pattern):
        # pathlib's final `**` matches folders only, Bazel's every file.
        if pattern.endswith("**"):
            pattern += "/*"
        files = filter(pathlib.Path.is_file, root.glob(pattern))
        return {file.relative_to(root).as_posix() for file in files}

    def glob(include, exclude=(), allow_empty=False):
        paths = set().union(*map(match, include))
        paths = paths.difference(*map(match, exclude))
        if not paths and not allow_empty:
            raise ValueError(f"glob({include}) matches nothing")
        return sorted(paths)

    def ignore(**_):
        pass

    namespace = {
        "load": load,
        "glob": glob,
        "package": ignore,
        "filegroup": ignore,
    }
    exec(compile(text, "BUILD", "exec"), namespace)
    return targets


def file_of(module, root):
    """The path of a dotted module name, or None where there is no such file."""
    base = module.replace(".", "/")
    for path in (f"{base}.py", f"{base}/__init__.py"):
        if (root / path).is_file():
            return path
    return None


def imported_modules(path, root):
    """The modules of this repository that a file imports, inner imports too.

    `from tfwd.data import partition` counts as `tfwd.data.partition` where
    that is a module, else as `tfwd.data`.
    """
    modules = set()
    for node in ast.walk(ast.parse((root / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                modules.add(inner if file_of(inner, root) else node.module)
    return {
        module
        for module in modules
        if module.partition(".")[0] in ("tfwd", "tfwd_tests")
    }


def reachable_sources(name, targets):
    """The sources of a target and of all that it depends on."""
    sources, waiting, seen = set(), [name], set()
    while waiting:
        target = targets[waiting.pop()]
        if target.name not in seen:
            seen.add(target.name)
            sources |= set(target.srcs)
            waiting += target.deps
    return sources


def room_of(module):
    """`data` for `tfwd.data.partition`, `tfwd` for `tfwd` itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "tfwd"


def build_faults(text, root):
    """What is wrong with BUILD, one sentence for each fault."""
    try:
        targets = read_targets(text, root)
    except (NameError, ValueError) as error:
        return [str(error)]
    faults = [
        f"{target.name} depends on {dep}, which is no target"
        for target in targets.values()
        for dep in target.deps
        if dep not in targets
    ]
    if faults:
        return faults

    files = sorted(
        path.relative_to(root).as_posix()
        for folder in ("tfwd", "tfwd_tests")
        for path in (root / folder).glob("**/*.py")
    )
    mains = {target.main for target in targets.values()}
    for path in files:
        # Bazel wants the main of a test among its sources: the one main of
        # all tests belongs to each of them.
        owners = [
            target.name
            for target in targets.values()
            if path in target.srcs
            and (target.rule, target.main) != ("py_test", path)
        ]
        if len(owners) != 1 and (owners or path not in mains):
            faults.append(f"{path} is in {len(owners)} targets: {owners}")
        if path.endswith("_test.py"):
            test = targets.get(path.removesuffix(".py"))
            if test is None or test.rule != "py_test" or test.args != [path]:
                faults.append(f"{path} has no py_test named after it")
        for name in owners:
            sources = reachable_sources(name, targets)
            faults += [
                f"{path} imports {module}: not in {name}"
                for module in sorted(imported_modules(path, root))
                if file_of(module, root) not in sources
            ]
    return faults


def order_faults(root):
    """The imports under tfwd/ that go against the order of the rooms."""
    faults = []
    for file in sorted((root / "tfwd").glob("**/*.py")):
        path = file.relative_to(root)
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        room = room_of(module)
        if room not in ORDER:
            faults.append(f"{room} has no place in the order")
            continue
        faults += [
            f"{path.as_posix()} imports {imported}"
            for imported in sorted(imported_modules(path, root))
            if room_of(imported) not in ORDER[room] | {room}
        ]
    return faults
