"""`keras-muse demo`."""

import importlib.util
import signal

from keras_muse.commands.drawing import DEFAULT_PRESET

HELP = "draw and edit in the browser"
DESCRIPTION = (
    "Opens a page on this machine to draw and edit pictures with. Ctrl-C ends "
    "it; pictures that were not downloaded are lost."
)


def add_arguments(command):
    command.add_argument(
        "--preset",
        default=DEFAULT_PRESET,
        help="directory or handle of a Muse",
    )
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to serve at; at 0.0.0.0 all who can reach this machine "
        "may use it",
    )
    command.add_argument(
        "--port",
        type=int,
        metavar="N",
        help="port (default: the first that is free from 7860 on)",
    )
    command.add_argument(
        "--queue",
        type=int,
        default=64,
        metavar="N",
        help="clicks that may wait at once; more are refused",
    )


def check(options):
    """Refuses what would be found out after the model is loaded."""
    if importlib.util.find_spec("gradio") is None:
        raise ImportError(
            "`keras-muse demo` needs the package gradio, which is not "
            "installed: pip install 'keras-muse[demo]'"
        )
    if options.queue < 1:
        raise ValueError(
            f"`--queue` must be 1 or more. Received: --queue {options.queue}"
        )


def run(options):
    import threading

    from keras_muse.demo.server import free_port
    from keras_muse.demo.server import serving
    from keras_muse.muse.muse import Muse

    free_port(options.host, options.port)
    muse = Muse.from_preset(options.preset)
    with serving(
        muse, options.preset, options.host, options.port, options.queue
    ) as address:
        # Whoever ends it in another way leaves no files, either.
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            # `nohup` ignores it, and so do we then.
            if number and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        print(f"The page is at {address} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
