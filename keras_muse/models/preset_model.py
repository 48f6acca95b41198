"""Loading and saving of presets, in KerasHub's format."""

import os

import keras

from keras_muse.models import transfer
from keras_muse.models.presets import ARCHITECTURES
from keras_muse.models.whole_directory import write_whole

MUSE_FILE = "muse.json"


class PresetModel(keras.Model):
    """A model with the verbs and the preset format of a KerasHub backbone.

    It is not a subclass of `keras_hub.models.Backbone`: the first functional
    backbone in a process turns all classes under `Backbone` into functional
    models, and these models are subclassed. It also spares everyone who does
    not load a preset the import of KerasHub.
    """

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Loads a model.

        Args:
            preset: string. A directory or handle (`hf://`, `kaggle://`) of
                such a model or of a whole `Muse`, or the name of one of the
                paper's architectures (with `load_weights=False`).
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
                weights are damaged or do not fit its configuration.
        """
        if preset in ARCHITECTURES:
            return cls._from_architecture(preset, load_weights, kwargs)
        directory = local_directory(preset, cls)
        changes = _shape_changes(directory, kwargs)
        if load_weights and changes:
            source = cls.from_preset(
                preset, **{k: v for k, v in kwargs.items() if k not in changes}
            )
            return transfer.transfer(source, changes)
        loader = _preset_utils().get_preset_loader(directory)
        saved_class = loader.check_backbone_class()
        if not issubclass(saved_class, cls):
            raise ValueError(
                f"`preset` holds a `{saved_class.__name__}`, not a "
                f"`{cls.__name__}`. Received: preset={preset!r}"
            )
        try:
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
        with write_whole(preset_dir) as directory:
            saver = _preset_utils().get_preset_saver(directory)
            saver.save_backbone(self, max_shard_size=max_shard_size)

    # === LoRA, as KerasHub has it ===

    def enable_lora(self, rank, target_layer_names=("query", "value")):
        """Freezes the model and trains low-rank additions to some layers.

        Args:
            rank: int. Rank of the additions.
            target_layer_names: sequence of strings. Names of the `Dense`
                layers that get one. Defaults to the queries and values of all
                attentions.
        """
        _backbone().enable_lora(self, rank, list(target_layer_names))

    def save_lora_weights(self, filepath):
        """Saves the low-rank additions alone, to a `.lora.h5` file."""
        _backbone().save_lora_weights(self, filepath)

    def load_lora_weights(self, filepath):
        """Loads what `save_lora_weights` saved."""
        _backbone().load_lora_weights(self, filepath)

    # === Configuration ===

    def get_config(self):
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }
        modes = {layer.quantization_mode for layer in self._flatten_layers()}
        for mode in modes - {None}:
            config["quantization_mode"] = mode
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        mode = config.pop("quantization_mode", None)
        model = super().from_config(config)
        if mode is not None:
            # With random weights; the file holds them as integers.
            model.quantize(mode)
        return model


def _backbone():
    import keras_hub

    return keras_hub.models.Backbone


def _preset_utils():
    """KerasHub's reading and writing of presets, imported when needed."""
    from keras_hub.src.utils import preset_utils

    return preset_utils


def local_directory(preset, cls):
    """A local directory with the files of a model, fetched if need be.

    In a `Muse` preset it is the first part that is of class `cls`.
    """
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


def _shape_changes(preset, kwargs):
    """Those of `kwargs` that differ from the preset in what shapes weights."""
    shaping = {"codebook_size", "low_res_codebook_size", "text_dim"}
    grids = {"grid_size", "low_res_grid_size"}
    if not (shaping | grids) & kwargs.keys():
        return {}
    config = _preset_utils().load_json(preset)["config"]
    return {
        name: value
        for name, value in kwargs.items()
        if (name in shaping and value != config.get(name))
        or (name in grids and tuple(value) != tuple(config.get(name, ())))
    }
