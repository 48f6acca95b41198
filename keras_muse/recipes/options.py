"""What a training was asked for."""

import dataclasses
import hashlib
import os
import pathlib

from keras_muse.data.token_shards.views import check_flip
from keras_muse.recipes import sizes
from keras_muse.recipes.drawings import NUM_SCORED
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import check_path
from keras_muse.runtime.checks import check_texts
from keras_muse.samplers.seeds import NUM_SEEDS

BUNDLED = "muse_emoji"
WEIGHTS = (".h5", ".safetensors")  # what files of weights end in


@dataclasses.dataclass(frozen=True)
class Options:
    """Checked arguments of `train`, where they are described."""

    minutes: float
    image_size: int | None = None
    base_image_size: int | None = None
    tokenizer: str | None = None
    base: str | None = None
    super_res: str | None = None
    preset: str | None = None
    lora_rank: int | None = None
    style: str | None = None
    from_scratch: bool = False
    num_views: int | None = None
    random_flip: bool = False
    seed: int = 0

    def __post_init__(self):
        checked = {
            "minutes": check_number(self.minutes, "minutes", 0, open_at="low"),
            # Each picture that is drawn has a seed of its own.
            "seed": check_int(self.seed, "seed", 0, NUM_SEEDS - NUM_SCORED),
        }
        for name in ("from_scratch", "random_flip"):
            checked[name] = check_bool(getattr(self, name), name)
        for name in ("image_size", "base_image_size", "lora_rank", "num_views"):
            if getattr(self, name) is not None:
                checked[name] = check_int(getattr(self, name), name)
        if self.preset is not None:
            checked["preset"] = check_path(self.preset, "preset")
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        sizes.check_name(self.tokenizer, "tokenizer", "VQGANTokenizer")
        sizes.check_name(self.base, "base", "MuseBase")
        sizes.check_name(self.super_res, "super_res", "MuseSuperRes")
        check_flip(self.random_flip, self.num_views)
        self._check_style()
        self._check_preset()

    def _check_style(self):
        if self.style is None:
            return
        (style,) = check_texts([self.style], "style")
        # Captions end in the word already.
        name = style.strip().removesuffix(" style").strip()
        if not name or not name.isprintable():
            raise ValueError(
                "`style` must be a name, in one line and not empty. Received: "
                f"style={style!r}"
            )
        object.__setattr__(self, "style", name)

    def _check_preset(self):
        fixed = ("image_size", "base_image_size", "tokenizer", "base")
        fixed += ("super_res", "from_scratch")
        if self.preset is None:
            for name in ("lora_rank", "style"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"`{name}` fine-tunes a model that can draw: name it "
                        "by `preset`, such as 'muse_emoji'. Received: "
                        f"{name}={getattr(self, name)!r}, preset=None"
                    )
            return
        if given := [name for name in fixed if getattr(self, name)]:
            raise ValueError(
                f"`{given[0]}` is that of `preset`, which is fine-tuned as it "
                f"is: leave one of them away. Received: preset={self.preset!r}"
                f", {given[0]}={getattr(self, given[0])!r}"
            )

    def check_output(self, output):
        """Refuses to write into the preset that is fine-tuned.

        Each start would find other weights in it, and nothing that goes on.
        """
        if self.preset is None or not os.path.isdir(self.preset):
            return
        if os.path.realpath(output) == os.path.realpath(self.preset):
            raise ValueError(
                "`output` must be another directory than that of `preset`. "
                f"Received: output={output!r}, preset={self.preset!r}"
            )

    @property
    def seconds(self):
        """float. All the time there is."""
        return 60 * self.minutes

    @property
    def source(self):
        """string. The preset that parts are taken from, if any are."""
        return self.preset or BUNDLED

    def identity(self, collection):
        """What makes this training another one than others, a dict."""
        about = dataclasses.asdict(self)
        del about["minutes"]  # more of them are welcome
        if self.preset is not None and os.path.isdir(self.preset):
            about["preset"] = os.path.realpath(self.preset)
            about["preset_weights"] = _digest_of_weights(self.preset)
        return {**about, "pictures": collection.fingerprint()}


def _digest_of_weights(preset):
    """A hash of all weights of a directory: another model may be put there."""
    digest, preset = hashlib.sha256(), pathlib.Path(preset)
    # Its own and those of its parts: deeper, a training may be at work.
    for path in sorted([*preset.glob("*model*"), *preset.glob("*/*model*")]):
        if path.suffix in WEIGHTS and path.is_file():
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            name = path.relative_to(preset).as_posix()
            digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()
