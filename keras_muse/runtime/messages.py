"""What the package says to the person at the screen."""

import logging
import sys

import keras


def log_without_a_screen():
    """Lets Keras log what it would print, where there is no output.

    Its progress bars fail in a process whose output was closed.
    """
    if sys.stdout is None:
        keras.config.disable_interactive_logging()


def say(message):
    """Prints a line, or logs it where Keras is told not to print."""
    if keras.config.is_interactive_logging_enabled():
        print(message)
    else:
        logging.getLogger("keras_muse").info(message)
