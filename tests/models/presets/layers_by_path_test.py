import keras

from keras_muse.models.presets.layers_by_path import layers_by_path
from tests.helpers import tiny


def test_inner_layers_are_found_by_their_places():
    model = tiny.tiny_base(random_weights=False)
    layers = layers_by_path(model)
    first = model.transformer_layers[0].self_attention.query
    assert layers[first.path.split("/", 1)[1]] is first
    # The name of the model, a counter, is left out.
    assert not any(path.startswith(model.name) for path in layers)
    weights = {id(w) for x in layers.values() for w in x.weights}
    assert weights >= {id(w) for w in model.trainable_weights if "/" in w.path}


def test_what_was_never_built_has_no_place():
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.used, self.unused = (keras.layers.Dense(1) for _ in range(2))

        def build(self, shape):
            self.used.build(shape)

        def call(self, x):
            return self.used(x)

    model = Two()
    model.build((None, 2))
    assert list(layers_by_path(model).values()) == [model.used]
