"""The house: which room may import which, and who may touch whose insides."""

import ast
import collections
import pathlib

PACKAGE = pathlib.Path(__file__).parent.parent / "keras_muse"
# From the ground: a room imports from its own floor and from those below.
FLOORS = [
    ("lazy", "version", "ops", "runtime", "files", "callbacks"),
    ("layers", "losses", "metrics", "optimizers", "samplers"),
    ("models", "scorers"),
    ("data", "training", "converters"),
    ("muse",),
    ("evaluation", "recipes", "commands", "demo"),
    ("cli",),
]
FLOOR_OF = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
# Each at home in files of its name only, such as `_jax.py`.
BACKENDS = ("jax", "tensorflow", "torch")
# What Keras and KerasHub do not offer in public.
PRIVATE = {
    "files/hub.py": {"keras_hub.src.utils"},
    "runtime/variables.py": {"keras.src.backend.common"},
    "models/text_encoders/clip_text_encoder.py": {
        "keras_hub.src.models.clip.clip_layers"
    },
}
# Modules whose tests have another name: through what they serve.
ENCODERS = "models/text_encoders"
TESTED_BY = {
    "converters/bert.py": f"{ENCODERS}/minilm_text_encoder_test.py",
    "converters/t5.py": f"{ENCODERS}/t5_text_encoder_test.py",
    "converters/t5_keras_hub.py": f"{ENCODERS}/t5_text_encoder_test.py",
    "demo/handlers.py": "demo/server_test.py",
    "demo/layout.py": "demo/browser_test.py",
    "demo/page.py": "demo/server_test.py",
    "files/bundled.py": "models/presets/loading_test.py",
    "metrics/networks/feature_network.py": (
        "metrics/networks/efficientnet_lite0_test.py"
    ),
    "models/presets/small_architectures.py": (
        "models/presets/architectures_test.py"
    ),
    f"{ENCODERS}/bert_layer.py": f"{ENCODERS}/minilm_text_encoder_test.py",
    f"{ENCODERS}/t5_layers.py": f"{ENCODERS}/t5_text_encoder_test.py",
    "models/transformers/muse_transformer.py": (
        "models/transformers/masked_token_model_test.py"
    ),
    "models/vqgan/training.py": "models/vqgan/vqgan_tokenizer_test.py",
    "recipes/recipe.py": "recipes/quickstart_test.py",
    "version.py": "commands/help_test.py",
}


def modules():
    """Paths of all modules, by their names below the package."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(part for part in parts if part != "__init__")] = path
    return names


MODULES = modules()


def imported(path):
    """Yields `(line, name)` of all that a module imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def of_ours(path):
    """Yields `(line, name)` of imported modules below the package."""
    for line, name in imported(path):
        if name.startswith("keras_muse."):
            name = name.removeprefix("keras_muse.")
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            yield line, name


def floor(name):
    return FLOOR_OF[name.partition(".")[0]]


def test_every_room_has_a_floor():
    assert {name.partition(".")[0] for name in MODULES if name} == set(FLOOR_OF)


def test_every_room_says_what_lives_there():
    for path in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_imports_point_down():
    up = [
        f"{name}, line {line}: {other}"
        for name in MODULES
        if name
        for line, other in of_ours(MODULES[name])
        if other and floor(other) > floor(name)
    ]
    assert not up


def test_no_module_imports_itself_in_a_circle():
    graph = {
        name: {
            other
            for _, other in of_ours(path)
            if other and MODULES[other].name != "__init__.py"
        }
        for name, path in MODULES.items()
        if path.name != "__init__.py"
    }
    # Takes away what imports nothing that is left; circles remain.
    waiting = collections.deque(graph)
    while waiting:
        done = [name for name in graph if not graph[name]]
        if not done:
            break
        for name in done:
            del graph[name]
        for others in graph.values():
            others.difference_update(done)
    assert not graph


def test_only_leaves_import_a_backend():
    wrong = [
        f"{name}, line {line}: {other}"
        for name, path in MODULES.items()
        for line, other in imported(path)
        if (root := other.partition(".")[0]) in BACKENDS
        and path.stem != f"_{root}"
    ]
    assert not wrong


def test_private_modules_of_keras_have_one_place():
    found = collections.defaultdict(set)
    for path in MODULES.values():
        for _, other in imported(path):
            if other.startswith(("keras.src", "keras_hub.src")):
                place = str(path.relative_to(PACKAGE))
                found[place].add(other.rpartition(".")[0])
    assert found == PRIVATE


def test_no_class_stands_on_more_than_three_of_ours():
    bases = {
        node.name: [ast.unparse(base) for base in node.bases]
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }

    def above(name):
        ours = {base for base in bases[name] if base in bases}
        return ours.union(*map(above, ours))

    high = {name: above(name) for name in bases if len(above(name)) > 3}
    assert not high


def test_tests_mirror_the_tree():
    tests = PACKAGE.parent / "tests"
    places = {
        str(path.relative_to(PACKAGE))
        for path in MODULES.values()
        if not path.name.startswith("_")
    }
    own = {place for place in places if (tests / mirrored(place)).exists()}
    assert places - own == set(TESTED_BY)
    for name in TESTED_BY.values():
        assert (tests / name).exists(), name


def mirrored(place):
    return f"{place.removesuffix('.py')}_test.py"


def test_text_files_say_their_encoding():
    """That of the machine may not know what is in them."""
    silent = {
        f"{name}:{call.lineno}"
        for name, path in MODULES.items()
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and _opens_text(call)
    }
    assert silent == set()


def _opens_text(call):
    function = ast.unparse(call.func)
    if function != "open" and not function.endswith(
        (".write_text", ".read_text")
    ):
        return False
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    words = [ast.unparse(x) for x in call.args]
    is_binary = any(x.strip("'\"") in ("rb", "wb", "ab", "xb") for x in words)
    return not is_binary and "os.devnull" not in words
