"""What `accelerator.py` measures: figures of the device, and of each row."""

import datetime
import gc
import itertools
import statistics
import sys
import time
from typing import NamedTuple

import flops
import keras
import numpy as np
from keras import ops

import keras_muse
from keras_muse.ops import attention as attention_ops


class Size(NamedTuple):
    """How large and how long everything is."""

    matmul: int = 8192  # rows and columns of the matrices
    products: int = 32  # one after the other in a call
    text_length: int = 64
    base_steps: int = 24
    super_res_steps: int = 8
    train_steps: int = 10  # in a `fit`
    train_batch: int = 64  # at most
    picture: int = 256  # side of a tokenizer's pictures
    repeats: int = 5
    changes: dict = {}  # what a class is made with, beside its preset


TOY_TRANSFORMER = {
    "codebook_size": 64,
    "grid_size": (4, 4),
    "text_dim": 16,
    "num_layers": 1,
    "hidden_dim": 32,
    "num_heads": 2,
    "intermediate_dim": 64,
}
FULL = Size()
TOY = Size(
    matmul=128,
    products=2,
    text_length=4,
    base_steps=2,
    super_res_steps=2,
    train_steps=2,
    train_batch=2,
    picture=8,
    repeats=2,
    changes={
        "MuseBase": TOY_TRANSFORMER,
        "MuseSuperRes": {
            **TOY_TRANSFORMER,
            "low_res_codebook_size": 64,
            "grid_size": (8, 8),
            "low_res_grid_size": (4, 4),
            "low_res_num_layers": 1,
            "block_size": 4,
        },
        "VQGANTokenizer": {
            "base_channels": 8,
            "channel_multipliers": (1,),
            "num_res_blocks": 1,
            "num_groups": 4,
            "codebook_size": 64,
            "codebook_dim": 8,
        },
    },
)


def measure(job, attention, toy):
    """Figures of a row, or `error`: the rows to come may fare better."""
    size = TOY if toy else FULL
    known_peak = peak_bytes()
    try:
        if attention is not None:
            set_attention(attention)
        row = MEASURES[job.what](job, size)
    except Exception as error:
        message = " ".join(str(error).split())
        row = {"error": f"{type(error).__name__}: {message[:400]}"}
    peak = peak_bytes()
    if peak > known_peak:  # it is that of all rows so far
        row["peak_gib"] = peak / 2**30
    keras.utils.clear_session()  # which collects the models, too
    return row


# === Rows ===


def matmul(job, size):
    """Products in a chain: none can be left out or run beside another."""
    shape = (size.matmul, size.matmul)
    rng = np.random.default_rng(0)
    # Of this deviation, products neither grow nor vanish.
    matrix = rng.standard_normal(shape, "float32") / size.matmul**0.5
    matrix = ops.cast(matrix, job.dtype)

    def multiply():
        x = matrix
        for _ in range(size.products):
            x = ops.matmul(x, matrix)
        ops.convert_to_numpy(ops.cast(x[0, 0], "float32"))  # waits

    return figures(
        timed(multiply, size.repeats, size.products), 2 * size.matmul**3
    )


def generate(job, size):
    base = make(keras_muse.MuseBase, job.model, job.dtype, size)
    text = random_text(base, job.batch, size)

    def draw():
        base.generate(**text, num_steps=size.base_steps, **generation())

    return figures(
        timed(draw, size.repeats),
        flops.generate_flops(
            base, job.batch, size.text_length, size.base_steps
        ),
    )


def cascade(job, size):
    base = make(keras_muse.MuseBase, "muse_base_632m", job.dtype, size)
    super_res = make(
        keras_muse.MuseSuperRes, "muse_super_res_268m", job.dtype, size
    )
    tokenizer = make(keras_muse.VQGANTokenizer, "vqgan_f8", job.dtype, size)
    text = random_text(base, job.batch, size)

    def draw():
        low_res = base.generate(
            **text, num_steps=size.base_steps, **generation()
        )
        high_res = super_res.generate(
            **text,
            low_res_token_ids=low_res,
            num_steps=size.super_res_steps,
            **generation(),
        )
        tokenizer.decode(high_res)

    stages = ((base, size.base_steps), (super_res, size.super_res_steps))
    decoded = (job.batch, *super_res.grid_size)
    return figures(
        timed(draw, size.repeats),
        flops.decode_flops(tokenizer, decoded)
        + sum(
            flops.generate_flops(model, job.batch, size.text_length, num_steps)
            for model, num_steps in stages
        ),
    )


def train(job, size):
    def train_at(batch):
        base = make(keras_muse.MuseBase, job.model, job.dtype, size)
        base.compile()
        ids = np.random.default_rng(0).integers(
            0, base.codebook_size, (batch, base.num_tokens), "int32"
        )
        data = {"token_ids": ids, **random_text(base, batch, size)}
        return figures(
            timed_steps(base, data, size),
            flops.train_flops(base, batch, size.text_length),
        )

    return at_largest_batch(train_at, min(job.batch, size.train_batch))


def train_tokenizer(job, size):
    def train_at(batch):
        tokenizer = make(keras_muse.VQGANTokenizer, job.model, job.dtype, size)
        tokenizer.compile(
            perceptual=None, adversarial_weight=0, entropy_weight=0
        )
        shape = (batch, size.picture, size.picture, 3)
        images = np.random.default_rng(0).integers(0, 256, shape, "uint8")
        return figures(
            timed_steps(tokenizer, images, size),
            3 * flops.reconstruct_flops(tokenizer, shape),
        )

    return at_largest_batch(train_at, min(job.batch, size.train_batch))


MEASURES = {
    "matmul": matmul,
    "generate": generate,
    "cascade": cascade,
    "train": train,
    "train_tokenizer": train_tokenizer,
}

# === Models and data ===


def make(model_class, preset, dtype, size):
    changes = size.changes.get(model_class.__name__, {})
    return model_class.from_preset(
        preset, load_weights=False, dtype=dtype, **changes
    )


def random_text(model, batch, size):
    shape = (batch, size.text_length, model.text_dim)
    embeddings = np.random.default_rng(0).standard_normal(shape, "float32")
    return {
        "text_embeddings": embeddings,
        "text_mask": np.ones(shape[:2], "bool"),
    }


def generation():
    """Options of `generate`, with guidance in all steps."""
    sampler = keras_muse.ConfidenceSampler(guidance_schedule="constant")
    return {"sampler": sampler, "seed": 0, "verbose": 0}


def set_attention(name):
    """Switches attention, and refuses a kernel that there is not."""
    if name == "plain":
        keras.config.disable_flash_attention()
        return
    keras.config.enable_flash_attention()
    # Of a base with four heads: the error says what speaks against it.
    tokens = ops.zeros((1, 256, 4, 64), "bfloat16")
    attention_ops.attend(tokens, tokens, tokens, implementation=name)


# === Time and memory ===


def figures(times, num_flops):
    return {**times, "tflops": num_flops / times["seconds"] / 1e12}


def timed(function, repeats, parts=1):
    """Seconds of a part of a call, and of the first call, which compiles."""
    times = []
    for _ in range(1 + repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    seconds = statistics.median(times[1:]) / parts
    return {"seconds": seconds, "first_call": times[0]}


def timed_steps(model, data, size):
    def fit():
        model.fit(
            ((data,) for _ in itertools.count()),
            steps_per_epoch=size.train_steps,
            shuffle=False,
            verbose=0,
        )

    return timed(fit, size.repeats, size.train_steps)


def at_largest_batch(train_at, batch):
    """Figures of `train_at(batch)`, or of the first half that finds room."""
    while True:
        try:
            return {**train_at(batch), "batch": batch}
        except Exception as error:
            if batch == 1 or not is_out_of_memory(error):
                raise
        gc.collect()  # only here has the error let go of the model
        batch //= 2


def is_out_of_memory(error):
    message = str(error).lower()
    return "resource_exhausted" in message or "out of memory" in message


def peak_bytes():
    """The most memory in use so far, 0 where the device does not tell."""
    tell = getattr(default_device(), "memory_stats", lambda: None)
    return (tell() or {}).get("peak_bytes_in_use", 0)


# === The device ===


def device_row():
    backend, device = keras.config.backend(), default_device()
    row = {"what": "device", "device": device_kind()}
    if hasattr(device, "client"):
        row["count"] = device.client.local_device_count()
    return {
        **row,
        "backend": backend,
        "keras": keras.__version__,
        backend: sys.modules[backend].__version__,
        "date": datetime.date.today().isoformat(),
    }


def device_kind():
    device = default_device()
    return getattr(device, "device_kind", str(device))


def default_device():
    """JAX has objects for devices, the others have names."""
    return ops.zeros(1).device
