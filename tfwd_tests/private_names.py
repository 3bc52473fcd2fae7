"""Which private names of others a file of the library reads."""

import ast


def of_file(path, own=(), more=()):
    """Returns what a file reads of Keras' inside, and of others' attributes.

    An attribute with an underscore of anything but `self` and `cls`, by name or
    by `getattr`, and a string that is one of some names.

    Args:
        path: The path of the file.
        own: Private names that are the library's own.
        more: Names that count as private.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.ImportFrom(module=str(name)) if "keras.src" in name:
                found.add(name)
            case ast.Import(names=names):
                found |= {n.name for n in names if "keras.src" in n.name}
            case ast.Attribute(value=ast.Name(id="keras"), attr="src"):
                found.add("keras.src")
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if _is_private(name):
                found.add(name)
            case ast.Call(
                func=ast.Name(id="getattr"), args=[_, ast.Constant(name), *_]
            ) if _is_private(name):
                found.add(name)
            case ast.Constant(value=str(name)) if name in more:
                found.add(name)
    return found - set(own)


def defined_in(path):
    """Returns the private names that a file gives to attributes of `self`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) if _is_private(name):
                found.add(name)
            case ast.Attribute(
                value=ast.Name(id="self"), attr=name, ctx=ast.Store()
            ) if _is_private(name):
                found.add(name)
    return found


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")
