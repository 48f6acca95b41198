"""Which doors of the server are open."""

import asyncio

import pytest

from keras_muse.demo import guard


def ask(path, *headers, host="127.0.0.1", body=(b"",), scheme="http"):
    """The status of an answer, of a server behind that says yes to all."""
    sent, waiting = [], list(body)

    async def app(scope, receive, send):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                status = 499
                break
            if not message["more_body"]:
                status = 200
                break
        await send({"type": "http.response.start", "status": status})

    async def receive():
        part = waiting.pop(0)
        more = bool(waiting)
        return {"type": "http.request", "body": part, "more_body": more}

    async def send(message):
        sent.append(message.get("status"))

    scope = {
        "type": scheme,
        "path": path,
        "headers": [(b"host", b"127.0.0.1:7860"), *headers],
    }
    asyncio.run(guard.Guard(app, host)(scope, receive, send))
    return sent[0] if sent else None


API = "/gradio_api"


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/config", "/assets/a.js", "/theme.css", f"{API}/upload"),
        *(f"{API}/queue/join", f"{API}/file=/tmp/a b.png", "/favicon.ico"),
    ],
)
def test_the_page_goes_through(path):
    assert ask(path) == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/monitoring", "/monitoring/summary", "/docs", "/openapi.json"),
        *(f"{API}/proxy=http://a.org/", f"{API}/file=http://a.org/b.png"),
        *(f"{API}/file=HTTPS://a.org/", f"{API}/file=http%3A//a.org/"),
        *(f"{API}/file=/tmp/../etc/passwd", f"{API}/file=%2e%2e/passwd"),
        *(f"{API}/run/draw", f"{API}/call/draw", f"{API}/runs"),
        *(f"{API}/deep_link", "/file=/etc/passwd", "/file/etc/passwd"),
        *(f"{API}/vibe-edit/", f"{API}/process_recording", "/login"),
        *(f"{API}/queue/join/../../monitoring", "//", "/config\n"),
    ],
)
def test_all_other_doors_are_shut(path):
    assert ask(path) == 404


def test_on_loopback_no_page_of_elsewhere_asks():
    """A name of another that leads here is what a strange page would use."""
    for name in (b"evil.org", b"127.0.0.1.evil.org", b"evil.org:7860", b""):
        assert ask("/", (b"host", name)) == 403
    for name in (b"localhost", b"LOCALHOST:1", b"[::1]:7860"):
        assert ask("/", (b"host", name)) == 200
    # Whoever asks for it is to be reached by any name.
    assert ask("/", (b"host", b"studio.lan"), host="0.0.0.0") == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_no_page_of_another_site_asks(host):
    """A browser says whose page asks; a program says nothing."""

    def of(origin, *headers):
        asked = (b"origin", origin), *headers
        return ask(f"{API}/upload", *asked, host=host)

    for origin in (
        *(b"http://evil.example", b"null", b"", b"http://[", b"127.0.0.1:7860"),
        *(b"http://127.0.0.1", b"http://127.0.0.1:8000", b"file://"),
        *(b"http://127.0.0.1:7860.evil.example", b"http://127.0.0.1:7860@a.b"),
    ):
        assert of(origin) == 403
    for origin in (b"http://127.0.0.1:7860", b"https://127.0.0.1:7860"):
        assert of(origin) == 200
    # The other end of a tunnel, and a proxy that has a name of its own.
    tunnel = b"host", b"LocalHost:8000"
    assert of(b"http://localhost:8000", tunnel) == 200
    proxy = b"x-forwarded-host", b"muse.example"
    assert of(b"https://muse.example", proxy) == 200
    assert of(b"http://evil.example", proxy) == 403


def test_whoever_sends_too_much_is_not_listened_to():
    length = str(guard.MAX_BODY + 1).encode()
    upload = f"{API}/upload"
    assert ask(upload, (b"content-length", length)) == 413
    assert ask(upload, (b"content-length", b"many")) == 413
    # Without saying so.
    part = b"x" * 2**20
    assert ask(upload, body=[part] * (guard.MAX_BODY // 2**20)) == 200
    assert ask(upload, body=[part] * (guard.MAX_BODY // 2**20 + 1)) == 499


def test_there_are_no_other_protocols():
    assert ask("/", scheme="websocket") is None
