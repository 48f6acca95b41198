"""Who may ask the page for what.

The server of gradio has many more doors than the page uses, some of which
fetch addresses from anywhere or run other programs. Here only those are open
that the page goes through.

Reference:
    - [ASGI](https://asgi.readthedocs.io/en/latest/specs/www.html)
"""

import re
import urllib.parse

from keras_muse.demo import limits

# Beside a file, a request has little else.
MAX_BODY = limits.MAX_BYTES + 2**20
API = "/gradio_api"
OPEN = re.compile(
    "/(favicon.ico|manifest.json|robots.txt|theme.css|config/?)?"
    "|/(assets|static|svelte)/.*"
    f"|{API}/(queue/join|queue/data|cancel|upload|upload_progress|info"
    "|component_server/?|startup-events|app_id|theme.css|reset/?|login_check/?)"
    f"|{API}/heartbeat/[^/]*"
    f"|{API}/file=.*",
    re.DOTALL,
)
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Guard:
    """Refuses what no page of ours asks for; an ASGI middleware.

    Args:
        app: the ASGI application behind.
        host: string, where the page is to be had. On loopback, a name of
            another machine is refused: a page of elsewhere would use it.
    """

    def __init__(self, app, host):
        self._app = app
        self._is_local = host in ("127.0.0.1", "localhost", "::1")

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if not is_open(scope["path"]):
            await _refuse(send, 404, "There is nothing here.")
        elif self._is_local and not _is_loopback(headers.get(b"host", b"")):
            await _refuse(send, 403, "The page is for this machine only.")
        elif not _is_own_page(headers):
            await _refuse(send, 403, "The page is not for other sites.")
        elif _length(headers) > MAX_BODY:
            await _refuse(send, 413, f"More than {MAX_BODY} bytes.")
        else:
            await self._app(scope, _counted(receive), send)


def is_open(path):
    """Whether the page itself asks for a path, decoded as it is served."""
    if not OPEN.fullmatch(path):
        return False
    # An address is a place of elsewhere, however it is written.
    place = urllib.parse.unquote(path)
    is_elsewhere = "://" in place or ".." in place
    return not (path.startswith(f"{API}/file=") and is_elsewhere)


def _is_loopback(host):
    name = host.decode("latin-1").lower()
    return re.sub(r":\d*$", "", name) in LOOPBACK


def _is_own_page(headers):
    """Whether no page asks, which is to say a program, or ours does.

    A page of elsewhere reaches whatever its reader's browser does. The name
    that a proxy has it cannot forge: a browser lets it add no header here.
    """
    if b"origin" not in headers:
        return True
    site = headers[b"origin"].lower().partition(b"://")[2]
    names = headers.get(b"host", b""), headers.get(b"x-forwarded-host", b"")
    return site != b"" and site in [name.lower() for name in names]


def _length(headers):
    try:
        return int(headers.get(b"content-length", b"0"))
    except ValueError:
        return MAX_BODY + 1


def _counted(receive):
    """Receives as before, and hangs up on whoever sends without an end."""
    received = 0

    async def receive_counted():
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY:
            return {"type": "http.disconnect"}
        return message

    return receive_counted


async def _refuse(send, status, reason):
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send(
        {"type": "http.response.start", "status": status, "headers": headers}
    )
    await send({"type": "http.response.body", "body": reason.encode()})
