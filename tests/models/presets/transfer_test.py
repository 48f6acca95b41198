import keras
import numpy as np
import pytest
import torch

from keras_muse import MuseBase
from keras_muse import MuseSuperRes
from keras_muse import VQGANTokenizer
from keras_muse.models.presets.transfer import interpolate_positions
from tests.helpers import tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    directory = tmp_path_factory.mktemp("preset") / "base"
    model = tiny.tiny_base()
    model.save_to_preset(str(directory))
    return model, str(directory)


def by_path(model):
    """Weights by what their path is below the model's name."""
    return {
        weight.path.partition("/")[2]: tiny.to_numpy(weight)
        for weight in model.weights
    }


def compare(old, new):
    """Names of the weights that are the same bit for bit, and the others."""
    old, new = by_path(old), by_path(new)
    assert old.keys() == new.keys()
    same = {name for name in old if np.array_equal(old[name], new[name])}
    return same, old.keys() - same


def fresh_names(printed):
    (line,) = [x for x in printed.splitlines() if "started afresh" in x]
    names = line.split("started afresh: ")[1].split(", ")
    return {name.partition("/")[2] for name in names} - {""}


def test_the_same_values_change_nothing(base):
    model, preset = base
    copied = MuseBase.from_preset(
        preset, codebook_size=16, grid_size=[4, 4], text_dim=tiny.TEXT_DIM
    )
    data = tiny.tiny_data(model)
    np.testing.assert_array_equal(
        tiny.to_numpy(copied(data)), tiny.to_numpy(model(data))
    )


@pytest.mark.parametrize(
    "changes, expected",
    [
        (
            {"codebook_size": 24},
            {"token_embedding/codes", "head_logits"},
        ),
        ({"text_dim": 10}, {"text_projection"}),
        ({"grid_size": (6, 8)}, set()),
        (
            {"codebook_size": 24, "text_dim": 10, "grid_size": (2, 4)},
            {"token_embedding/codes", "head_logits", "text_projection"},
        ),
    ],
)
def test_what_fits_is_kept_and_the_rest_is_named(
    base, changes, expected, capsys
):
    model, preset = base
    new = MuseBase.from_preset(preset, **changes)
    assert fresh_names(capsys.readouterr().out) == expected
    _, changed = compare(model, new)
    positions = {"token_embedding/positions"} & changed
    assert {x.rpartition("/")[0] for x in changed - positions} == expected
    assert bool(positions) == ("grid_size" in changes)
    config = {**model.get_config(), **changes}
    assert new.get_config() == config
    # Fresh weights are the initializer's, not copies of something.
    young = {
        "token_embedding/codes/embeddings": 0.88,
        "head_logits/kernel": (3 * new.hidden_dim) ** -0.5,
        "head_logits/bias": 0,
        "text_projection/kernel": (3 * new.text_dim) ** -0.5,
    }
    for name in changed - positions:
        fresh, old = by_path(new)[name], by_path(model)[name]
        assert fresh.std() == pytest.approx(young[name], rel=0.15)
        assert not np.isin(fresh, old).any()
    assert new.generate(**tiny_text(new), num_steps=1, seed=0).shape == (
        4,
        *new.grid_size,
    )


def tiny_text(model):
    text = tiny.tiny_text()
    if model.text_dim != tiny.TEXT_DIM:
        shape = (*text["text_mask"].shape, model.text_dim)
        text["text_embeddings"] = np.ones(shape, "float32")
    return {**text, "verbose": 0}


def test_super_res_has_two_grids_and_two_codebooks(tmp_path, capsys):
    model = tiny.tiny_super_res()
    model.save_to_preset(str(tmp_path / "preset"))
    new = MuseSuperRes.from_preset(
        str(tmp_path / "preset"),
        low_res_codebook_size=12,
        low_res_grid_size=(2, 2),
    )
    fresh = fresh_names(capsys.readouterr().out)
    assert fresh == {"low_res_embedding/codes"}
    _, changed = compare(model, new)
    assert changed == {
        "low_res_embedding/codes/embeddings",
        "low_res_embedding/positions",
    }


def test_a_tokenizer_keeps_its_convolutions(tmp_path, capsys):
    model = tiny.tiny_tokenizer()
    model.quantizer.num_updates.assign(7)
    model.save_to_preset(str(tmp_path / "preset"))
    new = VQGANTokenizer.from_preset(str(tmp_path / "preset"), codebook_size=9)
    assert fresh_names(capsys.readouterr().out) == {"quantizer"}
    for part in ("encoder", "decoder"):
        assert not compare(getattr(model, part), getattr(new, part))[1]
    # A fresh codebook is placed by its first batch, as a new model's is.
    assert int(new.quantizer.num_updates) == 0


def test_weights_stay_random_without_load_weights(base, capsys):
    new = MuseBase.from_preset(base[1], load_weights=False, codebook_size=24)
    assert new.codebook_size == 24
    assert "afresh" not in capsys.readouterr().out


# === Positions ===


@pytest.mark.parametrize("grid_size", [(8, 8), (5, 12), (4, 4), (6, 4)])
def test_positions_against_torch(grid_size):
    """Bilinear, pixel centres at half integers (`align_corners=False`)."""
    positions = np.random.default_rng(0).normal(size=(4, 4, 7))
    positions = positions.astype("float32")
    expected = torch.nn.functional.interpolate(
        torch.tensor(positions).permute(2, 0, 1)[None],
        grid_size,
        mode="bilinear",
        align_corners=False,
    )[0].permute(1, 2, 0)
    np.testing.assert_allclose(
        tiny.to_numpy(interpolate_positions(positions, grid_size)),
        expected.numpy(),
        atol=1e-6,
    )


def test_a_plane_stays_a_plane_inside():
    """A position that grows evenly over the picture still does."""
    rows, columns = np.mgrid[0:4, 0:4] + 0.5
    plane = np.stack([rows / 4, columns / 4], axis=-1).astype("float32")
    fine = tiny.to_numpy(interpolate_positions(plane, (8, 8)))
    rows, columns = (np.mgrid[0:8, 0:8] + 0.5) / 8
    inside = slice(1, 7)
    np.testing.assert_allclose(fine[inside, :, 0], rows[inside], atol=1e-6)
    np.testing.assert_allclose(
        fine[:, inside, 1], columns[:, inside], atol=1e-6
    )


def test_a_constant_stays_a_constant():
    positions = keras.ops.full((4, 4, 3), 0.7)
    fine = tiny.to_numpy(interpolate_positions(positions, (3, 9)))
    assert fine.shape == (3, 9, 3)
    np.testing.assert_allclose(fine, 0.7, rtol=1e-6)


def test_the_transferred_positions_are_the_interpolated_ones(base):
    model, preset = base
    new = MuseBase.from_preset(preset, grid_size=(8, 6))
    np.testing.assert_array_equal(
        tiny.to_numpy(new.token_embedding.positions),
        tiny.to_numpy(
            interpolate_positions(model.token_embedding.positions, (8, 6))
        ),
    )
