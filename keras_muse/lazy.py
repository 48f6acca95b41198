"""Public names that are imported when they are first used."""

import importlib


def lazy_names(package, module_of_name):
    """`__getattr__` and `__dir__` for a package's `__init__`.

    Args:
        package: string. Name of the package.
        module_of_name: dict. Public name to the module that defines it, or to
            the module itself where the name is a submodule's.

    Returns:
        The two functions.
    """

    def get(name):
        if name not in module_of_name:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}"
            )
        module = importlib.import_module(module_of_name[name])
        is_submodule = module.__name__ == f"{package}.{name}"
        return module if is_submodule else getattr(module, name)

    return get, lambda: sorted(module_of_name)
