import pytest

from keras_muse.recipes.options import Options


@pytest.mark.parametrize(
    "options, words",
    [
        ({"minutes": 0}, "minutes"),
        ({"lora_rank": 4}, "`lora_rank` fine-tunes.*preset=None"),
        ({"style": "ink"}, "`style` fine-tunes.*style='ink'"),
        ({"preset": "a", "image_size": 64}, "`image_size` is that of `preset`"),
        ({"preset": "a", "from_scratch": True}, "`from_scratch`"),
        ({"preset": "a", "style": " "}, "`style`.*Received: style=' '"),
        ({"preset": "a", "style": 5}, "`style`.*string"),
        ({"preset": "a", "lora_rank": 0}, "`lora_rank`.*lora_rank=0"),
        ({"tokenizer": "muse_base_tiny"}, "`tokenizer`.*vqgan_f4_tiny"),
        ({"base": "tiny"}, "`base`.*muse_base_tiny.*Received: base='tiny'"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_asked_for(options, words):
    with pytest.raises(ValueError, match=words):
        Options(**{"minutes": 1, **options})
