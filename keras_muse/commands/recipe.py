"""The main job on what is bundled: from pictures to a trained Muse.

Read it as the recipe for one's own pictures; only the sizes are small. On two
processor cores it takes the minutes it is given.
"""

import importlib.util
import os

import keras
import numpy as np

from keras_muse import data
from keras_muse import training
from keras_muse.data.decoding import resize
from keras_muse.losses.lpips import LPIPS
from keras_muse.models.text_encoders.minilm_text_encoder import (
    MiniLMTextEncoder,
)
from keras_muse.models.transformers.muse_base import MuseBase
from keras_muse.models.transformers.muse_super_res import MuseSuperRes
from keras_muse.models.vqgan.vqgan_tokenizer import VQGANTokenizer
from keras_muse.muse.muse import Muse
from keras_muse.ops import images as image_ops
from keras_muse.samplers.confidence_sampler import ConfidenceSampler

SMALL, LARGE = 32, 64  # pixels, out of the base and of the super-res model
STYLES = ("fluent 3d", "noto", "twemoji")
GROUPS = ("smileys & emotion", "animals & nature", "food & drink")
# Parts of the time; the rest is for pictures, texts and tokens.
TOKENIZER_TIME, BASE_TIME, SUPER_RES_TIME = 0.18, 0.45, 0.26
TOKENIZER_BATCH, BASE_BATCH, SUPER_RES_BATCH = 64, 32, 16

# Few codes, and vectors that are held close to them: tokens that a small
# transformer can predict are worth more here than the last decibel.
TOKENIZER = {
    "base_channels": 16,
    "channel_multipliers": (1, 2, 4),
    "num_res_blocks": 1,
    "codebook_size": 128,
    "codebook_dim": 8,
    "num_groups": 8,
}
TRANSFORMER = {
    "codebook_size": TOKENIZER["codebook_size"],
    "text_dim": 384,
    "num_layers": 4,
    "hidden_dim": 128,
    "num_heads": 4,
    "intermediate_dim": 512,
}
# A model of so few steps is unsure of much: draw what it is surest of.
SAMPLER = ConfidenceSampler(temperature=0.5)
GENERATION_DEFAULTS = {
    "guidance_scale": 2.0,
    "sampler": SAMPLER,
    "super_res_sampler": SAMPLER,
}


def quickstart(output, minutes=18.0, seed=0):
    """Trains a small Muse on the bundled emoji and draws with it.

    Started again after a kill, it goes on where it was.

    Args:
        output: string. Directory for the preset, the pictures and the state
            of the work.
        minutes: float. Time it may take, all in all.
        seed: int. Seed of weights, batches and pictures.

    Returns:
        The trained `Muse`.
    """
    keras.utils.set_random_seed(seed)
    seconds = minutes * 60
    work = os.path.join(output, "work")
    os.makedirs(work, exist_ok=True)

    if faster := faster_backend():
        print(
            f"On a processor {faster} takes about half the time a step: "
            f"KERAS_BACKEND={faster} trains longer in the same minutes."
        )
    large, small, pairs = load_pictures("train")
    print(f"{len(large)} drawings of emoji in {len(STYLES)} styles")

    print("\n1. Image tokenizer")
    tokens = f"{work}/tokens"
    has_tokens = os.path.exists(f"{tokens}/metadata.json")
    tokenizer = train_tokenizer(
        large,
        small,
        # More minutes than before are not for it: its tokens are in use.
        0 if has_tokens else seconds * TOKENIZER_TIME,
        f"{work}/tokenizer",
        seed,
    )

    print("\n2. Tokens and texts, once")
    text_encoder = MiniLMTextEncoder.from_preset("all_minilm_l6_v2")
    if not has_tokens:
        data.write_token_shards(
            pairs,
            tokens,
            tokenizer,
            text_encoder,
            high_res_tokenizer=tokenizer,
            image_size=SMALL,
            high_res_image_size=LARGE,
        )

    base, super_res = make_transformers()
    print("\n3. Base transformer: text to 8 x 8 tokens")
    train_transformer(
        base,
        data.read_token_shards(tokens, BASE_BATCH, "base", seed=seed),
        training.TimeBudget(seconds * BASE_TIME, f"{work}/base", 2e-3),
    )

    print("\n4. Super-resolution transformer: to 16 x 16 tokens")
    train_transformer(
        super_res,
        data.read_token_shards(tokens, SUPER_RES_BATCH, "super_res", seed=seed),
        training.TimeBudget(
            seconds * SUPER_RES_TIME, f"{work}/super_res", 2e-3
        ),
    )

    muse = Muse(
        text_encoder,
        base,
        tokenizer,
        super_res,
        generation_defaults=GENERATION_DEFAULTS,
    )
    muse.save_to_preset(os.path.join(output, "preset"))

    print("\n5. Pictures")
    path = os.path.join(output, "grid.png")
    draw_sheet(muse, path, seed)
    print(f"\nThe model is in {output}/preset, its pictures are in {path}")
    return muse


def faster_backend():
    """The installed backend that trains these models faster, or `None`.

    XLA does not use all that a processor has; measured in
    benchmarks/results/quickstart_backends.md.
    """
    on_processor = keras.config.backend() == "jax" and all(
        "cpu" in device for device in keras.distribution.list_devices()
    )
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    return "tensorflow" if on_processor and has_tensorflow else None


def load_pictures(split):
    """The bundled drawings that the quick start uses, at both sizes."""
    pairs = data.load_emoji(
        image_size=LARGE,
        split=split,
        styles=STYLES,
        prompts="styled",
        shuffle=False,
    )
    kept = [i for i, row in enumerate(pairs.rows) if row["group"] in GROUPS]
    pairs = pairs.select(kept)
    large, _ = pairs.as_arrays()
    return large, resize(large, (SMALL, SMALL)), pairs


class Patches(keras.utils.PyDataset):
    """Batches of small pictures: half whole ones, half parts of large ones.

    A VQGAN without attention may be trained on small patches and used on
    large pictures. The tokenizer sees what it will tokenize at both sizes, at
    the cost of the smaller.
    """

    def __init__(self, small, large, batch_size, num_batches, seed):
        super().__init__()
        self.small, self.large = small, large
        self.batch_size, self._length = batch_size, num_batches
        self.seed, self.epoch = seed, 0

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        whole = rng.integers(len(self.small), size=self.batch_size // 2)
        cut = rng.integers(len(self.large), size=self.batch_size // 2)
        size = self.small.shape[1]
        num_corners = self.large.shape[1] - size + 1
        corners = rng.integers(num_corners, size=(len(cut), 2))
        parts = [
            self.large[i, y : y + size, x : x + size]
            for i, (y, x) in zip(cut, corners, strict=True)
        ]
        return np.concatenate([self.small[whole], np.stack(parts)])

    def on_epoch_end(self):
        self.epoch += 1


def make_tokenizer():
    tokenizer = VQGANTokenizer(**TOKENIZER)
    tokenizer.compile(
        keras.optimizers.Adam(beta_2=0.99),
        reconstruction="l1",
        perceptual=LPIPS(min_size=SMALL),
        perceptual_weight=0.25,
        adversarial_weight=0,
        commitment_weight=0.5,
        entropy_weight=0,
    )
    return tokenizer


def make_transformers():
    """The base and the super-resolution model, compiled."""
    base = MuseBase(grid_size=(8, 8), **TRANSFORMER)
    super_res = MuseSuperRes(
        low_res_codebook_size=TOKENIZER["codebook_size"],
        grid_size=(16, 16),
        low_res_grid_size=(8, 8),
        low_res_num_layers=1,
        block_size=4,
        **{**TRANSFORMER, "num_layers": 3},
    )
    for model in (base, super_res):
        model.compile(keras.optimizers.AdamW(weight_decay=0.02, beta_2=0.99))
    return base, super_res


def train_tokenizer(large, small, seconds, directory, seed):
    tokenizer = make_tokenizer()
    budget = training.TimeBudget(seconds, directory, learning_rate=2e-3)
    if not budget.restore(tokenizer):
        tokenizer.fit(
            Patches(small, large, TOKENIZER_BATCH, 100, seed),
            epochs=10**6,
            verbose=0,
            callbacks=[budget],
        )
    return tokenizer


def train_transformer(model, batches, budget):
    if not budget.restore(model):
        batches.step = int(model.optimizer.iterations)
        print(
            f"Uniform guessing scores ln K = {np.log(model.codebook_size):.2f}"
        )
        model.fit(
            batches,
            epochs=10**6,
            verbose=0,
            callbacks=[budget],
        )


def draw_sheet(muse, path, seed=0):
    """Draws what a quick start learned, on one labelled sheet.

    Args:
        muse: a `Muse` of the sizes of `quickstart`.
        path: string. Where the PNG goes.
        seed: int. Seed of the pictures.
    """
    sections = []
    for split, title in (
        ("train", "Prompts of the training"),
        ("test_pair", "Held out: these things were not seen in this style"),
        ("test_concept", "Held out: these things were never seen"),
    ):
        _, _, pairs = load_pictures(split)
        chosen = np.linspace(0, pairs.num_examples - 1, 16).astype(int)
        prompts = [pairs.texts[i] for i in chosen]
        images = muse.generate(
            prompts,
            **GENERATION_DEFAULTS,
            seed=seed,
            batch_size=16,
        )
        sections.append((title, images, prompts))
    large, _, _ = load_pictures("test_pair")
    originals = large[:: max(1, len(large) // 8)][:8]
    restored = image_ops.to_pixels(
        muse.image_tokenizer.decode(muse.image_tokenizer.encode(originals))
    )
    sections.append(("Held-out drawings", originals, None))
    sections.append(("The same through the tokenizer", restored, None))
    training.draw_sections(sections, path=path)
