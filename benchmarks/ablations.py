"""What helps a small masked transformer learn faster, one thing at a time?

Small transformers of equal size learn the same tokens, the same batches in the
same order, for as many steps; each differs from the small configuration of the
package in one thing. A row is one training:

- `arm`: what differs; `seed`, of its first weights, masks and dropped texts;
- `weights`: how many; where a part adds some, the MLP is narrower;
- a split and a share, as `test_pair 0.5`: cross-entropy of masked tokens where
  that share of each row is masked, the same masks for all (uniform guessing:
  6.24); `train` and `test_pair` are means over the shares;
- `seconds a step`, first steps left out: of one machine, in one run.

Rows that are done are read from `out/ablations.jsonl` and not done again. With
`--times` nothing is trained: the arms take steps in turn, of 64 rows and at the
sizes of `baselines.py`, so that what else a machine does is shared by all.

    export KERAS_BACKEND=torch
    python benchmarks/baselines.py --output out --write-tokens emoji/
    python benchmarks/ablations.py --output out
    python benchmarks/ablations.py --output out --seeds 1 2 \\
        --arms small "norm, token mean"
    python benchmarks/ablations.py --output out --times 8 \\
        --arms paper small "norm, token mean" lucidrains
"""

import argparse
import contextlib
import dataclasses
import json
import os
import time
from unittest import mock

import baselines
import keras
import numpy as np
from keras import ops
from peers.lucidrains import LucidrainsBase
from table import print_rows

import keras_muse
from keras_muse import data
from keras_muse.layers import transformer_layer
from keras_muse.layers.conditional_norm import modulate
from keras_muse.layers.feed_forward import FeedForward
from keras_muse.layers.transformer_layer import TransformerLayer
from keras_muse.ops import masking
from keras_muse.recipes.stages import FASTER

SHAPE = {
    **baselines.SHAPE,
    "num_layers": 3,
    "hidden_dim": 128,
    "num_heads": 4,
    "intermediate_dim": 512,
}
# As many weights with a gate: two thirds of the width.
SMALL = {
    **SHAPE,
    "intermediate_dim": 341,
    "use_gated_activation": True,
    "use_query_key_norm": True,
}
BATCH_SIZE, RATE = 32, 3e-3
TEXT_LENGTH = 24  # of the longest caption; what is padded further costs time
SPLITS = ("train", "test_pair")
WARM_UP = 10  # steps whose time does not count


# === Arms that are arguments of no model ===


class Variant(keras_muse.MuseBase):
    """A `MuseBase` whose parts an arm replaces; it is trained only."""

    @property
    def is_training(self):
        return self._step == "train"


class OwnLayers(Variant):
    """A `Variant` whose layers are of `layer_class`."""

    def make_layer(self, name, **kwargs):
        return self.layer_class(
            self.num_heads,
            self.intermediate_dim,
            use_gated_activation=True,
            use_query_key_norm=True,
            name=name,
        )


class NormedFeedForward(FeedForward):
    def build(self, input_shape):
        super().build(input_shape)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, center=False)
        self.norm.build((*input_shape[:-1], self.intermediate_dim))

    def _transform(self, x):
        hidden = self.intermediate_dense(x) * self.gate_dense(x)
        return self.output_dense(self.norm(hidden))


class InnerNormLayer(TransformerLayer):
    """A norm after the gate, before the output matrix (NormFormer)."""

    def build(self, input_shape):
        with mock.patch.object(
            transformer_layer, "FeedForward", NormedFeedForward
        ):
            super().build(input_shape)


class InnerNorm(OwnLayers):
    layer_class = InnerNormLayer


class DropoutLayer(TransformerLayer):
    """A tenth of what each branch adds is dropped (MaskGIT, Halton)."""

    def build(self, input_shape):
        super().build(input_shape)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, x, key_value=None, context_mask=None):
        def drop(branch):
            if not self.is_training():
                return branch
            return keras.random.dropout(branch, 0.1, seed=self.seed_generator)

        x = x + drop(self.self_attention(self.self_attention_norm(x)))
        y = self.cross_attention_norm(x)
        x = x + drop(self.cross_attention(y, key_value, context_mask))
        return x + drop(self.feed_forward(self.feed_forward_norm(x)))


class Dropout(OwnLayers):
    layer_class = DropoutLayer

    def make_layer(self, name, **kwargs):
        layer = super().make_layer(name)
        layer.is_training = lambda: self.is_training
        return layer


class PooledTextLayer(TransformerLayer):
    """Norms are scaled and shifted by the mean of the text's states.

    One projection for all layers, and numbers of each layer's own beside it
    (PixArt-alpha's adaLN-single, without its gates).
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.own = self.add_weight(
            shape=(6 * input_shape[-1],), initializer="zeros", name="own"
        )

    def call(self, x, key_value=None, context_mask=None):
        *key_value, modulation = key_value
        scales = ops.split(modulation + self.own, 3, axis=-1)
        y = modulate(self.self_attention_norm(x), scales[0])
        x = x + self.self_attention(y)
        y = modulate(self.cross_attention_norm(x), scales[1])
        x = x + self.cross_attention(y, tuple(key_value), context_mask)
        y = modulate(self.feed_forward_norm(x), scales[2])
        return x + self.feed_forward(y)


class PooledText(OwnLayers):
    layer_class = PooledTextLayer

    def __init__(self, *args, **kwargs):
        self._modulation = None
        super().__init__(*args, **kwargs)

    def build(self, input_shape=None):
        self.modulation = keras.layers.Dense(
            6 * self.hidden_dim, kernel_initializer="zeros", name="modulation"
        )
        self.modulation.build((None, self.hidden_dim))
        super().build(input_shape)

    def hidden(self, inputs):
        token_ids = self._flat_token_ids(inputs)
        context, mask = self.context(inputs)
        weights = ops.cast(mask, "float32")[..., None]
        total = ops.maximum(ops.sum(weights, axis=1), 1)
        pooled = ops.sum(context * weights, axis=1) / total
        modulation = self.modulation(ops.silu(pooled))
        key_values = [
            (*pair, modulation) for pair in self.project_context(context)
        ]
        return self.features(token_ids, key_values, mask)


class TiedHead(Variant):
    """Logits are products with the codes' embeddings, and a bias."""

    def build(self, input_shape=None):
        self.head_logits = TiedLogits(self.token_embedding)
        super().build(input_shape)


class TiedLogits(keras.layers.Layer):
    def __init__(self, embedding):
        super().__init__(name="head_logits")
        self._embedding = [embedding]  # is no layer of this one

    def build(self, input_shape):
        # Codes start as numbers of deviation 1: logits as untied ones.
        self.scale = (3 * input_shape[-1]) ** -0.5
        size = self._embedding[0].vocabulary_size - 1
        self.bias = self.add_weight(
            shape=(size,), initializer="zeros", name="bias"
        )

    def call(self, x):
        codes = self._embedding[0].codes.embeddings[:-1]
        return ops.matmul(x, ops.transpose(codes)) * self.scale + self.bias


def even_mask(ratio_noise, *args, random_mask=masking.random_mask):
    """Ratios at even distances over the batch: u_i = (i + u) / B (GIDD)."""
    rows = ops.arange(ratio_noise.shape[0], dtype="float32")[:, None]
    even = (rows + ratio_noise[:1]) / ratio_noise.shape[0]
    return random_mask(even, *args)


EVEN = {"random_mask": even_mask}


@dataclasses.dataclass
class Arm:
    """What differs from the small configuration.

    Attributes:
        model: class of the model.
        shape: dict. Its arguments.
        compile: dict. Arguments of `compile`.
        masks: dict. Functions in the place of those of `ops.masking`.
    """

    model: type = Variant
    shape: dict = dataclasses.field(default_factory=lambda: SMALL)
    compile: dict = dataclasses.field(default_factory=dict)
    masks: dict = dataclasses.field(default_factory=dict)


TOKENS = {"loss_average": "tokens"}
ARCCOS = {"mask_schedule": "arccos"}
ARMS = {
    "small": Arm(),
    "paper": Arm(shape=SHAPE),
    "inner norm": Arm(InnerNorm),
    "token mean": Arm(compile=TOKENS),
    "even ratios": Arm(masks=EVEN),
    "arccos masks": Arm(compile=ARCCOS),
    "visible loss 0.06": Arm(compile={"visible_loss_weight": 0.06}),
    "visible loss 0.2": Arm(compile={"visible_loss_weight": 0.2}),
    "visible loss 1": Arm(compile={"visible_loss_weight": 1}),
    "both": Arm(compile=FASTER),
    "both, token mean": Arm(compile={**FASTER, **TOKENS}),
    "label smoothing": Arm(compile={"label_smoothing": 0.1}),
    "dropout": Arm(Dropout),
    "pooled text": Arm(PooledText, shape={**SMALL, "intermediate_dim": 256}),
    "tied head": Arm(TiedHead, shape={**SMALL, "intermediate_dim": 397}),
    "lucidrains": Arm(LucidrainsBase, shape=SHAPE),
    "norm, token mean": Arm(InnerNorm, compile=TOKENS),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument(
        "--minutes", type=float, default=1e9, help="begin none after these"
    )
    parser.add_argument("--times", type=int, metavar="STEPS")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.times:
        print_rows(times_in_turn(options), options.json, "Seconds a step")
        return
    end = time.monotonic() + 60 * options.minutes
    rows = []
    for seed in options.seeds:
        for name in options.arms:
            about = {"arm": name, "seed": seed, "steps": options.steps}
            row = done(options, about)
            if row is None and time.monotonic() < end:
                row = {**about, **run(options, ARMS[name], seed)}
                with open(file(options), "a") as opened:
                    opened.write(json.dumps(row) + "\n")
            rows += [row] if row else []
    print_rows(rows, options.json, "Cross-entropy of masked tokens")


def file(options):
    return os.path.join(options.output, "ablations.jsonl")


def done(options, about):
    """The row of a training that was done before, or `None`."""
    if os.path.exists(file(options)):
        with open(file(options)) as opened:
            for row in map(json.loads, opened):
                if all(row[name] == about[name] for name in about):
                    return row


def run(options, arm, seed):
    keras.utils.set_random_seed(seed)  # Torch's too
    model = arm.model(**arm.shape)
    batches = read(options, "train", options.steps)
    if arm.model is LucidrainsBase:
        times = train_torch(model, batches, options.steps)
    else:
        times = train(model, arm, batches, options.steps, seed)
    return {
        "weights": model.count_params(),
        "seconds a step": float(np.median(times[WARM_UP:])),
        **losses(options, model),
    }


def read(options, split, steps=None, batch_size=BATCH_SIZE):
    batches = data.read_token_shards(
        os.path.join(options.output, "tokens", split),
        batch_size,
        "base",
        seed=0,
        shuffle=True,
        steps_per_epoch=steps,
    )
    batches.stream = batches.stream.map(without_padding)
    return batches


def without_padding(batch):
    text = {
        name: x[:, :TEXT_LENGTH] for name, x in batch.items() if "text" in name
    }
    return {**batch, **text}


def train(model, arm, batches, steps, seed):
    model.seed_generator.state.assign([seed, 0])
    model.compile(baselines.adamw(steps, RATE), **arm.compile)
    times = Times()
    with contextlib.ExitStack() as stack:
        for name, function in arm.masks.items():
            stack.enter_context(mock.patch.object(masking, name, function))
        model.fit(batches, verbose=0, callbacks=[times])
    return times.seconds


class Times(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self.begin = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.perf_counter() - self.begin)


def train_torch(model, batches, steps):
    times, begin = [], time.perf_counter()
    for _ in baselines.lucidrains_steps(model, batches, steps, RATE):
        times.append(time.perf_counter() - begin)
        begin = time.perf_counter()
    return times


def times_in_turn(options):
    """Seconds of steps of each arm, one of each after the other."""
    batches = read(options, "train", options.times, baselines.BATCH_SIZE)
    trainings = {name: one_by_one(ARMS[name], batches) for name in options.arms}
    seconds = {name: [] for name in trainings}
    for _ in range(options.times):
        for name, steps in trainings.items():
            begin = time.perf_counter()
            next(steps)
            seconds[name].append(time.perf_counter() - begin)
    return [
        {"arm": name, "median": float(np.median(x[1:])), "least": min(x)}
        for name, x in seconds.items()
    ]


def one_by_one(arm, batches):
    """A training of the size of `baselines.py` that waits after each step."""
    size = {
        name: baselines.SHAPE[name]
        for name in ("num_layers", "hidden_dim", "num_heads")
    }
    ratio = size["hidden_dim"] / SHAPE["hidden_dim"]
    width = round(arm.shape["intermediate_dim"] * ratio)
    model = arm.model(**{**arm.shape, **size, "intermediate_dim": width})
    if arm.model is LucidrainsBase:
        yield from baselines.lucidrains_steps(model, batches, len(batches))
        return
    model.compile(baselines.adamw(len(batches)), **arm.compile)
    for index in range(len(batches)):
        yield model.train_on_batch(batches[index])


def losses(options, model):
    row = {}
    for split in SPLITS:
        batches = read(options, split)
        batches = [batches[i] for i in range(min(8, len(batches)))]
        means = {
            f"{split} {share:g}": float(
                np.mean([baselines.loss(model, x, share) for x in batches])
            )
            for share in baselines.SHARES
        }
        row |= {split: float(np.mean(list(means.values()))), **means}
    return row


if __name__ == "__main__":
    main()
