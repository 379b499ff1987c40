"""The public names of the installed dicube, with their parameters, as JSON.

    python public_names.py           all of them: {module: {name: {member: parameters}}}
    python public_names.py NAMES     of those in the file NAMES; null for what is not there

Run by the published package and by this one. A function's one member is "", as is a class's
constructor; a parameter is [name, kind, default]. A class as default is its name alone: it may
have moved, as long as its old module still has it.
"""

import importlib
import inspect
import json
import pkgutil
import sys
from pathlib import Path

import dicube


def parameters(value):
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return []
    return [
        [one.name, one.kind.name, None if one.default is one.empty else text_of(one.default)]
        for one in signature.parameters.values()
    ]


def text_of(default):
    return default.__name__ if inspect.isclass(default) else repr(default)


def described(value):
    if not inspect.isclass(value):
        return {"": parameters(value)}
    members = {name: getattr(value, name) for name in dir(value) if not name.startswith("_")}
    return {"": parameters(value), **{name: parameters(one) for name, one in members.items()}}


def names_of(module):
    """What a module defines and what it exports, but no modules and no imports."""
    defined = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }
    return sorted(defined | set(getattr(module, "__all__", ())))


def module_named(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def main():
    if len(sys.argv) > 1:
        wanted = json.loads(Path(sys.argv[1]).read_text())
    else:
        packages = pkgutil.walk_packages(dicube.__path__, "dicube.")
        modules = ["dicube", *(package.name for package in packages)]
        wanted = {name: names_of(module_named(name)) for name in modules}
    found = {}
    for name, names in wanted.items():
        module = module_named(name)
        found[name] = module and {
            one: described(getattr(module, one)) if hasattr(module, one) else None for one in names
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
