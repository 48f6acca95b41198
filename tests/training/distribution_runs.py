"""What `distribution_test.py` runs in processes of their own, on JAX.

    python -m tests.training.distribution_runs layouts OUTPUT
    python -m tests.training.distribution_runs process OUTPUT ADDRESS ID

The first trains and generates under one layout of eight devices after the
other; the second does so as one of two processes with four devices each.
"""

import json
import sys
import time

import keras
import numpy as np

import keras_muse
from keras_muse.training import check_layout
from keras_muse.training import data_parallel
from keras_muse.training import distribution
from keras_muse.training import model_parallel
from tests.helpers import tiny
from tests.helpers.tiny_muse import tiny_muse

LAYOUTS = {
    "one": lambda: None,  # the first device
    "8": data_parallel,
    "1x8": model_parallel,
    "2x4": lambda: model_parallel(4),
    "4x2": lambda: model_parallel(2),
    "sharded": lambda: model_parallel(2, fully_sharded=True),
}
WIDE = {
    "num_layers": 1,
    "hidden_dim": 32,
    "num_heads": 8,
    "intermediate_dim": 64,
    "text_dim": 8,
}
NUM_STEPS, BATCH_SIZE = 3, 8


class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(float(logs["loss"]))


def fit(model, data, batch_size=BATCH_SIZE):
    losses = Losses()
    model.fit(
        data,
        batch_size=batch_size,
        shuffle=False,
        verbose=0,
        callbacks=[losses],
    )
    return losses.values


def widen_text(data):
    """Texts of `WIDE`'s width."""
    text = data["text_embeddings"]
    return {
        **data,
        "text_embeddings": np.concatenate([text, text], -1)[..., :8],
    }


def wide_data(model, num_rows=NUM_STEPS * BATCH_SIZE):
    return widen_text(tiny.tiny_data(model, batch=num_rows))


def train(model, data=None, **options):
    """Losses of a few steps, in each of which Adam acts on the last ones."""
    model.compile(keras.optimizers.Adam(1e-3), **options)
    return fit(model, wide_data(model) if data is None else data)


def generate(model, **inputs):
    """Of three rows: fewer than there are devices."""
    text = widen_text(tiny.tiny_text(3))
    return model.generate(
        **text,
        **inputs,
        num_steps=3,
        seed=0,
        sampler=keras_muse.ConfidenceSampler(guidance_schedule="constant"),
        verbose=0,
    )


def draw():
    """Three pictures through the whole cascade, and a part of them anew."""
    muse = tiny_muse()
    options = {"num_steps": 2, "super_res_num_steps": 2, "seed": 0}
    images = muse.generate(["a", "red", "apple"], verbose=0, **options)
    hole = np.zeros(images.shape[1:3], "bool")
    hole[8:24, 8:] = True
    masks = np.stack([hole] * len(images))
    again = muse.inpaint(images, masks, ["cat"] * 3, verbose=0, **options)
    return {"drawn": images, "inpainted": again}


def predict(base):
    """Of eleven rows, every other token masked."""
    data = wide_data(base, 11)
    data["token_ids"][:, ::2] = base.mask_token_id
    predicted = base.predict(data, batch_size=8, verbose=0)
    # In batches that come by themselves, too, and of a first part.
    parts = {key: np.split(x, [8]) for key, x in data.items()}
    dataset = Batches(
        [{key: x[i] for key, x in parts.items()} for i in range(2)]
    )
    again = base.predict(dataset, verbose=0)
    np.testing.assert_array_equal(again, predicted)
    for x in (dataset, data):
        first = base.predict(x, batch_size=8, verbose=0, steps=1)
        np.testing.assert_array_equal(first, predicted[:8])
    return predicted


def run_base():
    base = tiny.tiny_base(**WIDE)
    losses = train(base)
    kernel = base.transformer_layers[0].feed_forward.intermediate_dense.kernel
    slots = [v for v in base.optimizer.variables if v.shape == kernel.shape]
    layouts = {str(parts(x)) for x in (kernel, *slots)}
    return base, {
        "base_losses": losses,
        "base_tokens": generate(base),
        "columns": sorted(layouts),
    }


def parts(variable):
    """Into how many parts each axis is split."""
    shape = variable.value.sharding.shard_shape(variable.shape)
    return [n // m for n, m in zip(variable.shape, shape, strict=True)]


def run_uvit():
    uvit = tiny.tiny_uvit(**WIDE, stage_dim=16, stage_num_heads=8)
    return uvit, {"uvit_losses": train(uvit), "uvit_tokens": generate(uvit)}


def run_super_res():
    model = tiny.tiny_super_res(
        **WIDE,
        codebook_size=24,
        use_gated_activation=True,
        use_query_key_norm=True,
    )
    return model, {"super_res_losses": train(model)}


def run_tokenizer(images=None, batch_size=BATCH_SIZE):
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.quantizer.revival_steps = 1
    tokenizer.compile(
        keras.optimizers.Adam(1e-4), perceptual=None, adversarial_weight=0
    )
    all_images = tiny.tiny_images(NUM_STEPS * BATCH_SIZE)
    losses = fit(
        tokenizer, all_images if images is None else images, batch_size
    )
    token_ids = tokenizer.encode(all_images[:11], batch_size=8)
    return {
        "tokenizer_losses": losses,
        "codebook": tiny.to_numpy(tokenizer.quantizer.codebook),
        "idle_steps": tiny.to_numpy(tokenizer.quantizer.idle_steps),
        "encoded": token_ids,
        "decoded": tokenizer.decode(token_ids, batch_size=8),
    }


def tiny_t5():
    keras.utils.set_random_seed(0)
    return keras_muse.T5TextEncoder(
        vocabulary_size=24,
        num_layers=1,
        num_heads=8,
        hidden_dim=32,
        intermediate_dim=64,
        sequence_length=6,
    )


def tiny_clip():
    keras.utils.set_random_seed(0)
    return keras_muse.CLIPTextEncoder(
        vocabulary_size=24,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=6,
        end_token_id=23,
        sequence_length=6,
    )


def encode_texts(encoder):
    """Embeddings of eleven rows, without a tokenizer."""
    token_ids = np.random.default_rng(0).integers(1, 24, (11, 6), "int32")
    padding_mask = np.arange(6) <= np.arange(11)[:, None]
    tokens = {"token_ids": token_ids, "padding_mask": padding_mask}
    encoder.tokenize = lambda texts: tokens
    return encoder.encode([""] * 11, batch_size=4)[0]


def message_of(function):
    try:
        function()
    except ValueError as error:
        return str(error)
    return "nothing was raised"


def run_layout(name):
    LAYOUTS[name]()
    base, results = run_base()
    if name in ("2x4", "sharded"):
        results["accumulated_losses"] = train(
            tiny.tiny_base(**WIDE), remat=True, gradient_accumulation_steps=2
        )
    if name in ("one", "2x4", "sharded"):
        uvit, losses = run_uvit()
        results.update(losses)
    if name != "sharded":
        super_res, losses = run_super_res()
        results.update(losses)
    if name in ("one", "8"):
        data = wide_data(base)
        score = base.evaluate(data, batch_size=BATCH_SIZE, verbose=0)
        results["evaluated"] = score
        results.update(run_tokenizer())
        results.update(draw())
    if name in ("one", "2x4"):
        low_res = tiny.tiny_ids(super_res, 3)["low_res_token_ids"]
        tokens = generate(super_res, low_res_token_ids=low_res)
        results["super_res_tokens"] = tokens
        encoder = tiny_t5()
        results["texts"] = encode_texts(encoder)
        results["clip_texts"] = encode_texts(tiny_clip())
        results["predicted"] = predict(base)
    if name == "2x4":
        models = {
            "base": base,
            "uvit": uvit,
            "t5": encoder,
            "tokenizer": tiny.tiny_tokenizer(),
        }
        results["reports"] = json.dumps(
            {key: check_layout(m, min_bytes=1000) for key, m in models.items()}
        )
        results.update(errors(base))
    return results


class Batches(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def errors(base):
    """What is raised on a mesh of 2x4."""
    partial = wide_data(base, 11)
    whole = wide_data(base, 8)
    callbacks = [keras.callbacks.Callback()]
    few_heads = {**WIDE, "num_heads": 2}
    found = {
        "fit": lambda: base.fit(partial, batch_size=8, verbose=0),
        "evaluate": lambda: base.evaluate(partial, batch_size=11, verbose=0),
        "dataset": lambda: base.fit(
            Batches([whole, wide_data(base, 3)]), verbose=0
        ),
        "validation": lambda: base.fit(
            whole, validation_data=partial, validation_batch_size=8, verbose=0
        ),
        "parts": lambda: train(
            tiny.tiny_base(**WIDE), gradient_accumulation_steps=8
        ),
        "heads": lambda: check_layout(tiny.tiny_base(**few_heads)),
        "columns": lambda: tiny.tiny_base(**WIDE, codebook_size=18),
        "split": lambda: base.fit(
            wide_data(base, 11), validation_split=3 / 11, batch_size=8
        ),
        "one_batch": lambda: base.train_on_batch(partial),
        "callbacks": lambda: base.predict(partial, 8, callbacks=callbacks),
        "size": lambda: model_parallel(3),
        "size_2": lambda: model_parallel("2"),
        "size_2.0": lambda: model_parallel(2.0),
        "size_True": lambda: model_parallel(True),
        "devices": lambda: data_parallel(["cpu:99"]),
        "no_devices": lambda: data_parallel([]),
        "name": lambda: data_parallel("cpu:0"),
        "same_devices": lambda: model_parallel(1, devices=["cpu:0"] * 2),
        **wrong_rules(base),
    }
    messages = {f"error_{name}": message_of(f) for name, f in found.items()}
    keras.distribution.set_distribution(None)
    model = tiny.tiny_base(**WIDE)
    data_parallel()
    messages["error_order"] = message_of(lambda: generate(model))
    return messages


def wrong_rules(base):
    """Checks of layouts with a rule too many."""
    mesh = keras.distribution.distribution().device_mesh

    def check(rule):
        layout_map = base.get_layout_map(mesh)
        layout_map[rule] = (None, "model")
        wrong = keras.distribution.ModelParallel(layout_map=layout_map)
        with wrong.scope():
            check_layout(base)

    return {
        "unused": lambda: check("layer_0/query/kernel"),
        "twice": lambda: check(".*layer_0/.*query/kernel"),
    }


def run_layouts():
    results = {}
    for name in LAYOUTS:
        start = time.perf_counter()
        for key, value in run_layout(name).items():
            results[f"{name} {key}"] = value
        keras.distribution.set_distribution(None)
        print(name, round(time.perf_counter() - start, 1), flush=True)
    return results


def run_process(address, process_id):
    distribution.initialize(address, 2, int(process_id))
    # This process's half of each batch.
    rows = np.arange(NUM_STEPS * BATCH_SIZE).reshape(NUM_STEPS, 2, -1)
    rows = rows[:, int(process_id)].ravel()

    data_parallel()
    images = tiny.tiny_images(NUM_STEPS * BATCH_SIZE)
    results = run_tokenizer(images[rows], BATCH_SIZE // 2)
    results.update(draw())

    model_parallel()
    base = tiny.tiny_base(**WIDE)
    data = {key: x[rows] for key, x in wide_data(base).items()}
    base.compile(keras.optimizers.Adam(1e-3))
    results["base_losses"] = fit(base, data, BATCH_SIZE // 2)
    results["base_tokens"] = generate(base)
    results["error_seed"] = message_of(
        lambda: base.generate(**widen_text(tiny.tiny_text(3)), seed=None)
    )
    results["predicted"] = predict(base)
    results["texts"] = encode_texts(tiny_t5())
    results["mesh"] = list(check_layout(base)["mesh"].values())
    results["error_size"] = message_of(lambda: model_parallel(8))
    return results


if __name__ == "__main__":
    # Keras would import it to seed it: four seconds in each process.
    from tests.helpers import no_tensorflow  # noqa: F401

    mode, output, *arguments = sys.argv[1:]
    run = {"layouts": run_layouts, "process": run_process}[mode]
    np.savez(output, **run(*arguments))
