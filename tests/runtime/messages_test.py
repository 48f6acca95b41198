import logging

import keras
import pytest

from keras_muse.runtime.messages import say


@pytest.fixture(params=[True, False])
def prints(request):
    was = keras.config.is_interactive_logging_enabled()
    choose = {
        True: keras.config.enable_interactive_logging,
        False: keras.config.disable_interactive_logging,
    }
    choose[request.param]()
    yield request.param
    choose[was]()


def test_a_line_is_printed_or_logged(prints, capsys, caplog):
    with caplog.at_level(logging.INFO, logger="keras_muse"):
        say("seed=7")
    assert capsys.readouterr().out == ("seed=7\n" if prints else "")
    assert caplog.messages == ([] if prints else ["seed=7"])
