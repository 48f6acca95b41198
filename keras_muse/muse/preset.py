"""The preset of a `Muse`: a directory of presets, one per part."""

import datetime
import functools
import os

import h5py
import keras
import keras_hub

from keras_muse.files import hub
from keras_muse.files.damage import reading
from keras_muse.files.space import check_space
from keras_muse.files.space import hdf5_size
from keras_muse.files.whole import write_json
from keras_muse.files.whole import write_whole
from keras_muse.models.presets import published
from keras_muse.models.presets.architectures import BUNDLED
from keras_muse.models.presets.loading import MUSE_FILE
from keras_muse.models.presets.loading import MUSE_NAME
from keras_muse.models.presets.loading import fetch_part
from keras_muse.models.presets.loading import is_muse
from keras_muse.models.presets.loading import read_parts
from keras_muse.models.presets.weight_quantization import is_quantized
from keras_muse.models.text_encoders.clip_text_encoder import CLIPTextEncoder
from keras_muse.models.text_encoders.text_encoder import TextEncoder
from keras_muse.models.text_encoders.text_encoder import encoder_classes
from keras_muse.models.transformers.muse_base import MuseBase
from keras_muse.models.transformers.muse_super_res import MuseSuperRes
from keras_muse.models.transformers.uvit_base import UViTBase
from keras_muse.models.vqgan.vqgan_tokenizer import VQGANTokenizer
from keras_muse.muse import draw_options
from keras_muse.runtime.checks import check_path

FORMAT_VERSION = 1

# The parts of a Muse, each with the classes it can be of. Text encoders are
# subclasses.
PART_CLASSES = {
    "text_encoder": (TextEncoder,),
    "base": (MuseBase, UViTBase),
    "image_tokenizer": (VQGANTokenizer,),
    "super_res": (MuseSuperRes,),
    "high_res_image_tokenizer": (VQGANTokenizer,),
}
# Pipelines of `diffusers` that hold a whole Muse, all of the same three parts.
PIPELINES = ("AmusedPipeline", "AmusedImg2ImgPipeline", "AmusedInpaintPipeline")
PIPELINE_CLASSES = {
    "text_encoder": CLIPTextEncoder,
    "base": UViTBase,
    "image_tokenizer": VQGANTokenizer,
}


def save(parts, generation_defaults, preset_dir):
    """Writes the parts of a `Muse` and what names them.

    `muse.json` names the parts and their files. `config.json` and
    `metadata.json` stand at the root as in any KerasHub preset, so that
    `keras_hub.upload_preset` takes the directory.

    Args:
        parts: dict of models by the names of `PART_CLASSES`.
        generation_defaults: dict, those of a `Muse`.
        preset_dir: string. The directory; it appears whole or not at all.
    """
    preset_dir = check_path(preset_dir, "preset_dir")
    with write_whole(preset_dir) as directory:
        contents = {
            "format_version": FORMAT_VERSION,
            "parts": {},
            "generation_defaults": draw_options.to_json(generation_defaults),
        }
        for name, part in parts.items():
            entry = {"class_name": type(part).__name__}
            if name == "text_encoder" and _is_public(part):
                entry["preset"] = part.preset
                entry["sequence_length"] = part.sequence_length
                if options := _overrides(part):
                    entry["options"] = options
            else:
                part_directory = os.path.join(directory, name)
                part.save_to_preset(part_directory)
                entry["files"] = _files(part_directory)
            contents["parts"][name] = entry
        write_json(os.path.join(directory, MUSE_FILE), contents)
        # KerasHub's upload asks for weights at the root; each part has its
        # own, so these are none.
        weights_file = os.path.join(directory, hub.WEIGHTS_FILE)
        check_space(weights_file, hdf5_size([]))
        h5py.File(weights_file, "w").close()
        write_json(
            os.path.join(directory, hub.CONFIG_FILE),
            {
                "module": "keras_muse.muse.muse",
                "class_name": "Muse",
                "config": {"parts": contents["parts"]},
                "registered_name": MUSE_NAME,
            },
        )
        write_json(
            os.path.join(directory, hub.METADATA_FILE),
            {
                "keras_version": keras.version(),
                "keras_hub_version": keras_hub.version(),
                "parameter_count": sum(
                    part.count_params() for part in parts.values()
                ),
                "date_saved": datetime.datetime.now().isoformat(" ", "seconds"),
                "tasks": ["TextToImage"],
            },
        )


def load_parts(preset, dtype=None, names=tuple(PART_CLASSES)):
    """Loads the parts of a `Muse`.

    Args:
        preset: string. `"muse_emoji"`, or a directory or a handle, of a
            `Muse` or of an aMUSEd pipeline.
        dtype: string or `keras.DTypePolicy` of all parts, or `None` for the
            global policy.
        names: which parts, of those that there are. Defaults to all.

    Returns:
        A dict of models by the names of `PART_CLASSES`.
    """
    loaders = part_loaders(preset, dtype, names)
    return {name: load() for name, load in loaders.items()}


def _place(preset):
    """The directory or handle of a preset."""
    preset = check_path(preset, "preset")
    return BUNDLED.get(preset, preset)


def load_defaults(preset):
    """Generation defaults that a preset keeps, a dict; of others, none.

    Args:
        preset: string, as in `load_parts`.
    """
    preset = _place(preset)
    if published.is_pipeline(preset):
        return {}
    contents = read_parts(preset)
    with reading(os.path.join(preset, MUSE_FILE), "has wrong defaults"):
        return draw_options.check_defaults(
            draw_options.from_json(contents.get("generation_defaults", {}))
        )


def grid_sizes(preset):
    """Token grids of the transformers of a `Muse`, none of which is loaded.

    Args:
        preset: string, as in `load_parts`.

    Returns:
        A dict of `(height, width)` by the names of the parts; of those whose
        configuration is not there, none.
    """
    preset = _place(preset)
    configs = {
        name: hub.read_json(preset, f"{name}/{hub.CONFIG_FILE}")["config"]
        for name in ("base", "super_res")
        if hub.has_file(preset, f"{name}/{hub.CONFIG_FILE}")
    }
    return {
        name: tuple(config["grid_size"]) for name, config in configs.items()
    }


def part_loaders(preset, dtype=None, names=tuple(PART_CLASSES)):
    """What loads the parts of a `Muse`, one by one.

    Args:
        preset, dtype, names: as in `load_parts`.

    Returns:
        A dict of functions by the names of `PART_CLASSES`, each of which
        takes `load_weights=True` and returns a model.
    """
    preset = _place(preset)
    if "://" not in preset and not os.path.isdir(preset):
        raise ValueError(
            "`preset` must be 'muse_emoji', a directory or a handle such as "
            f"'hf://user/model'. Received: preset={preset!r}"
        )
    options = {} if dtype is None else {"dtype": dtype}
    if published.is_pipeline(preset):
        return _pipeline_loaders(preset, options, names)
    if not is_muse(preset):
        raise ValueError(
            f"`preset` is not one of a Muse: it has neither {MUSE_FILE} nor "
            f"{published.PIPELINE_FILE}, or another model was saved over it. "
            f"Received: preset={preset!r}{_with_inner(preset)}"
        )
    contents = read_parts(preset)
    if contents["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"`preset` must have the format version {FORMAT_VERSION}; a newer "
            "version of the package may read it. Received: preset="
            f"{preset!r}, format_version={contents['format_version']}"
        )
    loaders = {}
    for name, entry in contents["parts"].items():
        if name not in PART_CLASSES:
            raise ValueError(
                f"`preset` has an unknown part. Received: preset={preset!r}, "
                f"part={name!r}"
            )
        if name not in names:
            continue
        classes = {cls.__name__: cls for cls in PART_CLASSES[name]}
        if name == "text_encoder":
            classes = {cls.__name__: cls for cls in encoder_classes()}
        if entry["class_name"] not in classes:
            raise ValueError(
                f"The part {name!r} of `preset` must be a "
                f"{' or '.join(classes)}. Received: {entry['class_name']}"
            )
        cls = classes[entry["class_name"]]
        if "preset" in entry:
            loaders[name] = functools.partial(
                cls.from_preset,
                entry["preset"],
                sequence_length=entry["sequence_length"],
                **entry["options"],
                **options,
            )
        else:
            directory = fetch_part(preset, name, entry)
            loaders[name] = functools.partial(
                cls.from_preset, directory, **options
            )
    return loaders


def _with_inner(directory):
    """Words on the presets in a directory, such as what `train` leaves."""
    if not os.path.isdir(directory):
        return ""
    inner = [os.path.join(directory, x) for x in sorted(os.listdir(directory))]
    found = [repr(x) for x in inner if os.path.isdir(x) and is_muse(x)]
    return f", in which {', '.join(found)} is one" if found else ""


def check_whole(parts, preset):
    """Refuses a preset without a part that every `Muse` has."""
    if missing := [name for name in PIPELINE_CLASSES if name not in parts]:
        raise ValueError(
            f"`preset` must have each part of a Muse; missing: {missing}. "
            f"Received: preset={preset!r}, with {sorted(parts)}"
        )


def _pipeline_loaders(preset, options, names):
    """The loaders of a pipeline of `diffusers`."""
    index = hub.read_json(preset, published.PIPELINE_FILE)
    kind = index.get("_class_name")
    if kind not in PIPELINES:
        raise ValueError(
            f"`preset` must be a Muse or one of {PIPELINES}. Received: "
            f"preset={preset!r}, which is a {kind}"
        )
    return {
        name: functools.partial(cls.from_preset, preset, **options)
        for name, cls in PIPELINE_CLASSES.items()
        if name in names
    }


def _is_public(text_encoder):
    """Whether others can load this encoder by the same name."""
    preset = text_encoder.preset
    if preset is None or is_quantized(text_encoder):
        return False
    if text_encoder.trainable_variables:  # it may have been trained
        return False
    options = text_encoder.preset_options
    if not options.get("load_weights", True) or "vocabulary" in options:
        return False
    return preset in type(text_encoder).presets or "://" in preset


def _overrides(text_encoder):
    """What of the preset's configuration was said to be otherwise."""
    others = ("load_weights", "sequence_length", "dtype")
    # As the constructor took it: numbers of any library became plain ones.
    config = text_encoder.get_config()
    return {
        name: config[name]
        for name in text_encoder.preset_options
        if name not in others
    }


def _files(directory):
    return sorted(
        os.path.relpath(os.path.join(root, file), directory)
        for root, _, files in os.walk(directory)
        for file in files
    )
