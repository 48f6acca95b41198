"""The command line: `keras-muse quickstart`, `generate` and others."""

import argparse
import contextlib
import os
import sys

from keras_muse.commands import convert
from keras_muse.commands import evaluate
from keras_muse.commands import generate
from keras_muse.commands import quickstart
from keras_muse.commands import tokenize
from keras_muse.runtime.compilation_cache import enable_compilation_cache
from keras_muse.runtime.quiet_imports import import_keras
from keras_muse.runtime.quiet_imports import without_tensorflow

COMMANDS = {
    "quickstart": quickstart,
    "generate": generate,
    "tokenize": tokenize,
    "evaluate": evaluate,
    "convert": convert,
}


def main(arguments=None):
    """Runs the command line.

    The backend is `KERAS_BACKEND` if set, else JAX.

    Args:
        arguments: list of strings. Defaults to those of the process.
    """
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = _parser().parse_args(arguments)
    enable_compilation_cache()
    needs_tensorflow = options.run is not generate.run
    scope = contextlib.nullcontext if needs_tensorflow else without_tensorflow
    try:
        with scope():
            import_keras()
            options.run(options)
    except (ValueError, OSError) as error:
        sys.exit(f"keras-muse: {' '.join(str(error).split())}")


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-muse",
        description="Text to image with masked transformers, in Keras.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        description = getattr(module, "DESCRIPTION", None)
        command = commands.add_parser(
            name, help=module.HELP, description=description
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
