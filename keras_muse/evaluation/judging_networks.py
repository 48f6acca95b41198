"""The networks that judge, and what is said where one cannot be had."""

import contextlib
import functools

from keras_muse.metrics import networks
from keras_muse.scorers.picture_text_scorer import PictureTextScorer

# The paper does not say which CLIP; this is the usual one.
CLIP = "clip_vit_large_patch14"


def fid_inception(weights=None):
    """The Inception network of FID, from a file or fetched once."""
    hint = "--network takes it from a file"
    with _fetched("the Inception network of FID (96 MB)", hint):
        return networks.FIDInception(weights)


def clip_scorer():
    """CLIP, fetched once by KerasHub."""
    with _fetched(f"CLIP, {CLIP!r} (1.7 GB)", "KerasHub keeps it once it is"):
        return networks.CLIPScorer.from_preset(CLIP)


@functools.cache
def scorer(preset):
    """What tells pictures by their captions; each is loaded once."""
    return PictureTextScorer.from_preset(preset)


def vgg16(weights):
    """The last map of VGG16, of a file with torchvision's tensors."""
    return networks.PerceptualFeatures("vgg16", weights)


@contextlib.contextmanager
def _fetched(what, hint):
    """Names what could not be fetched: each library has its own errors."""
    try:
        yield
    except (ValueError, ImportError):  # of a file, or PyTorch to read it
        raise
    except Exception as error:
        raise OSError(
            f"{what} could not be fetched, and nothing is drawn without it "
            f"({hint}). Received: {type(error).__name__}: {error}"
        ) from error
