"""What is measured, with which networks, on how many pictures."""

import dataclasses
from collections.abc import Callable

from keras_muse import metrics
from keras_muse.evaluation import judging_networks
from keras_muse.metrics import networks
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_int

REFERENCES = ("drawn", "all")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A way to measure. Numbers are comparable where all of it is equal.

    Args:
        feature_network: function that returns the network whose features
            are compared.
        feature_metrics: function that returns a list of new metrics of the
            features of real and generated pictures.
        pair_metrics: function that returns a list of new metrics of real
            and generated pictures of the same texts.
        text_metrics: function that returns a list of new metrics of generated
            pictures and their texts.
        image_size: int or `None`. At how many pixels a side the data are to
            be loaded; `None` leaves it to the user. Drawn pictures are brought
            to the size of the data. Defaults to `None`.
        num_prompts: int or `None`. How many rows of the data are drawn, spread
            evenly over it; `None` is all. Defaults to `None`.
        references: string. What features of drawn pictures are compared with:
            `"drawn"`, the true pictures of the rows that are drawn, or
            `"all"`, those of all rows of the data, of which the prompts are
            then drawn at random, without repetition and always the same.
            Defaults to `"drawn"`.
        second_network: function that returns another network, by which
            the same distances are taken again, under names that begin with
            `second_`. Defaults to `None`, no second opinion.

    Example:
    ```python
    import keras_muse

    protocol = keras_muse.evaluation.Protocol(
        feature_network=keras_muse.metrics.networks.EfficientNetLite0,
        feature_metrics=lambda: [keras_muse.metrics.FrechetDistance()],
        pair_metrics=list,  # none
        text_metrics=list,
        image_size=64,
    )
    ```
    """

    feature_network: Callable
    feature_metrics: Callable
    pair_metrics: Callable
    text_metrics: Callable
    image_size: int | None = None
    num_prompts: int | None = None
    references: str = "drawn"
    second_network: Callable | None = None

    def __post_init__(self):
        check_choice(self.references, "references", REFERENCES)
        for name in ("image_size", "num_prompts"):
            if getattr(self, name) is not None:
                check_int(getattr(self, name), name)


def _second_scorer():
    # Its eyes share nothing with EfficientNet-Lite0, nor with the AlexNet of
    # the tokenizers' loss.
    return judging_networks.scorer("emoji_second_scorer")


_EMOJI = Protocol(
    feature_network=networks.EfficientNetLite0,
    feature_metrics=lambda: [
        metrics.KernelDistance(),
        metrics.FrechetDistance(),
    ],
    pair_metrics=lambda: [metrics.PerceptualDistance()],
    text_metrics=lambda: [
        metrics.RPrecision(judging_networks.scorer("emoji_scorer")),
        metrics.RPrecision(_second_scorer(), name="second_r_precision"),
    ],
    second_network=lambda: _second_scorer().own_network,
)
# Of any pictures: what does not depend on what they show.
_PICTURES = dataclasses.replace(_EMOJI, text_metrics=list, second_network=None)
# The tables of the paper (section 3.2). It does not say how COCO's numbers were
# taken; those beside it are of Imagen's way (section 4.1 of that paper): "30K
# prompts are drawn randomly from the validation set, and the model samples
# generated on these prompts are compared with reference images from the full
# validation set", which has 40,504 pictures (val2014).
_COCO = Protocol(
    feature_network=judging_networks.fid_inception,
    feature_metrics=lambda: [metrics.FrechetDistance()],
    pair_metrics=list,  # a caption does not say how its picture is drawn
    text_metrics=lambda: [metrics.CLIPScore(judging_networks.clip_scorer())],
    image_size=256,
    num_prompts=30_000,
    references="all",
)
# Of CC3M the paper states no number either, and tables before it are of its
# whole validation set: 15,840 pairs when it was published (Sharma et al.,
# 2018), fewer where links have died since.
_CC3M = dataclasses.replace(_COCO, num_prompts=None)

# "emoji" and "pictures" need no network; the others do.
PROTOCOLS = {
    "emoji": _EMOJI,
    "pictures": _PICTURES,
    "coco": _COCO,
    "cc3m": _CC3M,
}


def with_second_scorer(protocol, scorer):
    """A protocol that also asks another scorer: `second_r_precision`.

    Args:
        protocol: a `Protocol`.
        scorer: as `RPrecision` takes it. If it looks with a network of its
            own, as `PictureTextScorer(image_network="own")` does, that is the
            second network, too, unless the protocol has one.

    Returns:
        A `Protocol`.
    """
    name = "second_r_precision"  # in the place of the protocol's own
    second_network = protocol.second_network
    own_network = getattr(scorer, "own_network", None)
    if second_network is None and own_network is not None:

        def second_network():
            return own_network

    return dataclasses.replace(
        protocol,
        second_network=second_network,
        text_metrics=lambda: [
            *(m for m in protocol.text_metrics() if m.name != name),
            metrics.RPrecision(scorer, name=name),
        ],
    )
