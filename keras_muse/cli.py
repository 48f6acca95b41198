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
from keras_muse.commands import train
from keras_muse.files.places import check_place
from keras_muse.runtime.compilation_cache import enable_compilation_cache
from keras_muse.runtime.quiet_imports import import_keras
from keras_muse.runtime.quiet_imports import without_tensorflow
from keras_muse.runtime.streams import open_closed_streams
from keras_muse.runtime.streams import outliving_streams

COMMANDS = {
    "quickstart": quickstart,
    "train": train,
    "generate": generate,
    "tokenize": tokenize,
    "evaluate": evaluate,
    "convert": convert,
}
INTERRUPTED = 130  # as a shell says it of a program that Ctrl-C ended

LONGEST_MESSAGE = 1000


def main(arguments=None):
    """Runs the command line.

    The backend is `KERAS_BACKEND` if set, else JAX. Whatever goes wrong is
    said in one line; `python -X dev` shows where.

    Args:
        arguments: list of strings. Defaults to those of the process.
    """
    open_closed_streams()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with outliving_streams():
            _run(_parser().parse_args(arguments))
    except KeyboardInterrupt:
        print("keras-muse: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(f"keras-muse: {_in_one_line(error)}")


def _run(options):
    # Before the work, which may take hours.
    check_place(options.output, is_directory=options.run is not generate.run)
    enable_compilation_cache()
    needs_tensorflow = options.run is not generate.run
    scope = contextlib.nullcontext if needs_tensorflow else without_tensorflow
    with scope():
        import_keras()
        options.run(options)


def _in_one_line(error):
    message = " ".join(str(error).split())
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[:LONGEST_MESSAGE]}..."
    if isinstance(error, ValueError | OSError | ImportError) and message:
        return message
    return f"{type(error).__name__}: {message}"


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
