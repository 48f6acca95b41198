"""Loading and saving of presets, in KerasHub's format."""

import contextlib
import os

import keras

from keras_muse.layers import initializers
from keras_muse.models import lora
from keras_muse.models import transfer
from keras_muse.models import weight_quantization
from keras_muse.models.presets import ARCHITECTURES
from keras_muse.models.presets import BUNDLED
from keras_muse.models.whole_directory import write_whole

MUSE_FILE = "muse.json"


class PresetModel(keras.Model):
    """A model with the verbs and the preset format of a KerasHub backbone.

    It is not a subclass of `keras_hub.models.Backbone`: the first functional
    backbone in a process turns all classes under `Backbone` into functional
    models, and these models are subclassed. It also spares everyone who does
    not load a preset the import of KerasHub.
    """

    # Names of the `keras_muse.converters` that read what others published.
    converters = ()

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Loads a model.

        Args:
            preset: string. A directory or handle (`hf://`, `kaggle://`) of
                such a model or of a whole `Muse`, of a model of others that
                the class can read; or the name of a bundled model, or of one
                of the paper's architectures (with `load_weights=False`).
            load_weights: bool. `False` leaves the weights random. Defaults to
                `True`.
            **kwargs: constructor arguments to override. Where they change the
                shape of a weight, what fits is loaded, 2-D positions are
                interpolated, and the rest starts afresh and is named in a
                message.

        Returns:
            A model of this class.

        Raises:
            ValueError: if the preset holds a model of another class, or its
                weights are damaged or do not fit its configuration; of the
                weights of others, the tensor is named.
        """
        if preset in ARCHITECTURES:
            return cls._from_architecture(preset, load_weights, kwargs)
        directory = local_directory(preset, cls)
        published = _sources().find(directory, cls.converters, cls.__name__)
        changes = _shape_changes(_saved_config(directory, published), kwargs)
        if load_weights and changes:
            source = cls.from_preset(
                preset, **{k: v for k, v in kwargs.items() if k not in changes}
            )
            return transfer.transfer(source, changes)
        if published is not None:
            converter, folder, config = published
            arguments = converter.constructor_arguments(config)
            with initializers.skip_random_weights(load_weights):
                model = cls(**{**arguments, **kwargs})
            if load_weights:
                converter.load_weights(model, directory, folder)
            return model
        loader = _preset_utils().get_preset_loader(directory)
        saved_class = loader.check_backbone_class()
        if not issubclass(saved_class, cls):
            raise ValueError(
                f"`preset` holds a `{saved_class.__name__}`, not a "
                f"`{cls.__name__}`. Received: preset={preset!r}"
            )
        try:
            with initializers.skip_random_weights(load_weights):
                return loader.load_backbone(saved_class, load_weights, **kwargs)
        except (OSError, KeyError) as error:
            raise ValueError(
                "The weights of `preset` cannot be read; the file may be cut "
                f"short: {error}. Received: preset={preset!r}"
            ) from error

    @classmethod
    def _from_architecture(cls, name, load_weights, kwargs):
        class_name, config = ARCHITECTURES[name]
        if class_name != cls.__name__:
            raise ValueError(
                f"`preset` is an architecture of `{class_name}`, not of "
                f"`{cls.__name__}`. Received: preset={name!r}"
            )
        if load_weights:
            raise ValueError(
                "`preset` is an architecture of the paper, whose weights were "
                "never published: pass `load_weights=False` for random ones. "
                f"Received: preset={name!r}, load_weights=True"
            )
        return cls(**{**config, **kwargs})

    def save_to_preset(self, preset_dir, max_shard_size=10):
        """Saves the model as a preset; optimizer and losses stay behind.

        Args:
            preset_dir: string. The directory; it appears whole or not at all.
            max_shard_size: int or float. Gigabytes of one weight file.
                Defaults to 10.
        """
        with write_whole(preset_dir) as directory, _detached_optimizer(self):
            saver = _preset_utils().get_preset_saver(directory)
            saver.save_backbone(self, max_shard_size=max_shard_size)

    # === LoRA and quantization, as KerasHub and Keras have them ===

    def enable_lora(self, rank, target_layer_names=("query", "value")):
        """Freezes the model and trains low-rank additions to some layers.

        Nothing changes yet: the additions start at zero. `compile` the model
        again before it is trained. A quantized model can be trained so, too.
        Saved as a preset or a `.keras` file, the model has the additions
        merged into its weights.

        Args:
            rank: int. Rank of the additions.
            target_layer_names: sequence of strings. Names of the `Dense`
                layers that get one. Defaults to the queries and values of all
                attentions.

        Raises:
            ValueError: if there are additions already, or a name matches no
                layer.

        Example:
        ```python
        base = keras_muse.MuseBase.from_preset("muse_emoji")
        base.enable_lora(rank=4)
        base.compile(keras.optimizers.AdamW(1e-3))
        base.fit(keras_muse.data.read_token_shards("my_style/", batch_size=32))
        base.save_lora_weights("my_style.lora.h5")
        ```

        Reference:
            - [Hu et al., 2021](https://arxiv.org/abs/2106.09685)
        """
        lora.enable_lora(self, rank, target_layer_names)

    def save_lora_weights(self, filepath):
        """Saves the low-rank additions alone.

        Args:
            filepath: string or path that ends in `.lora.h5`.

        Raises:
            ValueError: if LoRA is not enabled, or for another ending.
        """
        lora.save_lora_weights(self, filepath)

    def load_lora_weights(self, filepath):
        """Loads what `save_lora_weights` saved.

        A model without LoRA gets it, as `enable_lora` does, in the layers and
        of the rank of the file.

        Args:
            filepath: string or path that ends in `.lora.h5`.

        Raises:
            ValueError: if the file is damaged, or for another rank, other
                layers or other widths; they are named, and nothing is loaded.
        """
        lora.load_lora_weights(self, filepath)

    def quantize(self, mode=None, config=None, filters=None):
        """Stores the weights of `Dense` and `Embedding` layers as integers.

        Args:
            mode: `"int8"` or `"int4"`.
            config: `keras.quantizers.QuantizationConfig` or `None`, for
                example to choose the size of the blocks of int4.
            filters: regular expression, list of them, or function of a layer
                that returns a bool: which layers, by their names. Defaults to
                all.

        Raises:
            ValueError: for another mode, if layers are quantized already, or
                if there is none to quantize.

        Example:
        ```python
        base.quantize("int8")
        base.save_to_preset("base_int8")
        ```
        """
        weight_quantization.quantize(self, super().quantize, config, filters)

    # === Configuration ===

    def get_config(self):
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }
        if quantization := weight_quantization.describe(self):
            config["quantization"] = quantization
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        quantization = config.pop("quantization", ())
        model = super().from_config(config)
        # With random weights; the file holds them as integers.
        weight_quantization.restore(model, quantization)
        return model


@contextlib.contextmanager
def _detached_optimizer(model):
    """Keras saves the optimizer of a compiled model with its weights."""
    optimizer = getattr(model, "optimizer", None)
    model.optimizer = None
    try:
        yield
    finally:
        model.optimizer = optimizer


def _preset_utils():
    """KerasHub's reading and writing of presets, imported when needed."""
    from keras_hub.src.utils import preset_utils

    return preset_utils


def _sources():
    """What knows the formats of others; it imports KerasHub too."""
    from keras_muse.converters import sources

    return sources


def local_directory(preset, cls):
    """A local directory with the files of a model, fetched if need be.

    In a `Muse` preset it is the first part that is of class `cls`.
    """
    preset = BUNDLED.get(preset, preset)
    if not _preset_utils().check_file_exists(preset, MUSE_FILE):
        return preset
    parts = _preset_utils().load_json(preset, MUSE_FILE)["parts"]
    for name, part in parts.items():
        if part["class_name"] == cls.__name__ and "files" in part:
            return fetch_part(preset, name, part)
    raise ValueError(
        f"`preset` is a Muse without a {cls.__name__}; it has "
        f"{sorted(part['class_name'] for part in parts.values())}. "
        f"Received: preset={preset!r}"
    )


def fetch_part(preset, name, part):
    """The local directory of one part of a `Muse` preset."""
    try:
        for file in part["files"]:
            _preset_utils().get_file(preset, f"{name}/{file}")
    except FileNotFoundError as error:
        raise ValueError(
            f"The part {name!r} of `preset` is not whole: {error} "
            f"Received: preset={preset!r}"
        ) from error
    config_file = f"{name}/{_preset_utils().CONFIG_FILE}"
    return os.path.dirname(_preset_utils().get_file(preset, config_file))


def _saved_config(directory, published):
    """Constructor arguments of what lies there, as a dict."""
    if published is not None:
        converter, _, config = published
        return converter.constructor_arguments(config)
    config_file = _preset_utils().CONFIG_FILE
    if not _preset_utils().check_file_exists(directory, config_file):
        raise ValueError(
            f"`preset` has no {config_file}. What others publish without one "
            "is read from local paths only. Received: "
            f"preset={directory!r}"
        )
    return _preset_utils().load_json(directory).get("config", {})


def _shape_changes(config, kwargs):
    """Those of `kwargs` that differ from `config` in what shapes weights."""
    shaping = {"codebook_size", "low_res_codebook_size", "text_dim"}
    grids = {"grid_size", "low_res_grid_size"}
    return {
        name: value
        for name, value in kwargs.items()
        if (name in shaping and value != config.get(name))
        or (name in grids and tuple(value) != tuple(config.get(name, ())))
    }
