"""Training in less memory gives what training in more of it gives."""

import functools

import keras
import numpy as np
import pytest

from keras_muse import MuseBase
from keras_muse.models.transformers import masked_token_model
from keras_muse.models.transformers import training
from keras_muse.ops import attention
from keras_muse.optimizers import AdafactorMomentum
from tests.helpers import tiny
from tests.helpers.tiny import tiny_base
from tests.helpers.tiny import tiny_data
from tests.helpers.tiny import tiny_super_res
from tests.helpers.tiny import to_numpy

MAKERS = {"base": tiny_base, "super_res": tiny_super_res}
OPTIONS = {
    "remat": {"remat": True},
    "parts": {"gradient_accumulation_steps": 4},
    "both": {"remat": True, "gradient_accumulation_steps": 2},
}


@pytest.fixture(scope="module", params=MAKERS)
def maker(request):
    return MAKERS[request.param]


def train(model, data, optimizer=None, **options):
    """Losses and accuracies of two steps, and the variables after them."""
    # Adam's first steps would tell nothing of the size of a gradient.
    optimizer = optimizer or keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer, text_dropout=0.5, **options)
    logs = [model.train_on_batch(data) for _ in range(2)]
    return np.ravel(logs), [to_numpy(v) for v in model.variables]


def assert_same(actual, expected):
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-4)
    for a, b in zip(actual[1], expected[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@functools.cache
def train_plainly(name):
    model = MAKERS[name]()
    start = [to_numpy(v) for v in model.trainable_variables]
    result = train(model, tiny_data(model, 16))
    for before, after in zip(start, model.trainable_variables, strict=True):
        assert abs(to_numpy(after) - before).max() > 1e-4  # all were trained
    return result


@pytest.mark.parametrize(
    "name, options",
    [*(("base", options) for options in OPTIONS), ("super_res", "both")],
)
def test_training_is_the_same(name, options):
    """The seeds among the variables: masks are drawn once a batch."""
    model = MAKERS[name]()
    actual = train(model, tiny_data(model, 16), **OPTIONS[options])
    assert_same(actual, train_plainly(name))


@pytest.mark.skipif(
    keras.config.backend() == "tensorflow", reason="cannot cut them"
)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_logits_in_parts_train_the_same(monkeypatch, label_smoothing):
    """16 tokens at once, and in parts of 4; evaluation, too."""
    results, sizes = [], []
    head = MuseBase.head
    monkeypatch.setattr(
        MuseBase,
        "head",
        lambda self, x: sizes.append(x.shape[1]) or head(self, x),
    )
    for max_logits in (2**27, 16 * 4 * 16):
        monkeypatch.setattr(training, "MAX_LOGITS", max_logits)
        model = tiny_base()
        data = tiny_data(model, 16)
        result = train(model, data, label_smoothing=label_smoothing)
        logs = model.evaluate(data, verbose=0)
        results.append(((*result[0], *logs), result[1]))
    assert_same(results[1], results[0])
    assert set(sizes) == {16, 4}


def test_the_parts_are_one_batch_to_the_optimizer():
    """Clipped by the gradient of the whole batch, and counted as one step."""
    results = []
    for steps in (1, 4):
        model = tiny_base()
        optimizer = keras.optimizers.SGD(0.1, global_clipnorm=0.01)
        data = tiny_data(model, 16)
        results.append(
            train(model, data, optimizer, gradient_accumulation_steps=steps)
        )
        assert int(optimizer.iterations) == 2
    assert_same(results[1], results[0])


# === Recomputing ===


def test_only_training_steps_recompute(maker, monkeypatch):
    calls = []
    monkeypatch.setattr(
        masked_token_model.keras,
        "remat",
        lambda f: lambda *args: calls.append(1) or f(*args),
    )
    model = maker()
    data = tiny_data(model, 2)

    def recomputed_layers(step, remat):
        model.compile(keras.optimizers.SGD(0.0), remat=remat)
        calls.clear()
        with model._inside(step):
            model(data, training=step == "train")
        return len(calls)

    # Each layer, in super-resolution those of the small picture too.
    num_layers = model.num_layers + getattr(model, "low_res_num_layers", 0)
    assert recomputed_layers("train", True) == num_layers
    for step in ("test", "predict", None):
        assert recomputed_layers(step, True) == 0
    assert recomputed_layers("train", False) == 0


# === Mixed precision ===


def test_mixed_bfloat16_keeps_float32_where_it_counts(monkeypatch):
    """Gradients summed over parts, slots, weights, logits and the loss."""
    model = tiny_base(dtype="mixed_bfloat16")
    model.compile(
        AdafactorMomentum(1e-2), remat=True, gradient_accumulation_steps=4
    )
    seen = set()

    def watch(holder, name, tensors):
        function = getattr(holder, name)

        def watched(*args, **kwargs):
            result = function(*args, **kwargs)
            for x in tensors(result, *args, **kwargs):
                seen.add((name, keras.backend.standardize_dtype(x.dtype)))
            return result

        monkeypatch.setattr(holder, name, watched)

    watch(model.optimizer, "apply", lambda result, gradients, *_: gradients)
    watch(model, "head", lambda result, *_: [result])
    watch(model, "compute_loss", lambda result, *_, **__: [result])
    watch(attention, "attend", lambda result, *_: [result])
    losses = model.fit(
        tiny_data(model, 16), batch_size=16, epochs=30, verbose=0
    ).history["loss"]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert seen == {
        ("apply", "float32"),
        ("head", "float32"),
        ("compute_loss", "float32"),
        ("attend", "bfloat16"),  # it did compute in that
    }
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    slots = model.optimizer.variables[2:]  # without step and learning rate
    assert len(slots) > 10 and {v.dtype for v in slots} == {"float32"}


# === Memory ===


@pytest.mark.skipif(
    keras.config.backend() != "jax", reason="asks the compiler of JAX"
)
class TestMemory:
    def test_temporaries_fall_with_the_size_of_a_part(self):
        import jax

        model = tiny_base()
        temporaries = {}
        for steps in (1, 4):
            state = compiled_state(model, gradient_accumulation_steps=steps)
            step = jax.jit(model.train_step, donate_argnums=0)
            program = step.lower(state, (tiny_data(model, 256),)).compile()
            analysis = program.memory_analysis()
            temporaries[steps] = analysis.temp_size_in_bytes
        assert temporaries[1] > 3 * temporaries[4]

    def test_logits_in_parts_take_little_memory(self, monkeypatch):
        """64 MiB of logits, and as much of their gradients."""
        import jax

        temporaries = {}
        for max_logits in (2**21, 2**27):
            monkeypatch.setattr(training, "MAX_LOGITS", max_logits)
            model = tiny_base(codebook_size=2**16, num_layers=1)
            state = compiled_state(model)
            step = jax.jit(model.train_step, donate_argnums=0)
            program = step.lower(state, (tiny_data(model, 16),)).compile()
            analysis = program.memory_analysis()
            temporaries[max_logits] = analysis.temp_size_in_bytes / 2**20
        assert temporaries[2**27] > 128
        assert temporaries[2**21] < 64

    def test_remat_keeps_the_inputs_of_layers_only(self, maker):
        """XLA on a processor drops what keeps recomputing apart.

        So it is counted what JAX hands from the forward to the backward pass.
        """
        kept = {}
        num_layers, rows = 12, 8
        for remat in (False, True):
            model = maker(num_layers=num_layers)
            kept[remat] = kept_bytes(model, rows, remat=remat)
        layer_inputs = num_layers * rows * model.num_tokens * 16 * 4
        assert layer_inputs < kept[True] < 3 * layer_inputs
        assert kept[False] > 5 * kept[True]


def compiled_state(model, **options):
    """What a training step of JAX takes and returns."""
    model.compile(keras.optimizers.SGD(0.1), **options)
    model.optimizer.build(model.trainable_variables)
    return tuple(
        [v.value for v in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    )


def kept_bytes(model, rows, **options):
    """Of the activations between the forward and the backward pass."""
    import jax

    trainable, *rest = compiled_state(model, **options)
    non_trainable, optimizer_variables, metrics = rest

    def backward_pass(trainable, data):
        def loss(trainable):
            return model.compute_loss_and_updates(
                trainable,
                non_trainable,
                metrics,
                data,
                None,
                None,
                training=True,
                optimizer_variables=optimizer_variables,
            )[0]

        return jax.vjp(loss, trainable)[1]

    with model._inside("train"):
        kept = jax.eval_shape(backward_pass, trainable, tiny_data(model, rows))
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(kept)) - sum(
        x.nbytes for x in trainable
    )


# === Errors ===


@pytest.mark.parametrize("steps", [0, -1, 2.0, None])
def test_steps_must_be_a_positive_int(steps):
    with pytest.raises(
        ValueError, match=f"Received: gradient_accumulation_steps={steps}"
    ):
        tiny_base().compile(gradient_accumulation_steps=steps)


@pytest.mark.parametrize(
    "name, value",
    [
        ("text_dropout", 10),  # meant as per cent
        ("text_dropout", -0.1),
        ("label_smoothing", 1.0),
        ("label_smoothing", float("nan")),
        ("loss_average", "batch"),
        ("mask_schedule", "linear"),
        ("visible_loss_weight", -0.1),
    ],
)
def test_parts_out_of_range_raise(name, value):
    with pytest.raises(ValueError, match=f"Received: {name}={value!r}"):
        tiny_base().compile(**{name: value})


@pytest.mark.filterwarnings(
    "ignore:.*will be ignored since the data", "ignore:Your input ran out"
)
def test_batches_whose_texts_differ_in_length():
    """TensorFlow traces them with a length that it does not know."""
    model = tiny_base()
    data = tiny_data(model, 8)

    def batches():
        for length in (3, 5, 2):
            yield (
                {
                    **data,
                    "text_embeddings": data["text_embeddings"][:, :length],
                    "text_mask": data["text_mask"][:, :length],
                },
            )

    model.compile(keras.optimizers.SGD(0.1))
    history = model.fit(batches(), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    losses = [model.evaluate(batch, verbose=0) for (batch,) in batches()]
    together = model.evaluate(batches(), verbose=0)
    assert together[0] == pytest.approx(np.mean(losses, axis=0)[0], rel=1e-4)


def test_the_optimizer_must_not_accumulate_too():
    optimizer = keras.optimizers.Adam(gradient_accumulation_steps=3)
    model = tiny_base()
    with pytest.raises(ValueError, match="steps=2, and 3 of Adam"):
        model.compile(optimizer, gradient_accumulation_steps=2)
    model.compile(optimizer)


def test_parts_must_be_equal():
    model = tiny_base()
    model.compile(gradient_accumulation_steps=3)
    before = to_numpy(model.seed_generator.state)
    with pytest.raises(ValueError, match="multiple of 3.* 6 rows.* 1$"):
        model.fit(tiny_data(model, 7), batch_size=6, verbose=0)
    # Not after the first steps of the epoch.
    np.testing.assert_array_equal(to_numpy(model.seed_generator.state), before)
    with pytest.raises(ValueError, match="multiple of 3.* 7 rows"):
        model.train_on_batch(tiny_data(model, 7))


class FakeShards:
    """What `read_token_shards` tells about its tokens."""

    def __init__(
        self, codebook_size=16, grid_size=(4, 4), text_dim=6, stage="base"
    ):
        self.stage = stage
        tokens = {"codebook_size": codebook_size, "grid_size": list(grid_size)}
        self.metadata = {
            "low_res": tokens,
            "high_res": tokens,
            "text": {"text_dim": text_dim},
        }

    def __len__(self):
        return 1


def data(token_ids):
    rows = len(token_ids)
    return {
        "token_ids": token_ids,
        "text_embeddings": np.zeros((rows, 5, 6), "float32"),
        "text_mask": np.ones((rows, 5), "bool"),
    }


@pytest.fixture(scope="module")
def base():
    base = tiny.tiny_base()
    base.compile()
    return base


@pytest.mark.parametrize(
    ("shards", "received"),
    [
        (FakeShards(codebook_size=17), "codebook_size=17"),
        (FakeShards(grid_size=(8, 2)), r"grid_size=\(8, 2\)"),
        (FakeShards(text_dim=7), "text_dim=7"),
    ],
)
@pytest.mark.parametrize("verb", ["fit", "evaluate"])
def test_shards_of_another_kind_are_refused(base, shards, received, verb):
    with pytest.raises(ValueError, match=f"`x` must have.*{received}"):
        getattr(base, verb)(shards)


@pytest.mark.parametrize(
    "make, stage",
    [(tiny.tiny_base, "super_res"), (tiny.tiny_super_res, "base")],
)
def test_shards_of_the_other_stage_are_refused(make, stage):
    model = make()
    model.compile()
    with pytest.raises(ValueError, match=f"`x` must be.*stage='{stage}'"):
        model.fit(FakeShards(stage=stage))


def test_ids_out_of_the_codebook_are_refused(base):
    # JAX would clip them and train on.
    with pytest.raises(ValueError, match="`token_ids`.*from 0 to 16"):
        base.fit(data(np.arange(32).reshape(2, 16) % 17))


def test_no_rows_are_refused(base):
    with pytest.raises(ValueError, match="`x` must not be empty"):
        base.fit(data(np.zeros((0, 16), "int32")))


def test_low_resolution_ids_are_checked_too():
    super_res = tiny.tiny_super_res()
    super_res.compile()
    rows = data(np.zeros((2, 32), "int32"))
    rows["low_res_token_ids"] = np.full((2, 8), 16)
    with pytest.raises(ValueError, match="`low_res_token_ids`.*from 16 to 16"):
        super_res.evaluate(rows)
