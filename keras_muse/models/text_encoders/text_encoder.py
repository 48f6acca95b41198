"""What the frozen language models share: tokens, batches, presets."""

import os
import warnings

import keras
import keras_hub
import numpy as np
import tokenizers

from keras_muse.files import hub
from keras_muse.files import keras_files
from keras_muse.files.damage import reading
from keras_muse.files.whole import write_whole
from keras_muse.models.presets import loading
from keras_muse.models.presets import published
from keras_muse.runtime.batches import map_batches
from keras_muse.runtime.checks import check_batch_size
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.checks import check_texts
from keras_muse.runtime.checks import check_verbose
from keras_muse.runtime.compiled import CompiledFunctions
from keras_muse.runtime.compiled import fetchable
from keras_muse.runtime.inputs import Input
from keras_muse.runtime.inputs import as_native
from keras_muse.runtime.inputs import check_data
from keras_muse.runtime.inputs import check_inputs
from keras_muse.runtime.variables import free
from keras_muse.runtime.variables import kept


@keras.saving.register_keras_serializable(package="keras_muse")
class TextEncoder(keras_hub.models.Backbone):
    """Base class of the frozen text encoders.

    A text encoder turns prompts into one vector per token. It is a KerasHub
    backbone with its tokenizer inside, it is never trained, and every prompt
    is padded to `sequence_length`. `TextEncoder.from_preset` finds the right
    subclass by itself.

    A subclass names `vocabulary_file` and `converters`, has `vocabulary_size`,
    and implements `_make_tokenizer`. It is known to `from_preset` as soon as
    it is imported, for which `keras_muse/models/text_encoders/__init__.py` is
    the place.

    Args:
        inputs: dict of the Keras inputs `token_ids` and `padding_mask`.
        outputs: Keras tensor of shape `(batch, text_length, text_dim)`. Where
            a subclass has more rows than tokens, it says which are real by
            `embedding_mask`.
        sequence_length: int, at least 2. Tokens a prompt is padded or cut to.
        text_dim: int. Width of the embeddings.
        vocabulary: the vocabulary, in a form that the subclass names.
            Defaults to `None`: the model works, `tokenize` does not.
        dtype: string or `keras.DTypePolicy`. Defaults to the global policy.

    Call arguments:
        inputs: dict of `token_ids`, int32 of shape `(batch,
            sequence_length)`, and `padding_mask`, bool of that shape, true at
            real tokens.

    Returns:
        Float tensor of shape `(batch, text_length, text_dim)`, not zeroed at
        padding; `encode` does that. `text_length` is `sequence_length` unless
        the subclass says otherwise.

    Example:
    ```python
    from keras_muse.models import TextEncoder

    encoder = TextEncoder.from_preset("all_minilm_l6_v2")
    text_embeddings, text_mask = encoder.encode(["a red apple", ""])
    encoder.release()
    ```
    """

    # Name of the tokenizer's file in a preset, under `assets/tokenizer`.
    vocabulary_file = None
    # Names of the `keras_muse.converters` that read what others published.
    converters = ()
    # Those that can be loaded by name; each with its `"directory"`.
    presets = {}
    _released = False

    def __init__(
        self,
        inputs,
        outputs,
        text_dim,
        vocabulary=None,
        **kwargs,
    ):
        kwargs.setdefault("trainable", False)
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.sequence_length = inputs["token_ids"].shape[1]
        self.text_dim = text_dim
        # The name or place this encoder was loaded from, and how.
        self.preset = None
        self.preset_options = {}
        self._compiled = CompiledFunctions(self)
        self._vocabulary = None
        self._tokenizer = None
        if vocabulary is not None:
            self._set_vocabulary(vocabulary)

    @staticmethod
    def make_inputs(sequence_length):
        """The two inputs of every text encoder, as Keras inputs."""
        shape = (check_int(sequence_length, "sequence_length", low=2),)
        return {
            "token_ids": keras.Input(shape, dtype="int32", name="token_ids"),
            "padding_mask": keras.Input(
                shape, dtype="bool", name="padding_mask"
            ),
        }

    def tokenize(self, texts):
        """Token ids of prompts, padded and cut to `sequence_length`.

        Args:
            texts: string or list of strings. A cut prompt keeps its end
                token, and one warning says how many were cut.

        Returns:
            Dict of numpy arrays of shape `(num_texts, sequence_length)`:
            `token_ids` (int32, 0 at padding) and `padding_mask` (bool, true
            at real tokens).

        Raises:
            ValueError: if a text is not a string.
        """
        return _pad_or_cut(self._token_rows(texts), self.sequence_length)

    def is_cut(self, texts):
        """Which prompts `tokenize` would cut.

        Args:
            texts: string or list of strings.

        Returns:
            List of bools, one per prompt.
        """
        return [len(x) > self.sequence_length for x in self._token_rows(texts)]

    def _token_rows(self, texts):
        """Token ids of checked prompts, as many as there are."""
        if self._tokenizer is None:
            raise ValueError(
                "`tokenize` needs a vocabulary: pass one as `vocabulary` or "
                "use `from_preset`. Received: vocabulary=None"
            )
        return self._tokenize_to_lists(check_texts(texts, "texts", low=0))

    def _tokenize_to_lists(self, texts):
        """Lists of ids, each ending in the end token."""
        return [row.ids for row in self._tokenizer.encode_batch(texts)]

    def encode(self, texts, batch_size=None, verbose=0):
        """Embeds prompts, batch by batch, with one compiled program.

        Args:
            texts: string or list of strings. An empty string is a prompt too.
            batch_size: int. Rows of every batch; a short one is padded, so
                that one compiled shape serves. Defaults to 64, or for fewer
                texts to the next power of two.
            verbose: 0 or 1. Whether to show a progress bar. Defaults to `0`.

        Returns:
            Two numpy arrays: `text_embeddings`, float32 of shape
            `(num_texts, text_length, text_dim)`, zero at padding, and
            `text_mask`, bool of shape `(num_texts, text_length)`, true at
            real tokens.

        Raises:
            ValueError: if a text is not a string or the weights have been
                released.
        """
        self._check_not_released()
        verbose = check_verbose(verbose)
        if batch_size is not None:
            batch_size = check_batch_size(batch_size)
        tokens = self.tokenize(texts)
        text_mask = self.embedding_mask(tokens["padding_mask"])
        num_texts = len(text_mask)
        if batch_size is None:
            batch_size = min(1 << max(num_texts - 1, 0).bit_length(), 64)
        if num_texts == 0:
            shape = (*text_mask.shape, self.text_dim)
            return np.zeros(shape, "float32"), text_mask
        progress = keras.utils.Progbar(
            num_texts, verbose=verbose, unit_name="text"
        )
        embeddings = map_batches(
            self.predict_on_batch,
            [tokens],
            batch_size,
            min_rows=batch_size,
            on_batch=progress.update,
        )
        # Padding is zero: it must never leak into a mean or a file.
        text_embeddings = np.where(text_mask[:, :, None], embeddings, 0)
        return text_embeddings.astype("float32"), text_mask

    def embedding_mask(self, padding_mask):
        """Which rows of the embeddings are to be attended to.

        Args:
            padding_mask: bool array of shape `(num_texts, sequence_length)`,
                true at real tokens.

        Returns:
            bool array of shape `(num_texts, text_length)`.
        """
        return padding_mask

    def predict_on_batch(self, x):
        """The embeddings of one batch, as a numpy array."""
        embed = self._compiled.get("embed", lambda x: fetchable(self(x)))
        return keras.ops.convert_to_numpy(embed(x))

    def release(self):
        """Frees the weights; `encode` raises from now on.

        Embeddings can be computed once and the encoder released before the
        image models need the memory. `tokenize` and the attributes stay.
        """
        free(self.variables)
        self._compiled.clear()
        self._released = True

    def _check_not_released(self):
        if self._released:
            raise ValueError(
                "The weights of this text encoder were freed by `release()`; "
                "load it again with `from_preset`. Received: "
                f"preset={self.preset!r}"
            )

    def __call__(self, inputs, *args, **kwargs):
        self._check_not_released()
        if isinstance(inputs, dict):
            inputs = as_native(inputs)
            check_inputs(inputs, self.token_inputs, "inputs")
        return super().__call__(inputs, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """`keras.Model.predict`, of what `tokenize` gives."""
        self._check_not_released()
        x = as_native(x)
        check_data(x, self.token_inputs, "x")
        with kept(self.variables, self):
            return super().predict(x, *args, **kwargs)

    @property
    def token_inputs(self):
        """What the encoder takes, a dict of `Input`."""
        shapes = ((self.sequence_length,),)
        num_ids = getattr(self, "vocabulary_size", None)
        return {
            "token_ids": Input(shapes, num_ids, "tokens"),
            "padding_mask": Input(shapes, is_flag=True),
        }

    # Who loads `preset` gets other weights than those that came after it.

    def load_weights(self, *args, **kwargs):
        """`keras.Model.load_weights`; `preset` is `None` from then on."""
        self.preset = None
        super().load_weights(*args, **kwargs)

    def set_weights(self, weights):
        """`keras.Model.set_weights`; `preset` is `None` from then on."""
        self.preset = None
        super().set_weights(weights)

    def enable_lora(self, *args, **kwargs):
        """KerasHub's `enable_lora`; `preset` is `None` from then on."""
        self.preset = None
        super().enable_lora(*args, **kwargs)

    def quantize(self, *args, **kwargs):
        """`keras.Model.quantize`."""
        self._check_not_released()
        return super().quantize(*args, **kwargs)

    # === Presets ===

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Loads a text encoder.

        Args:
            preset: string. A name in `presets`, a directory, or a handle
                (`hf://`, `kaggle://`). It holds an encoder saved by
                `save_to_preset`, or what the subclass says it can read,
                also as a part of a pipeline of `diffusers`.
            load_weights: bool. `False` leaves the weights random. Defaults to
                `True`.
            **kwargs: arguments of the constructor to override, such as
                `sequence_length` or `dtype`. Those that would give it other
                weights than are saved are refused.

        Returns:
            The encoder, with `preset` as its attribute of that name.

        Raises:
            ValueError: if the preset holds another kind of model, or a weight
                is missing, damaged or of the wrong shape (it is named).
        """
        loading.check_options(cls, kwargs)
        preset = check_path(preset, "preset")
        classes = [c for c in encoder_classes() if issubclass(c, cls)]
        source = preset
        for encoder_class in classes:
            known = encoder_class.presets.get(preset, {})
            source = known.get("directory", source)
        names = {name for c in classes for name in c.presets}
        loading.check_place(source, names)
        readers = {
            name: encoder_class
            for encoder_class in classes
            for name in encoder_class.converters
        }
        found = published.find(source, readers, cls.__name__)
        if found is None:
            encoder = _load_own(source, cls, load_weights, kwargs)
        else:
            name = found.converter.__name__.rpartition(".")[2]
            encoder = published.load(
                readers[name], source, found, load_weights, kwargs
            )
        encoder.preset = preset
        encoder.preset_options = {"load_weights": load_weights, **kwargs}
        return encoder

    def save_to_preset(self, preset_dir, max_shard_size=10):
        """Saves configuration, weights and vocabulary as a KerasHub preset.

        Args:
            preset_dir: string. The directory; it appears whole or not at all.
            max_shard_size: int or float. Gigabytes of one weight file, or
                `None` for a single file. Defaults to `10`.
        """
        self._check_not_released()
        preset_dir = check_path(preset_dir, "preset_dir")
        loading.check_shard_size(max_shard_size)
        with write_whole(preset_dir) as directory:
            super().save_to_preset(directory, max_shard_size=max_shard_size)
            assets = os.path.join(directory, hub.TOKENIZER_DIRECTORY)
            os.makedirs(assets)
            self.save_assets(assets)

    def save(self, filepath, overwrite=True, zipped=None, **kwargs):
        """`keras.Model.save`; the file appears whole or not at all."""
        self._check_not_released()
        keras_files.save(
            super().save, self, filepath, overwrite, zipped, **kwargs
        )

    def save_weights(self, filepath, overwrite=True, max_shard_size=None):
        """`keras.Model.save_weights`; nothing is written half."""
        self._check_not_released()
        keras_files.save_weights(
            super().save_weights, self, filepath, overwrite, max_shard_size
        )

    def save_assets(self, dir_path):
        path = os.path.join(dir_path, self.vocabulary_file)
        with open(path, "wb") as file:
            # None is an empty file, which takes the place of an earlier one.
            file.write(self._vocabulary or b"")

    def load_assets(self, dir_path):
        path = os.path.join(dir_path, self.vocabulary_file)
        if os.path.exists(path) and os.path.getsize(path):
            self._set_vocabulary(path)

    def _set_vocabulary(self, vocabulary):
        is_path = isinstance(vocabulary, str | os.PathLike)
        with reading(vocabulary if is_path else "vocabulary"):
            contents = self._read_vocabulary(vocabulary)
            tokenizer, num_pieces = self._make_tokenizer(contents)
            if num_pieces > self.vocabulary_size:
                raise ValueError(
                    f"`vocabulary` has {num_pieces} pieces, more than the "
                    "embedding has rows. Received: "
                    f"vocabulary_size={self.vocabulary_size}"
                )
        self._vocabulary = contents
        self._tokenizer = tokenizer

    def _read_vocabulary(self, vocabulary):
        """The bytes of the vocabulary's file."""
        if isinstance(vocabulary, bytes):
            return vocabulary
        with open(vocabulary, "rb") as file:
            return file.read()

    def get_config(self):
        config = super().get_config()
        config["sequence_length"] = self.sequence_length
        return config


def make_fast_tokenizer(vocabulary):
    """A tokenizer of Hugging Face from the bytes of its `tokenizer.json`."""
    tokenizer = tokenizers.Tokenizer.from_str(vocabulary.decode("utf-8"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, tokenizer.get_vocab_size()


def encoder_classes(base=TextEncoder):
    """All text encoders that are imported."""
    for encoder_class in base.__subclasses__():
        yield encoder_class
        yield from encoder_classes(encoder_class)


def _load_own(source, base_class, load_weights, kwargs):
    """An encoder that `save_to_preset` wrote."""
    loading.check_has_config(source, base_class)
    config = hub.read_json(source, registered_name=str, config=dict)
    kind = config["registered_name"]
    encoder_class = loading.own_class(source)
    if not issubclass(encoder_class, base_class):
        raise ValueError(
            f"`preset` holds a model of type {kind!r}, which "
            f"`{base_class.__name__}` cannot read. Received: "
            f"preset={source!r}"
        )
    saved_dtype = config["config"].get("dtype")
    if (
        isinstance(saved_dtype, dict)
        and saved_dtype.get("class_name") == "DTypePolicyMap"
    ):
        # KerasHub drops the policies of a quantized backbone.
        with reading(hub.local_file(source, hub.CONFIG_FILE)):
            dtype = _quantized_from(saved_dtype, kwargs.get("dtype"))
        kwargs = {**kwargs, "dtype": dtype}
    encoder = loading.load_own(encoder_class, source, load_weights, kwargs)
    path = f"{hub.TOKENIZER_DIRECTORY}/{encoder.vocabulary_file}"
    if hub.has_file(source, path):
        encoder.load_assets(os.path.dirname(hub.local_file(source, path)))
    return encoder


def _quantized_from(saved_dtype, dtype):
    """The policies of a quantized encoder, whose other dtype is `dtype`.

    Args:
        saved_dtype: dict. A `DTypePolicyMap` of quantized layers, serialized.
        dtype: string or `keras.DTypePolicy`, or `None` for the saved one.

    Returns:
        dict, as `saved_dtype`.
    """
    if dtype is None:
        return saved_dtype
    name = keras.dtype_policies.get(dtype).name
    saved = keras.dtype_policies.get(saved_dtype)
    policies = keras.dtype_policies.DTypePolicyMap(default_policy=name)
    for path in saved:
        policy = saved[path]
        config = {**policy.get_config(), "source_name": name}
        policies[path] = policy.from_config(config)
    return keras.dtype_policies.serialize(policies)


# === Tokens ===


def _pad_or_cut(rows, length):
    """Rows of token ids as arrays; one warning says how many were cut.

    Args:
        rows: list of lists of ints, each ending in its end token.
        length: int. A longer row keeps its end token as the last.

    Returns:
        Dict of numpy arrays of shape `(num_rows, length)`: `token_ids`
        (int32, 0 at padding) and `padding_mask` (bool, true at real tokens).
    """
    num_cut = sum(len(row) > length for row in rows)
    if num_cut:
        warnings.warn(
            f"{num_cut} of {len(rows)} texts were cut to "
            f"`sequence_length={length}` tokens.",
            stacklevel=3,
        )
    token_ids = np.zeros((len(rows), length), "int32")
    padding_mask = np.zeros((len(rows), length), "bool")
    for i, row in enumerate(rows):
        if len(row) > length:
            row = [*row[: length - 1], row[-1]]
        token_ids[i, : len(row)] = row
        padding_mask[i, : len(row)] = True
    return {"token_ids": token_ids, "padding_mask": padding_mask}
