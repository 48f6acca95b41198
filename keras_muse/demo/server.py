"""The page, served: on which address, with what in memory, and until when."""

import contextlib
import errno
import functools
import os
import socket
import tempfile

from keras_muse.demo import limits
from keras_muse.demo.drawing import Artist
from keras_muse.demo.tidy import sweeping

# gradio would send home what it is used for, and look for newer versions; and
# whatever it is told elsewhere to share, this page does not.
ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ALLOWED_PATHS": "",
    "GRADIO_BLOCKED_PATHS": "",
    "GRADIO_ROOT_PATH": "",
    "GRADIO_DEBUG": "0",
}
FIRST_PORT = 7860
NUM_PORTS = 100
MAX_PORT = 2**16 - 1


@contextlib.contextmanager
def serving(muse, preset, host="127.0.0.1", port=None, queue=limits.QUEUE):
    """Serves the page of a model for as long as the scope lasts.

    Args:
        muse: a `keras_muse.Muse`.
        preset: string, what it was loaded from.
        host: string. Where it is to be had; others than this machine's own
            can reach `"0.0.0.0"`.
        port: int or `None`, for the first that is free from 7860 on.
        queue: int. How many clicks may wait at once; more are refused.

    Yields:
        string. The address.

    Raises:
        ValueError: if the port is taken.
    """
    artist = Artist(muse, preset)
    artist.prepare()
    try:
        with tempfile.TemporaryDirectory(prefix="keras_muse_demo_") as folder:
            with _environment(folder), sweeping(folder):
                blocks = _launched(artist, folder, host, port, queue)
                try:
                    # Listened on everywhere, it is to be had here, too.
                    yield blocks.local_url.replace("//[::]:", "//[::1]:")
                finally:
                    blocks.close(verbose=False)
    finally:
        artist.close()


def _launched(artist, folder, host, port, queue):
    """A server that runs in a thread of its own."""
    from starlette.middleware import Middleware

    from keras_muse.demo import look
    from keras_muse.demo.guard import Guard
    from keras_muse.demo.page import build

    blocks = build(artist, folder)
    blocks.queue(max_size=queue, api_open=False)
    launch = functools.partial(
        blocks.launch,
        # As an address of the web has it, which gradio makes of it.
        server_name=f"[{host}]" if ":" in host else host,
        prevent_thread_lock=True,
        inbrowser=False,
        share=False,
        quiet=True,
        theme=look.theme(),
        css=look.CSS,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        state_session_capacity=limits.MAX_SESSIONS,
        max_file_size=limits.MAX_BYTES,
        allowed_paths=[],
        app_kwargs={"middleware": [Middleware(Guard, host=host)]},
    )
    try:
        launch(server_port=free_port(host, port))
    except OSError:
        if port is not None:
            raise
        # Another program that started together with this one was faster.
        launch(server_port=free_port(host))
    return blocks


def free_port(host, port=None):
    """A port that nobody listens on.

    Args:
        host: string.
        port: int or `None`, for the first that is free.

    Returns:
        int.

    Raises:
        ValueError: if there is none, or it is taken.
    """
    if port is not None:
        if not 1 <= port <= MAX_PORT:
            raise ValueError(
                f"`--port` must be from 1 to {MAX_PORT}. Received: --port "
                f"{port}"
            )
        if error := _refusal(host, port):
            raise ValueError(
                f"The port {port} of {host} cannot be had: {error.strerror}. "
                "Choose another by `--port`, or leave that out for one that is "
                f"free. Received: --port {port}"
            )
        return port
    for port in range(FIRST_PORT, FIRST_PORT + NUM_PORTS):
        if not (error := _refusal(host, port)):
            return port
        if error.errno != errno.EADDRINUSE:
            break  # so it is with all of them
    raise ValueError(
        f"No port of {host} can be had, tried from {FIRST_PORT} on: "
        f"{error.strerror}. Choose another by `--host` and `--port`. Received: "
        f"--host {host}"
    )


def _refusal(host, port):
    """The error of a server that would listen here, or `None`."""
    # Where gradio tries a port, whatever the host is.
    return _error_of(host, port) or _error_of("127.0.0.1", port)


def _error_of(host, port):
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            if os.name == "posix":  # as servers do: it may just have ended
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except OSError as error:
        return error
    return None


@contextlib.contextmanager
def _environment(folder):
    """What gradio reads whenever it serves a file."""
    new = {
        **ENVIRONMENT,
        "GRADIO_TEMP_DIR": folder,
        "GRADIO_EXAMPLES_CACHE": os.path.join(folder, "examples"),
    }
    before = {name: os.environ.get(name) for name in new}
    os.environ.update(new)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
