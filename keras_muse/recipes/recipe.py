"""The recipe: the stages of a training, one after the other."""

from keras_muse.data.token_shards.write import write_token_shards
from keras_muse.evaluation import report
from keras_muse.evaluation.muse_scores import evaluate
from keras_muse.evaluation.protocols import PROTOCOLS
from keras_muse.models.presets.lora import has_lora
from keras_muse.models.text_encoders.minilm_text_encoder import (
    MiniLMTextEncoder,
)
from keras_muse.models.transformers.muse_base import MuseBase
from keras_muse.models.transformers.muse_super_res import MuseSuperRes
from keras_muse.models.vqgan.vqgan_tokenizer import VQGANTokenizer
from keras_muse.muse.muse import Muse
from keras_muse.muse.preset import load_defaults
from keras_muse.muse.preset import load_parts
from keras_muse.recipes import card
from keras_muse.recipes import drawings
from keras_muse.recipes import losses
from keras_muse.recipes import stages
from keras_muse.recipes import work as places
from keras_muse.recipes.familiarity import distance
from keras_muse.recipes.sizes import PRESET
from keras_muse.runtime.devices import on_processor
from keras_muse.training.time_budget import TimeBudget

NUM_MEASURED = 128  # rows of which a loss is taken
# Parts of the time; the rest is for pictures, texts, tokens and scores.
SHARES = {
    # (trains a tokenizer, has super-resolution)
    (True, True): {"tokenizer": 0.18, "base": 0.45, "super_res": 0.26},
    (True, False): {"tokenizer": 0.2, "base": 0.62},
    (False, True): {"base": 0.5, "super_res": 0.32},
    (False, False): {"base": 0.8},
}
# Highest learning rates: afresh, and of what is trained already.
RATES = {"tokenizer": (2e-3, 5e-4), "base": (2e-3, 4e-4)}
SUPER_RES_RATE, LORA_RATE = 2e-3, 3e-3
WIDE, WIDE_RATE = 256, 1.2e-3  # of transformers that are no longer tiny


class Recipe:
    """A training of one collection, in one directory.

    Args:
        collection: a `Collection`.
        sizes: `Sizes`.
        options: `Options`.
        work: `Work`.
        text_encoder: what `load_text_encoder` returns.
    """

    def __init__(self, collection, sizes, options, work, text_encoder):
        self.collection, self.sizes = collection, sizes
        self.options, self.work = options, work
        self.shares = SHARES[
            sizes.trains_tokenizer, sizes.super_res is not None
        ]
        self.parts = {"text_encoder": text_encoder}
        self.results = {}  # losses and counts, by stage, for the card
        self.defaults = drawings.GENERATION_DEFAULTS
        if options.preset is not None:
            self.defaults = load_defaults(options.preset)

    def _given(self, name):
        """A part of the preset that is started from, `None` if it has none."""
        return load_parts(self.options.source, names=(name,)).get(name)

    def budget(self, stage, learning_rate):
        """The time of a stage."""
        seconds = self.options.seconds * self.shares[stage]
        if stage == "tokenizer" and self._has_tokens():
            # More minutes than before are not for it: its tokens are in use.
            seconds = 0
        return TimeBudget(seconds, self.work.path(stage), learning_rate)

    def _has_tokens(self):
        return self.work.has("tokens", "metadata.json")

    # === Stages ===

    def make_tokenizer(self):
        """Trains the tokenizer, where it is to be trained."""
        sizes = self.sizes
        if sizes.tokenizer == PRESET:
            tokenizer = self._given("image_tokenizer")
        else:
            tokenizer = VQGANTokenizer.from_preset(
                sizes.tokenizer, load_weights=False
            )
        self.parts["image_tokenizer"] = tokenizer
        if sizes.trains_tokenizer:
            print("\nImage tokenizer")
            afresh, again = RATES["tokenizer"]
            stages.train_tokenizer(
                tokenizer,
                self.collection.train,
                sizes.image_size,
                sizes.base_image_size,
                self.budget(
                    "tokenizer",
                    again if sizes.tokenizer == PRESET else afresh,
                ),
                self.options.seed,
            )
        lpips = distance(
            self._measured(self.collection.shown),
            sizes.image_size,
            tokenizer,
        )
        print(
            f"LPIPS of pictures through tokens: {lpips:.3f}. Up to 0.1 is "
            "hardly seen; above 0.3 it is seen in all that will be drawn."
        )
        self.results["tokenizer"] = {"LPIPS": lpips}

    def write_tokens(self):
        """Tokens and text states of what is trained on, once."""
        print("\nTokens and texts, once")
        if self._has_tokens():
            return
        sizes, pairs = self.sizes, self.collection.train
        has_two = sizes.super_res is not None
        tokenizer = self.parts["image_tokenizer"]
        write_token_shards(
            pairs.resized(int(stages.ENLARGED * sizes.image_size)),
            self.work.path("tokens"),
            tokenizer,
            self.parts["text_encoder"],
            high_res_tokenizer=tokenizer if has_two else None,
            image_size=sizes.base_image_size,
            high_res_image_size=sizes.image_size if has_two else None,
            num_views=self.options.num_views
            or num_views(
                pairs.num_examples, sizes.image_size, self.options.random_flip
            ),
            crop_scale=(0.8, 1.0),
            random_flip=self.options.random_flip,
            seed=self.options.seed,
            # Of another tokenizer, where it has been trained on since.
            overwrite=True,
        )

    def train_base(self):
        """Trains the base, or what LoRA adds to it."""
        tokenizer = self.parts["image_tokenizer"]
        side = self.sizes.base_image_size // tokenizer.downsampling_factor
        afresh, rate = RATES["base"]
        if self.sizes.base == PRESET:
            base = self._given("base")
            if self.options.lora_rank:
                base.enable_lora(self.options.lora_rank)
                rate = LORA_RATE
        else:
            base = MuseBase.from_preset(
                self.sizes.base,
                load_weights=False,
                codebook_size=tokenizer.codebook_size,
                grid_size=(side, side),
                text_dim=self.parts["text_encoder"].text_dim,
            )
            rate = WIDE_RATE if base.hidden_dim >= WIDE else afresh
        self.parts["base"] = base
        print(f"\nBase transformer: text to {side} x {side} tokens")
        budget = self.budget("base", rate)
        sheets = drawings.SheetsOnTheWay(
            self._muse(),
            self.collection,
            self.sizes.base_image_size,
            budget,
            self.work.beside(places.PROGRESS_FILE),
            self.options.seed,
        )
        # What a base has learned the paper's way goes on so.
        options = {} if self.sizes.base == PRESET else stages.FASTER
        self._train("base", base, budget, [sheets], **options)

    def train_super_res(self):
        """Trains the super-resolution model, where there is one."""
        if self.sizes.super_res is None:
            return
        tokenizer, base = self.parts["image_tokenizer"], self.parts["base"]
        side = self.sizes.image_size // tokenizer.downsampling_factor
        super_res = MuseSuperRes.from_preset(
            self.sizes.super_res,
            load_weights=False,
            codebook_size=tokenizer.codebook_size,
            low_res_codebook_size=tokenizer.codebook_size,
            grid_size=(side, side),
            low_res_grid_size=base.grid_size,
            text_dim=self.parts["text_encoder"].text_dim,
        )
        print(f"\nSuper-resolution transformer: to {side} x {side} tokens")
        rate = WIDE_RATE if super_res.hidden_dim >= WIDE else SUPER_RES_RATE
        budget = self.budget("super_res", rate)
        self._train("super_res", super_res, budget)
        self.parts["super_res"] = super_res

    def _train(self, stage, model, budget, callbacks=(), **options):
        stages.compile_transformer(model, **options)
        rows = self._rows(stage, self.collection.shown)
        is_held_out = self.collection.held_out is not None
        if self.sizes.base == PRESET and stage == "base":
            before = losses.measure(model, rows, is_held_out=is_held_out)
            print(f"Before: {before}")
        stages.train_transformer(
            model,
            self.work.path("tokens"),
            stage,
            budget,
            self.options.seed,
            callbacks,
        )
        of_training = None
        if is_held_out:
            of_training = self._rows(stage, self.collection.train)
        found = losses.measure(
            model, rows, of_training, is_held_out=is_held_out
        )
        counted, words = {}, f"{found}.\n{losses.in_words(found)}"
        if not has_lora(model):  # of which a later start counts its own alone
            counted["steps"] = steps = int(model.optimizer.iterations)
            words = f"{steps} steps; {words}"
        print(f"\n{words}")
        self.results[stage] = {
            "weights": model.count_params(),
            **counted,
            "minutes": budget.spent / 60,
            "loss": found.loss,
            "captions shuffled": found.shuffled,
            "uniform guessing": found.uniform,
        }
        if found.of_training is not None:
            self.results[stage]["pictures trained on"] = found.of_training

    def _rows(self, stage, pairs):
        """Rows to measure a transformer on."""
        sizes = self.sizes
        return losses.token_rows(
            self._measured(pairs),
            sizes.base_image_size,
            self.parts["image_tokenizer"],
            self.parts["text_encoder"],
            sizes.image_size if stage == "super_res" else None,
        )

    def _measured(self, pairs):
        return pairs.select_evenly(NUM_MEASURED)

    # === What is left at the end ===

    def finish(self):
        """Saves the `Muse`, draws its sheet and scores it."""
        muse = self._muse(whole=True)
        preset = self.work.beside(places.PRESET)
        muse.save_to_preset(preset)
        if self.options.lora_rank:
            muse.base.save_lora_weights(self.work.beside(places.LORA_FILE))
            # A quantized one is rounded anew where the additions are merged.
            muse.base = load_parts(preset, names=("base",))["base"]
        print("\nPictures")
        path = self.work.beside(places.GRID_FILE)
        size = muse.cascade.image_size
        drawings.draw_sheet(
            muse, preset, self.collection, size, path, self.options.seed
        )
        self._score(muse, preset)
        card.write_card(preset, self, size)
        print(f"\nThe model is in {preset}, its pictures are in {path}")
        return muse

    def _score(self, muse, preset):
        held_out = self.collection.held_out
        if held_out is None:
            print("No picture is held out: there is nothing to score with.")
            return
        number = min(
            drawings.NUM_SCORED, max(16, int(2 * self.options.minutes))
        )
        pairs = held_out.select_evenly(number)
        rows = evaluate(
            muse,
            pairs.resized(self.sizes.image_size),
            PROTOCOLS["pictures"],
            seed=self.options.seed,
        )
        rows = [{"split": "held out", **row} for row in rows]
        report.write_report(
            self.work.beside(places.SCORES), rows, [], {"preset": preset}
        )
        beside = ("seed", "num_pictures", "image_size", "split")
        beside += ("shown", "true")
        self.results["pictures"] = {
            name: value for name, value in rows[0].items() if name not in beside
        }

    def _muse(self, whole=False):
        """A `Muse` of the parts there are; `whole`, with all of a preset."""
        parts = dict(self.parts)
        if whole and self.options.preset is not None:
            for name in ("super_res", "high_res_image_tokenizer"):
                parts[name] = self._given(name)
        return Muse(**parts, generation_defaults=self.defaults)


def load_text_encoder(options):
    """The text encoder of a training, which is never trained itself."""
    if options.preset is None:
        return MiniLMTextEncoder.from_preset("all_minilm_l6_v2")
    parts = load_parts(options.preset, names=("text_encoder",))
    return parts["text_encoder"]


def num_views(num_pictures, image_size, random_flip=False):
    """Views of a picture that are trained on: the fewer pictures, the more.

    Seen in one view alone, a thousand pictures are soon known by heart. The
    first view is never mirrored, so that there must be two for that.
    """
    least = 2 if random_flip else 1
    views = 16 if num_pictures < 2000 else 4 if num_pictures < 20_000 else least
    if num_pictures < 200 or not on_processor():
        return views
    # In all, what a processor makes tokens of in a minute or two.
    most = 40_000 if image_size <= 64 else 5000
    return max(least, min(views, most // num_pictures))
