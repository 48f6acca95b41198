"""What the package says to the person at the screen."""

import logging

import keras


def say(message):
    """Prints a line, or logs it where Keras is told not to print."""
    if keras.config.is_interactive_logging_enabled():
        print(message)
    else:
        logging.getLogger("keras_muse").info(message)
