"""What all transformers share; each test is run on each."""

import functools
from unittest import mock

import keras
import numpy as np
import pytest

from keras_muse.layers import Attention
from keras_muse.losses import masked_accuracy
from keras_muse.losses import masked_cross_entropy
from keras_muse.losses.masked_cross_entropy import token_cross_entropy
from keras_muse.models.transformers import masked_token_model
from keras_muse.models.transformers import training
from keras_muse.optimizers import AdafactorMomentum
from tests.helpers.tiny import TEXT_DIM
from tests.helpers.tiny import TEXT_LENGTH
from tests.helpers.tiny import call
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_data
from tests.helpers.tiny import tiny_super_res
from tests.helpers.tiny import tiny_uvit
from tests.helpers.tiny import to_numpy

MAKERS = {
    "base": tiny_base,
    # With both options that the paper does not have.
    "super_res": functools.partial(
        tiny_super_res, use_gated_activation=True, use_query_key_norm=True
    ),
    "uvit": tiny_uvit,
}


@pytest.fixture(scope="module", params=MAKERS)
def maker(request):
    return MAKERS[request.param]


@pytest.fixture(scope="module")
def model(maker):
    model = maker()
    model.compile(keras.optimizers.SGD(0.0))
    return model


@pytest.fixture
def data(model):
    return tiny_data(model)


def logits(model, data, **changes):
    return to_numpy(call(model, {**data, **changes}))


def evaluation_inputs(model, data):
    return model.loss_inputs(data, training=False)


# === The transformer ===


def test_one_program_gives_what_its_operations_give():
    """The tests below run the whole model as one program."""
    model = tiny_base()
    data = tiny_data(model)
    np.testing.assert_allclose(
        logits(model, data), to_numpy(model(data)), atol=1e-5
    )


def test_logits(model, data):
    result = logits(model, data)
    assert result.dtype == "float32"
    assert result.shape == (4, model.num_tokens, model.codebook_size)
    assert result.std() > 0.3  # what follows would hold of zeros too


def test_call_never_masks(model, data):
    np.testing.assert_array_equal(logits(model, data), logits(model, data))
    ids = data["token_ids"].copy()
    ids[:, 3] = (ids[:, 3] + 1) % model.codebook_size
    changed = logits(model, data, token_ids=ids) != logits(model, data)
    assert changed.any(axis=(1, 2)).all()


def test_ids_may_be_a_grid(model, data):
    grid = data["token_ids"].reshape(4, *model.grid_size)
    np.testing.assert_array_equal(
        logits(model, data, token_ids=grid), logits(model, data)
    )


def test_tokens_know_their_places(model, data):
    """Of equal tokens, each has logits of its own."""
    same = np.full_like(data["token_ids"], model.mask_token_id)
    result = logits(model, data, token_ids=same)[0]
    assert len(np.unique(result.round(4), axis=0)) == model.num_tokens


def test_text_matters(model, data):
    text = data["text_embeddings"].copy()
    text[:, 1] += 1.0  # a token that every text has
    changed = logits(model, data, text_embeddings=text) - logits(model, data)
    assert (abs(changed).max(axis=(1, 2)) > 1e-2).all()


def test_padding_does_not_matter(model, data):
    text = data["text_embeddings"].copy()
    text[~data["text_mask"]] = 1e3
    np.testing.assert_array_equal(
        logits(model, data, text_embeddings=text), logits(model, data)
    )


def test_length_of_the_padding_does_not_matter(model, data):
    longer = {
        name: np.concatenate([data[name], np.zeros_like(data[name])], axis=1)
        for name in ("text_embeddings", "text_mask")
    }
    np.testing.assert_allclose(
        logits(model, data, **longer), logits(model, data), atol=1e-4
    )


def test_a_dropped_text_does_not_matter_at_all(model, data):
    dropped = {**data, "text_mask": np.zeros_like(data["text_mask"])}
    other = 10 * data["text_embeddings"][::-1] + 3
    np.testing.assert_array_equal(
        logits(model, dropped, text_embeddings=other), logits(model, dropped)
    )
    assert abs(logits(model, dropped) - logits(model, data)).max() > 1e-2


def test_rows_do_not_see_each_other(model, data):
    alone = logits(model, {name: x[2:3] for name, x in data.items()})
    np.testing.assert_allclose(alone, logits(model, data)[2:3], atol=1e-4)


def test_padding_must_be_told_from_the_start(model, data):
    """The first token of a text counts like any other."""
    # Behind the vector of the whole text, if there is one.
    first = int(hasattr(model, "empty_text"))
    mask = data["text_mask"].copy()
    mask[:, first] = False
    changed = logits(model, data, text_mask=mask) - logits(model, data)
    assert (abs(changed).max(axis=(1, 2)) > 1e-3).all()


# === Masking and dropping in the training step ===


@pytest.fixture
def inference_inputs(model, monkeypatch):
    """What `loss_inputs` hands to the transformer."""
    seen = []

    def hidden(inputs):
        seen.append({name: to_numpy(x) for name, x in inputs.items()})
        return keras.ops.zeros((1,))

    monkeypatch.setattr(model, "hidden", hidden)
    return seen


def many(model, num_rows=3000):
    return {
        name: np.repeat(x[:1], num_rows, axis=0)
        for name, x in tiny_data(model, 1).items()
    }


def test_masks_as_many_as_the_paper(model, inference_inputs):
    data = many(model)
    outputs = model.loss_inputs(data, training=True)
    mask = to_numpy(outputs["mask"])
    assert abs(mask.mean() - 2 / np.pi) < 0.02
    assert mask.sum(axis=1).min() >= 1
    assert mask.sum(axis=1).max() == model.num_tokens
    # Equal rows, but each with a mask of its own.
    assert len(np.unique(mask, axis=0)) > 1000
    expected = np.where(mask, model.mask_token_id, data["token_ids"])
    np.testing.assert_array_equal(inference_inputs[0]["token_ids"], expected)
    np.testing.assert_array_equal(
        to_numpy(outputs["token_ids"]), data["token_ids"]
    )


def test_masks_differ_from_step_to_step(model, inference_inputs):
    data = many(model, 100)
    first, second = (
        to_numpy(model.loss_inputs(data, training=True)["mask"])
        for _ in range(2)
    )
    # Some rows are all masked in both.
    assert (first != second).any(axis=1).mean() > 0.7


@pytest.mark.parametrize("text_dropout", [0.0, 0.1, 0.5, 1.0])
def test_part_of_the_texts_is_dropped(model, inference_inputs, text_dropout):
    """Whole texts, this part and not the others."""
    data = many(model)
    data["text_mask"][:, 3:] = False
    before = data["text_mask"].copy()
    model.compile(keras.optimizers.SGD(0.0), text_dropout=text_dropout)
    model.loss_inputs(data, training=True)
    model.compile(keras.optimizers.SGD(0.0))
    mask = inference_inputs[0]["text_mask"]
    kept = mask.any(axis=1)
    np.testing.assert_array_equal(mask, before & kept[:, None])
    assert abs((1 - kept.mean()) - text_dropout) < 0.03
    if text_dropout in (0.0, 1.0):
        assert kept.mean() == 1 - text_dropout
    # The embeddings and the caller's arrays are left alone.
    np.testing.assert_array_equal(data["text_mask"], before)
    np.testing.assert_array_equal(
        inference_inputs[0]["text_embeddings"], data["text_embeddings"]
    )


def test_a_tenth_of_the_texts_is_dropped_by_default(model):
    model.compile()
    assert model.text_dropout == 0.1 and model.label_smoothing == 0
    assert isinstance(model.optimizer, AdafactorMomentum)
    model.compile(keras.optimizers.SGD(0.0))


def test_dropping_and_masking_are_independent(model, inference_inputs):
    data = many(model)
    model.compile(keras.optimizers.SGD(0.0), text_dropout=0.5)
    mask = to_numpy(model.loss_inputs(data, training=True)["mask"])
    model.compile(keras.optimizers.SGD(0.0))
    kept = inference_inputs[0]["text_mask"].any(axis=1)
    correlation = np.corrcoef(kept, mask.sum(axis=1))[0, 1]
    assert abs(correlation) < 0.08


def test_evaluation_masks_by_the_row(model, inference_inputs):
    data = tiny_data(model, 6)
    data["token_ids"][5] = data["token_ids"][0]
    first, second = (
        to_numpy(model.loss_inputs(data, training=False)["mask"])
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[0], first[5])
    assert (first[0] != first[1]).any()
    # All texts are kept.
    np.testing.assert_array_equal(
        inference_inputs[0]["text_mask"], data["text_mask"]
    )


def test_masked_ids_do_not_leak(model, data, monkeypatch):
    mask = np.random.default_rng(0).uniform(size=(4, model.num_tokens)) < 0.5
    monkeypatch.setattr(training.masking, "random_mask", lambda *args: mask)
    other = np.where(
        mask, (data["token_ids"] + 5) % model.codebook_size, data["token_ids"]
    )

    def with_this_mask(model, data):
        return evaluation_inputs(model, data)

    first, second = (
        call(model, {**data, "token_ids": ids}, function=with_this_mask)
        for ids in (data["token_ids"], other)
    )
    np.testing.assert_array_equal(
        to_numpy(first["features"]), to_numpy(second["features"])
    )


# === Loss ===


def test_evaluate_is_the_loss_on_masked_tokens(model):
    data = tiny_data(model, 8)
    outputs = call(model, data, function=evaluation_inputs)
    logits_of_all = model.head(outputs["features"])
    args = (outputs["token_ids"], logits_of_all, outputs["mask"])
    actual = model.evaluate(data, verbose=0, return_dict=True)
    loss = to_numpy(masked_cross_entropy(*args)).mean()
    accuracy = to_numpy(masked_accuracy(*args)).mean()
    assert actual["loss"] == pytest.approx(loss, rel=1e-4)
    assert actual["accuracy"] == pytest.approx(accuracy, abs=1e-5)


def test_evaluate_repeats_exactly(model):
    data = tiny_data(model, 8)
    first = model.evaluate(data, verbose=0)
    model.seed_generator.next()
    assert model.evaluate(data, verbose=0) == first


def test_label_smoothing_counts(model, data):
    outputs = call(model, data, function=evaluation_inputs)
    loss = {}
    for smoothing in (0.0, 0.2):
        model.compile(keras.optimizers.SGD(0.0), label_smoothing=smoothing)
        loss[smoothing] = float(model.compute_loss(y_pred=outputs))
    model.compile(keras.optimizers.SGD(0.0))
    logits_of_all = model.head(outputs["features"])
    args = (outputs["token_ids"], logits_of_all, outputs["mask"])
    expected = to_numpy(masked_cross_entropy(*args, 0.2)).mean()
    assert loss[0.2] == pytest.approx(expected, rel=1e-5)
    assert abs(loss[0.2] - loss[0.0]) > 1e-3


def test_rows_count_alike_or_tokens_do(model, data):
    outputs = model.loss_inputs(data, training=False)
    mask = to_numpy(outputs["mask"])
    assert len(set(mask.sum(axis=1))) > 1  # rows differ in masked tokens
    model.compile(keras.optimizers.SGD(0.0))
    args = (outputs["token_ids"], model.head(outputs["features"]))
    losses = to_numpy(token_cross_entropy(*args))
    expected = {
        "rows": np.mean(
            [x[m].mean() for x, m in zip(losses, mask, strict=True)]
        ),
        "tokens": losses[mask].mean(),
    }
    for average, loss in expected.items():
        model.compile(keras.optimizers.SGD(0.0), loss_average=average)
        actual = float(model.compute_loss(y_pred=outputs))
        assert actual == pytest.approx(loss, rel=1e-5)
    assert abs(expected["rows"] - expected["tokens"]) > 1e-3


@pytest.mark.parametrize("average", ["rows", "tokens"])
def test_visible_tokens_count_beside_the_masked_ones(model, data, average):
    outputs = model.loss_inputs(data, training=False)
    mask = to_numpy(outputs["mask"])
    args = (outputs["token_ids"], model.head(outputs["features"]))
    visible_loss = to_numpy(token_cross_entropy(*args))[~mask].mean()
    loss = {}
    for weight in (0.0, 0.5):
        model.compile(
            keras.optimizers.SGD(0.0),
            loss_average=average,
            visible_loss_weight=weight,
        )
        loss[weight] = {
            training: float(
                model.compute_loss(y_pred=outputs, training=training)
            )
            for training in (True, False)
        }
    # What is held out is measured by masked tokens alone.
    assert loss[0.5][False] == pytest.approx(loss[0.0][False], rel=1e-6)
    assert loss[0.5][True] - loss[0.0][True] == pytest.approx(
        0.5 * visible_loss, rel=1e-4
    )


def test_rows_without_visible_tokens_have_no_loss_of_them(model, data):
    outputs = model.loss_inputs(data, training=False)
    everything = np.ones_like(to_numpy(outputs["mask"]))
    outputs = {
        **outputs,
        "mask": everything,
        "mean_masked": np.full(
            (len(everything), 1), model.num_tokens, "float32"
        ),
    }
    model.compile(keras.optimizers.SGD(0.0), visible_loss_weight=0.5)
    terms = model.loss_terms(data, outputs, training=True)
    assert float(terms["visible_token_loss"]) == 0
    assert float(terms["masked_token_loss"]) > 0


def test_the_terms_are_shown_where_there_are_two():
    model = tiny_base()
    data = tiny_data(model, 8)
    names = {}
    for weight in (0.0, 0.1):
        model.compile(visible_loss_weight=weight)
        history = model.fit(
            data, validation_data=data, batch_size=4, verbose=0
        ).history
        names[weight] = set(history)
    terms = {"masked_token_loss", "visible_token_loss"}
    assert names[0.1] - names[0.0] == terms | {f"val_{x}" for x in terms}
    assert history["val_loss"] == pytest.approx(
        history["val_masked_token_loss"], rel=1e-5
    )


def test_the_mask_schedule_is_that_of_training_alone(model, data):
    def masks(schedule, training):
        model.compile(keras.optimizers.SGD(0.0), mask_schedule=schedule)
        seeds = np.arange(len(data["token_ids"]), dtype="int32")
        with mock.patch.object(
            masked_token_model, "draw_seeds", lambda *args: seeds
        ):
            return to_numpy(model.mask_inputs(data, training)["mask"])

    assert (masks("arccos", True) != masks("cosine", True)).any()
    np.testing.assert_array_equal(
        masks("arccos", False), masks("cosine", False)
    )


def test_a_young_model_knows_nothing(maker):
    model = maker(random_weights=False)
    model.compile()
    data = tiny_data(model, 64)
    outputs = call(model, data, function=evaluation_inputs)
    loss = float(model.compute_loss(y_pred=outputs))
    # Logits of variance v that mean nothing cost v / 2 more than equal ones.
    expected = np.log(model.codebook_size) + 1 / 6
    assert loss == pytest.approx(expected, abs=0.1)


# === Prediction ===


def test_predict_fills_the_masked_tokens_only(model, data):
    ids = data["token_ids"].copy()
    ids[:, ::3] = model.mask_token_id
    inputs = {**data, "token_ids": ids}
    filled = model.predict(inputs, verbose=0)
    assert filled.dtype == "int32" and filled.shape == ids.shape
    best = logits(model, inputs).argmax(axis=-1)
    expected = np.where(ids == model.mask_token_id, best, ids)
    np.testing.assert_array_equal(filled, expected)
    np.testing.assert_array_equal(
        model.predict(data, verbose=0), data["token_ids"]
    )


# === Numerics ===


def test_mixed_bfloat16(maker, model, data):
    half = maker(dtype="mixed_bfloat16")
    layer = half.transformer_layers[0].self_attention.query
    assert layer.compute_dtype == "bfloat16"
    assert layer.variable_dtype == "float32"
    actual, expected = logits(half, data), logits(model, data)
    assert actual.dtype == "float32"
    assert abs(actual - expected).mean() < 0.1 * expected.std()


# === Saving and adapting ===


def test_keras_file_round_trip(model, data, tmp_path):
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.get_config() == model.get_config()
    np.testing.assert_array_equal(logits(restored, data), logits(model, data))


def test_preset_round_trip(model, data, tmp_path):
    preset = str(tmp_path / "preset")
    model.save_to_preset(preset)
    restored = type(model).from_preset(preset)
    assert restored.get_config() == model.get_config()
    np.testing.assert_array_equal(logits(restored, data), logits(model, data))


def test_lora_reaches_the_named_leaves(maker, data):
    model = maker()
    plain = logits(model, data)
    model.enable_lora(2)
    names = {v.path.split("/")[-2] for v in model.trainable_variables}
    assert names == {"query", "value"}
    assert all("lora" in v.name for v in model.trainable_variables)
    num_attentions = sum(
        isinstance(layer, Attention) for layer in model._flatten_layers()
    )
    # Two matrices for each query and each value.
    assert len(model.trainable_variables) == 4 * num_attentions
    np.testing.assert_allclose(logits(model, data), plain, atol=1e-6)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.3)
    assert abs(logits(model, data) - plain).max() > 1e-2


def test_lora_on_leaves_of_choice(maker):
    model = maker()
    model.enable_lora(2, target_layer_names=["attention_output"])
    names = {v.path.split("/")[-2] for v in model.trainable_variables}
    assert names == {"attention_output"}


# === Errors ===


def test_inputs_that_do_not_fit_raise(model, data):
    with pytest.raises(ValueError, match="text_dim=6. Received: .*7"):
        logits(model, data, text_embeddings=np.zeros((4, TEXT_LENGTH, 7)))
    with pytest.raises(ValueError, match=r"`token_ids` must be of shape.*5\)"):
        logits(model, data, token_ids=np.zeros((4, 5), int))


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_data_that_do_not_fit_raise(model, data, method):
    run = getattr(model, method)
    with pytest.raises(ValueError, match="`x` must not be empty"):
        run({name: x[:0] for name, x in data.items()})
    ids = data["token_ids"].copy()
    ids[0, 0] = model.mask_token_id
    with pytest.raises(ValueError, match="`token_ids` must be clean tokens"):
        run({**data, "token_ids": ids})


def test_unknown_arguments_of_compile_raise(model):
    with pytest.raises(TypeError):
        model.compile(text_drop=0.1)


def test_text_dim_of_the_tests():
    assert tiny_base().text_dim == TEXT_DIM
