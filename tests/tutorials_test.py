"""Each tutorial runs top to bottom, and is stored as it ran.

The runs are of toy size: the cell tagged "parameters" is replaced, all others
run as they stand, in an empty directory and a process of their own.
"""

import ast
import os
import pathlib
import re

import nbformat
import pytest
from nbclient import NotebookClient

from keras_muse.muse.preset import load_defaults
from tests.helpers import tiny_muse

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOKS = {path.stem: path for path in sorted(ROOT.glob("tutorials/*.ipynb"))}
TOKENIZER = {
    "base_channels": 8,
    "channel_multipliers": (1, 1, 2),
    "num_res_blocks": 1,
    "codebook_size": 16,
    "codebook_dim": 4,
    "num_groups": 4,
}
TRANSFORMER = {
    "num_layers": 1,
    "hidden_dim": 16,
    "num_heads": 2,
    "intermediate_dim": 32,
}
TOY_PARAMETERS = {
    "01_generate": {
        "PRESET": "quickstart/preset",
        "NUM_STEPS": 3,
        "NUM_IMAGES": 8,
        "STEP_COUNTS": [1, 3],
    },
    "02_train_a_tokenizer": {
        "STYLES": ["noto"],
        "GROUPS": ["food & drink"],
        "NUM_PICTURES": 8,
        "SMALL": 16,
        "LARGE": 32,
        "BATCH_SIZE": 4,
        "EPOCHS": 3,  # a grid is drawn of each
        "ADVERSARIAL_EPOCHS": 1,
        "DECODER_EPOCHS": 1,
        "TOKENIZER": TOKENIZER,
    },
    "03_train_the_base": {
        "PRESET": "quickstart/preset",
        "QUICKSTART_MINUTES": 0,
        "STYLE": "fxemoji",
        "GROUPS": ["food & drink"],
        "NUM_PICTURES": 20,
        "IMAGE_SIZE": 16,
        "BATCH_SIZE": 8,
        "EPOCHS": 2,
        "STEPS_PER_EPOCH": 2,
        "NUM_STEPS": 3,
        "TRANSFORMER": TRANSFORMER,
    },
    "04_super_resolution": {
        "PRESET": "quickstart/preset",
        "QUICKSTART_MINUTES": 0,
        "STYLES": ["noto"],
        "GROUPS": ["food & drink"],
        "NUM_PICTURES": 16,
        "SMALL": 16,
        "LARGE": 32,
        "BATCH_SIZE": 8,
        "EPOCHS": 2,
        "STEPS_PER_EPOCH": 2,
        "NUM_STEPS": 3,
        "TRANSFORMER": {
            **TRANSFORMER,
            "low_res_num_layers": 1,
            "block_size": 2,
        },
    },
    "05_edit": {
        "PRESET": "quickstart/preset",
        "NUM_STEPS": 2,
        "NUM_ROUNDS": 6,
    },
    "06_scale": {
        "PRESET": "quickstart/preset",
        "QUICKSTART_MINUTES": 0,
        "STYLE": "fxemoji",
        "NUM_PICTURES": 16,
        "BATCH_SIZE": 8,
        "EPOCHS": 2,
        "SAVE_FREQ": 1,
        "NUM_STEPS": 2,
    },
    "07_amused": {"SOURCE": "tiny_amused", "NUM_STEPS": 2},
    "08_lora": {
        "PRESET": "quickstart/preset",
        "QUICKSTART_MINUTES": 0,
        "STYLE": "fxemoji",
        "GROUPS": ["food & drink"],
        "NUM_PICTURES": 16,
        "FEW": 2,
        "RANK": 2,
        "BATCH_SIZE": 8,
        "EPOCHS": 2,
        "FEW_EPOCHS": 1,
        "NUM_STEPS": 2,
    },
}
ABSOLUTE_PATH = re.compile(r"(?:^|[\s'\"(=])(?:[A-Z]:\\|/\w[\w.-]*/)\S*", re.M)
# What a run leaves in its directory.
FILES = {
    "01_generate": ["apple.png"],
    "02_train_a_tokenizer": [
        "reconstructions/epoch_0003.png",
        "tokenizer/config.json",
    ],
    "03_train_the_base": [
        "tokens/train/metadata.json",
        "tokens/validation/metadata.json",
        "my_muse/muse.json",
    ],
    "04_super_resolution": ["tokens/train/metadata.json", "my_muse/muse.json"],
    "05_edit": [],
    "06_scale": ["train.py", "tokens/train/metadata.json"],
    "07_amused": ["tiny_amused/model_index.json", "amused_preset/muse.json"],
    "08_lora": ["style.lora.h5", "my_base/config.json"],
}
# What an earlier run has left there, and must not be taken for this one's.
LEFT = {"06_scale": ["runs/killed/9/left", "runs/devices_1/9/left"]}
# What it prints on the way, at toy size and as it is stored.
PRINTED = {
    "01_generate": ["the same picture alone and in its batch: True"],
    "02_train_a_tokenizer": [
        "before training it paints the same: True",
        "the same tokens, bit for bit: True",
        "the same tokens after loading: True",
    ],
    "03_train_the_base": [
        "'broken picture': ['broken.png']",
        "'empty caption': ['untold.png']",
        "started afresh",
        "the loaded one draws the same: True",
    ],
    "04_super_resolution": ["small tokens of another row"],
    "05_edit": ["outside the masks nothing has changed: True", "stopped after"],
    "06_scale": ["killed; saved after step", "all the same: True"],
    "07_amused": [
        "the same picture alone and in its batch: True",
        "outside the masks nothing has changed: True",
        "the preset draws the same: True",
    ],
    "08_lora": ["the same pictures: True"],
}


@pytest.fixture
def kernel_environment(monkeypatch):
    """The package of this checkout, one backend, and no way out."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody listens
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """Random weights in the place of what `keras-muse quickstart` trains."""
    directory = str(tmp_path_factory.mktemp("quickstart") / "preset")
    tiny_muse.tiny_muse().save_to_preset(directory)
    return directory


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_top_to_bottom(name, preset, tmp_path, kernel_environment):
    notebook = _read(name)
    cell = _parameters_cell(notebook)
    cell.source = "\n".join(
        f"{key} = {value!r}" for key, value in TOY_PARAMETERS[name].items()
    )
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "quickstart/preset").symlink_to(preset)
    left = [tmp_path / file for file in LEFT.get(name, [])]
    for file in left:
        file.parent.mkdir(parents=True)
        file.touch()
    for code in _code_cells(notebook):
        code.outputs = []
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()

    assert _num_pictures(notebook) == _num_pictures(_read(name))
    for file in FILES[name]:
        assert (tmp_path / file).stat().st_size > 0
    assert not any(file.exists() for file in left)
    for text in PRINTED[name]:
        assert text in _printed(notebook)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_toy_parameters_are_those_of_the_notebook(name):
    tree = ast.parse(_parameters_cell(_read(name)).source)
    names = [
        node.id
        for statement in tree.body
        for node in ast.walk(statement.targets[0])
        if isinstance(node, ast.Name)
    ]

    assert names == list(TOY_PARAMETERS[name])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_stored_as_it_ran(name):
    notebook = _read(name)
    cells = _code_cells(notebook)
    outputs = [output for cell in cells for output in cell.outputs]

    assert [cell.execution_count for cell in cells] == list(
        range(1, len(cells) + 1)
    )
    assert _num_pictures(notebook) >= 3
    assert not [o for o in outputs if o.output_type == "error"]
    for text in PRINTED[name]:
        assert text in _printed(notebook)


def test_the_bundled_model_draws_as_its_page_has_stored():
    printed = _printed(_read("01_generate"))

    assert f"{load_defaults('muse_emoji')}\n" in printed


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_text_has_no_absolute_path(name):
    notebook = _read(name)
    texts = [_printed(notebook), *(cell.source for cell in notebook.cells)]

    assert not ABSOLUTE_PATH.findall("\n".join(texts))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_writes_over_what_another_page_has_written(name):
    """All pages may be run in one folder, each more than once."""
    for cell in _code_cells(_read(name)):
        for call in _nodes(cell):
            function = getattr(call, "func", None)
            if getattr(function, "attr", "") == "write_token_shards":
                options = {option.arg for option in call.keywords}
                assert "overwrite" in options, cell.source


def test_a_program_that_fails_is_not_waited_for():
    for cell in _code_cells(_read("06_scale")):
        for loop in _nodes(cell):
            if isinstance(loop, ast.While):
                assert "process.poll()" in ast.unparse(loop)


def test_index_names_every_notebook():
    index = (ROOT / "tutorials/README.md").read_text()

    assert len(NOTEBOOKS) == 8
    for name in NOTEBOOKS:
        assert f"({name}.ipynb)" in index


def _read(name):
    return nbformat.read(NOTEBOOKS[name], as_version=4)


def _code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _nodes(cell):
    """The syntax of a cell, which may begin with `%%writefile`."""
    is_file = cell.source.startswith("%%")
    return ast.walk(ast.parse("#" * is_file + cell.source))


def _parameters_cell(notebook):
    (cell,) = [
        cell
        for cell in _code_cells(notebook)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    return cell


def _num_pictures(notebook):
    return sum(
        "image/png" in output.get("data", {})
        for cell in _code_cells(notebook)
        for output in cell.outputs
    )


def _printed(notebook):
    return "".join(
        output.get("text", "")
        for cell in _code_cells(notebook)
        for output in cell.outputs
    )
