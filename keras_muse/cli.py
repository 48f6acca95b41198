"""The command line: `keras-muse generate`, `inpaint` and others."""

import argparse
import contextlib
import os
import signal
import sys

from keras_muse.commands import convert
from keras_muse.commands import demo
from keras_muse.commands import edit
from keras_muse.commands import evaluate
from keras_muse.commands import generate
from keras_muse.commands import inpaint
from keras_muse.commands import outpaint
from keras_muse.commands import quickstart
from keras_muse.commands import tokenize
from keras_muse.commands import train
from keras_muse.commands.drawing import unneeded_packages
from keras_muse.files.places import check_place
from keras_muse.runtime.compilation_cache import enable_compilation_cache
from keras_muse.runtime.huge_pages import restart_with_huge_pages
from keras_muse.runtime.quiet_imports import import_keras
from keras_muse.runtime.quiet_imports import without_tensorflow
from keras_muse.runtime.streams import open_closed_streams
from keras_muse.runtime.streams import outliving_streams
from keras_muse.version import __version__

COMMANDS = {
    "quickstart": quickstart,
    "train": train,
    "generate": generate,
    "inpaint": inpaint,
    "outpaint": outpaint,
    "edit": edit,
    "demo": demo,
    "tokenize": tokenize,
    "evaluate": evaluate,
    "convert": convert,
}
# They draw pictures, and need no TensorFlow.
DRAWING = (generate, inpaint, outpaint, edit, demo)
TRAINING = (quickstart, train)
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
            _run(_parsed(arguments))
    except KeyboardInterrupt:
        # Pressed again, it would find the backend in the middle of its end.
        with contextlib.suppress(ValueError):  # in another thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("keras-muse: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(f"keras-muse: {_in_one_line(error)}")


def _run(options):
    is_drawing = options.command in DRAWING
    if options.command in TRAINING:
        restart_with_huge_pages()
    # Before the work, which may take hours.
    if is_drawing:
        options.command.check(options)
    else:
        check_place(options.output, is_directory=True)
    enable_compilation_cache()
    with without_tensorflow() if is_drawing else contextlib.nullcontext():
        import_keras(unneeded_packages(options) if is_drawing else ())
        options.command.run(options)


def _in_one_line(error):
    message = " ".join(str(error).split())
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[:LONGEST_MESSAGE]}..."
    if isinstance(error, ValueError | OSError | ImportError) and message:
        return message
    return f"{type(error).__name__}: {message}"


def _parsed(arguments):
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        words = "unrecognized arguments"
        if hasattr(options, "prompts") and not any(
            word.startswith("-") for word in unknown
        ):
            # One too many of an option would else be drawn.
            words = "PROMPTs must stand together, apart from these"
        # The whole parser would show the usage of all commands.
        options.usage.error(f"{words}: {' '.join(unknown)}")
    return options


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-muse",
        description="Text to image with masked transformers, in Keras.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=getattr(module, "DESCRIPTION", None),
            formatter_class=_HelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(command=module, usage=command)
    return parser


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but none that is nothing or said in words."""

    def _get_help_string(self, action):
        is_nothing = action.default is None or action.default is False
        if is_nothing or "(default: " in action.help:
            return action.help
        return super()._get_help_string(action)
