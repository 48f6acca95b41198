import contextlib
import importlib
import inspect
import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest

import keras_muse
from keras_muse.samplers import Sampler

PACKAGE = pathlib.Path(keras_muse.__file__).parent
BACKENDS = ("jax", "tensorflow", "torch")
# Modules whose names are shown to users, with what is defined in them.
MODULES = (
    *("layers", "losses", "metrics", "metrics.networks", "models"),
    *("optimizers", "samplers"),
)
LARGER_MODULES = ("data", "evaluation", "training")
# Examples that need pictures of one's own, the network, or minutes.
NOT_RUN = (".train", ".convert", ".evaluate")
NEEDS_JAX = ("data_parallel", "model_parallel")


def named(module):
    return importlib.import_module(f"keras_muse.{module}")


def imported_by(statement):
    """Which big packages a statement imports, in a fresh process."""
    script = (
        f"import sys\n{statement}\n"
        "print(*[n for n in ('keras', 'keras_hub', 'jax', 'tensorflow', "
        "'torch') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PACKAGE.parent,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_import_alone_imports_no_backend():
    assert imported_by("import keras_muse; keras_muse.__version__") == set()


def test_models_need_neither_tensorflow_nor_torch():
    imported = imported_by(
        "from keras_muse import ConfidenceSampler, Discriminator, MuseBase\n"
        "from keras_muse import MuseSuperRes, VQGANTokenizer"
    )
    assert "keras" in imported and not imported & {"tensorflow", "torch"}


@pytest.mark.parametrize(
    "name", sorted(set(keras_muse.__all__) - {"__version__"})
)
def test_public_name_resolves(name):
    value = getattr(keras_muse, name)
    assert name in dir(keras_muse)
    if inspect.isclass(value):
        assert value.__name__ == name


@pytest.mark.parametrize("module", [*MODULES, *LARGER_MODULES])
def test_names_of_submodules_resolve(module):
    module = named(module)
    assert list(module.__all__)
    for name in set(module.__all__) - {"PROTOCOLS"}:  # a dict has no name
        assert getattr(module, name).__name__.rpartition(".")[2] == name


def test_unknown_names_raise():
    with pytest.raises(AttributeError, match="no attribute 'Mouse'"):
        keras_muse.Mouse  # noqa: B018


def test_only_leaf_files_import_a_backend():
    pattern = re.compile(
        rf"^\s*(?:import|from)\s+({'|'.join(BACKENDS)})\b", re.MULTILINE
    )
    leaves = {f"_{backend}.py" for backend in BACKENDS}
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.name not in leaves and pattern.search(path.read_text())
    }
    assert found == set()
    # The pattern does find what it looks for.
    assert pattern.search((PACKAGE / "runtime" / "_jax.py").read_text())


def test_assertions_are_no_checks():
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"^\s*assert ", path.read_text(), re.MULTILINE)


def objects_of(modules):
    """Their public classes and functions, each once, by their full name."""
    objects = {}
    for module in modules:
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):
                objects[f"{value.__module__}.{name}"] = value
    return objects


def public_objects():
    larger = map(named, (*LARGER_MODULES, "converters"))
    objects = {**SERIALIZED, **objects_of([keras_muse, *larger])}
    for file in sorted((PACKAGE / "ops").glob("[a-z]*.py")):
        module = importlib.import_module(f"keras_muse.ops.{file.stem}")
        for name, value in inspect.getmembers(module, inspect.isfunction):
            if value.__module__ == module.__name__ and name[0] != "_":
                objects[f"{module.__name__}.{name}"] = value
    return objects


SERIALIZED = objects_of(map(named, MODULES))
PUBLIC = public_objects()
CLASSES = {k: v for k, v in PUBLIC.items() if inspect.isclass(v)}
EXAMPLES = {
    name: re.findall(r"```python\n(.*?)```", inspect.getdoc(value), re.DOTALL)
    for name, value in PUBLIC.items()
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_object_is_documented(name):
    value = PUBLIC[name]
    doc = inspect.getdoc(value)
    assert doc and doc[0] != "\n"
    parameters = [
        p
        for p in inspect.signature(value).parameters.values()
        if p.kind is not p.VAR_KEYWORD
    ]
    if len(doc.splitlines()) == 1:  # a summary that says it all
        assert not inspect.isclass(value)
        return
    for parameter in parameters:
        names = rf"^\s+(\w+,\s+)*{parameter.name}(,\s+[\w*]+)*: "
        assert re.search(names, doc, re.MULTILINE), (
            f"`{parameter.name}` is not described"
        )


def functions_and_methods():
    """Public functions, classes and their methods, each once, by name."""
    found = {}
    for value in PUBLIC.values():
        methods = inspect.getmembers(value, inspect.isroutine)
        for name, member in [("class", value), *methods]:
            own = str(getattr(member, "__module__", "")).split(".")[0]
            if name[0] != "_" and own == "keras_muse" and callable(member):
                found[f"{member.__module__}.{member.__qualname__}"] = member
    return found


def described_arguments(value):
    """What a docstring says of each argument."""
    _, _, rest = inspect.cleandoc(value.__doc__ or "").partition("Args:\n")
    section = re.split(r"\n(?=\S)", rest)[0]
    entries = re.findall(
        r"^    (\w[\w*, ]*): ((?:.|\n(?!    \S))*)", section, re.MULTILINE
    )
    return {
        name: " ".join(text.split())
        for names, text in entries
        for name in names.split(", ")
    }


def test_arguments_are_described_in_their_order():
    wrong = []
    for place, value in functions_and_methods().items():
        described = list(described_arguments(value))
        names = [
            n for n in inspect.signature(value).parameters if n in described
        ]
        if [n for n in described if n in names] != names:
            wrong.append((place, described))
    assert wrong == []


def test_defaults_are_told_and_true():
    wrong = []
    for place, value in functions_and_methods().items():
        texts = described_arguments(value)
        for name, parameter in inspect.signature(value).parameters.items():
            default, text = parameter.default, texts.get(name)
            if text is None or default in (None, parameter.empty):
                continue
            is_elsewhere = re.search(r"\b(see|as (in|there|that))\b", text)
            told = re.search("efaults? to `([^`]*)`", text)
            is_true = "efault" in text or is_elsewhere
            if told:
                with contextlib.suppress(NameError, SyntaxError):
                    is_true = eval(told[1]) == default
            if not is_true:
                wrong.append((place, name, default, text))
    assert wrong == []


@pytest.mark.parametrize("name", CLASSES)
def test_public_class_is_registered_and_has_an_example(name):
    assert EXAMPLES[name]
    registered = keras.saving.get_registered_name(CLASSES[name])
    if name in SERIALIZED and CLASSES[name] is not Sampler:  # it is abstract
        assert registered == f"keras_muse>{CLASSES[name].__name__}"


@pytest.mark.parametrize("name", [n for n in EXAMPLES if n.endswith(NOT_RUN)])
def test_example_that_is_not_run_begins_with_its_imports(name):
    for block in EXAMPLES[name]:
        assert block.startswith(("import keras_muse\n", "from keras_muse "))


@pytest.mark.parametrize(
    "name", [n for n in EXAMPLES if EXAMPLES[n] and not n.endswith(NOT_RUN)]
)
def test_example_runs(name, tmp_path, monkeypatch):
    if name.endswith(NEEDS_JAX) and keras.backend.backend() != "jax":
        pytest.skip("needs JAX")
    monkeypatch.chdir(tmp_path)
    for block in EXAMPLES[name]:
        exec(compile(block, name, "exec"), {})
