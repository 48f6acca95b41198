import multiprocessing
import signal

import pytest

from keras_muse.data.batch_stream import BatchStream


class Numbers(BatchStream):
    def batch(self, step):
        return step


@pytest.fixture
def handler():
    """What Ctrl-C does here; the end of the test brings it back."""
    handler = signal.getsignal(signal.SIGINT)
    yield handler
    signal.signal(signal.SIGINT, handler)


def test_control_c_ends_no_process_that_loads_data(handler, monkeypatch):
    """A pool would wait for it for ever."""
    stream = Numbers(steps_per_epoch=3)
    assert stream[1] == 1
    assert signal.getsignal(signal.SIGINT) is handler
    worker = multiprocessing.current_process()
    monkeypatch.setattr(worker, "_name", f"Keras_worker_{worker.name}")
    assert stream[2] == 2
    signal.raise_signal(signal.SIGINT)
