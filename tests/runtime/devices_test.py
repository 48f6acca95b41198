import keras

from keras_muse.runtime.devices import on_processor


def test_as_tensors_are_where_the_backend_puts_them():
    device = str(keras.ops.zeros(()).device).lower()
    assert on_processor() == ("cpu" in device)
