"""The page over HTTP, as a browser and as somebody worse talks to it."""

import concurrent.futures
import contextlib
import gc
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from keras_muse import samplers
from keras_muse.demo import limits
from keras_muse.muse.muse import Muse
from tests.helpers.tiny_muse import shared_muse

pytest.importorskip("gradio")

import gradio  # noqa: E402

from keras_muse.demo import handlers  # noqa: E402
from keras_muse.demo import server  # noqa: E402
from tests.helpers.demo_page import PageError  # noqa: E402
from tests.helpers.demo_page import Visitor  # noqa: E402

SETTINGS = (2, 3.0, "confidence", 1.0)  # steps and others, as the page shows
NEVER = "gradio_api/file="


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """One page for all tests; nothing is left where it was started."""
    place = tmp_path_factory.mktemp("working")
    before = os.getcwd()
    os.chdir(place)
    try:
        with server.serving(shared_muse(cascade=False), "tiny") as address:
            yield address
    finally:
        os.chdir(before)
    assert not os.listdir(place)


@pytest.fixture
def visitor(address):
    return Visitor(address)


def draw(visitor, prompt="a cat", seed=7, count=1, settings=SETTINGS):
    return visitor.call("draw", prompt, "", count, seed, False, *settings)


def pixels(visitor, file):
    return np.asarray(Image.open(io.BytesIO(visitor.fetch(file))))


def expected(seeds, prompt="a cat"):
    return shared_muse(cascade=False).generate(
        [prompt] * len(seeds),
        seed=list(seeds),
        num_steps=2,
        guidance_scale=3.0,
        sampler=samplers.get("confidence"),
        batch_size=1,
        verbose=0,
    )


# === What it is for ===


def test_pictures_come_with_their_seeds(visitor):
    *_, (image, words, gallery, seed, _) = draw(visitor, count=2)
    found = [pixels(visitor, one["image"]) for one in gallery]
    np.testing.assert_array_equal(found, expected([8, 7]))
    np.testing.assert_array_equal(pixels(visitor, image), found[0])
    assert seed == 7 and words.startswith("Seed 8 ")
    assert image["orig_name"] == "muse_8.png"


@pytest.mark.filterwarnings("ignore:.* were cut")
def test_what_of_a_prompt_is_not_read_is_said(visitor):
    """The page takes longer prompts than any model reads."""
    *_, (_, words, *_) = draw(visitor, "a cat " * 20)
    assert words.endswith(" s · The prompt is too long: its end is not read.")
    call = ("draw", "a cat", "a red apple " * 20, 1, 7, False, *SETTINGS)
    *_, (_, words, *_) = visitor.call(*call)
    assert words.endswith(
        "The negative prompt is too long: its end is not read."
    )
    *_, (_, words, *_) = draw(visitor)
    assert words.endswith(" s")


def test_a_new_seed_is_drawn_and_shown(visitor):
    outputs = [
        visitor.call("draw", "a cat", "", 1, 7, True, *SETTINGS)[-1]
        for _ in range(2)
    ]
    (first, second) = (seed for *_, seed, _ in outputs)
    assert first != second
    np.testing.assert_array_equal(
        pixels(visitor, outputs[1][0]), expected([second])[0]
    )


def test_fifty_at_once_each_get_their_own(address):
    visitors = [Visitor(address) for _ in range(50)]
    for seed, visitor in enumerate(visitors):
        visitor.join("draw", "a cat", "", 1, seed, False, *SETTINGS)
    with concurrent.futures.ThreadPoolExecutor(50) as threads:
        last = threads.map(lambda x: list(x.outputs())[-1], visitors)
        outputs = list(last)
    found = [pixels(visitors[0], image) for image, *_ in outputs]
    np.testing.assert_array_equal(found, expected(range(50)))
    # Nobody sees what others have drawn.
    assert all(len(gallery) == 1 for _, _, gallery, _, _ in outputs)


def test_a_click_on_the_gallery_restores_picture_and_settings(visitor):
    settings = (3, 2.5, "halton", 0.8)
    draw(visitor, "a red apple", settings=settings)
    draw(visitor)
    event = {"index": 1, "value": None}
    (restored,) = visitor.call("recall", event)
    image, _, _, prompt, negative, seed, is_new, *shown = restored
    assert (prompt, negative, seed, is_new) == ("a red apple", "", 7, False)
    assert tuple(shown[:4]) == settings
    *_, (again, *_) = draw(visitor, prompt, seed, settings=shown[:4])
    np.testing.assert_array_equal(
        pixels(visitor, again), pixels(visitor, image)
    )


def test_a_downloaded_picture_restores_them_in_another_session(
    address, visitor
):
    settings = (3, 2.5, "halton", 0.8)
    *_, (image, *_) = draw(visitor, "a red apple", settings=settings)
    content = visitor.fetch(image)
    other = Visitor(address)
    (restored,) = other.call("take", other.upload("apple.png", content))
    assert restored[3:7] == ["a red apple", "", 7, False]
    assert tuple(restored[7:11]) == settings
    *_, (again, *_) = draw(other, "a red apple", settings=settings)
    assert other.fetch(again) == content


def taken(visitor, **changes):
    """What the page says and shows of a picture that remembers this."""
    made = {
        **{"task": "generate", "prompt": "a cat", "seed": 7, "num_steps": 2},
        **{"guidance_scale": 3.0, "sampler": {"sampler": "confidence"}},
        **{"preset": "tiny", "version": "0", **changes},
    }
    texts = PngInfo()
    texts.add_text("keras_muse", json.dumps(made))
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG", pnginfo=texts)
    upload = visitor.upload("a.png", file.getvalue())
    ((_, words, _, *restored),) = visitor.call("take", upload)
    return words, restored


def take_plain(visitor):
    """Brings a picture that remembers nothing."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG")
    return visitor.call("take", visitor.upload("b.png", file.getvalue()))


def test_what_is_beyond_the_page_is_brought_within_and_said(visitor):
    hot = {"sampler": "confidence", "temperature": 2.5}
    words, restored = taken(
        visitor, num_steps=100, guidance_scale=12, sampler=hot
    )
    assert words == (
        "Seed 7: its settings are restored, but for num steps, guidance scale, "
        "temperature."
    )
    shown = restored[4:8]
    assert shown == [64, 10, "confidence", 2]
    assert draw(visitor, settings=(2, *shown[1:]))
    resampling = {"sampler": "resampling"}
    edited = {"task": "edit", "sampler": resampling, "guidance_scale": 12}
    words, restored = taken(visitor, num_steps=300, **edited)
    assert restored[8:10] == [200, 10]
    assert "but for num steps, guidance scale" in words


def test_what_is_not_restored_is_said(visitor):
    words, _ = taken(visitor, task="outpaint", padding=[8, 0, 0, 8])
    assert "restored, but for padding. It was drawn on another" in words
    own = {"sampler": "resampling", "mask_ratio": 0.5, "top_k": 9}
    words, _ = taken(visitor, task="edit", sampler=own)
    assert "restored, but for top k, mask ratio. It" in words
    words, restored = taken(visitor, sampler=own)
    assert words == "Seed 7: its words are restored, no settings."
    assert restored[0] == "a cat"


def test_settings_that_are_not_seen_are_said_and_end_with_the_picture(visitor):
    own = {"sampler": "confidence", "top_k": 1}
    words, restored = taken(visitor, sampler=own)
    assert words == (
        "Seed 7: its settings are restored. With what the page does not show: "
        "top k."
    )
    *_, (image, *_) = draw(visitor, settings=restored[4:8])
    plain = expected([7])[0]
    assert (pixels(visitor, image) != plain).any()
    for take_next in (
        lambda: take_plain(visitor),
        lambda: taken(visitor, task="edit", sampler={"sampler": "resampling"}),
        # One that the page lacks.
        lambda: taken(visitor, sampler={"sampler": "resampling"}),
    ):
        taken(visitor, sampler=own)
        take_next()
        *_, (image, *_) = draw(visitor, settings=restored[4:8])
        np.testing.assert_array_equal(pixels(visitor, image), plain)


def paint():
    """What is painted over a picture: the mask, and as a PNG."""
    mask = np.zeros((16, 16), "bool")
    mask[2:7, 3:8] = True
    layer = np.zeros((16, 16, 4), "uint8")
    layer[mask] = 255
    encoded = io.BytesIO()
    Image.fromarray(layer).save(encoded, "PNG")
    return mask, encoded.getvalue()


def editor_of(*layers, background=None):
    return {"background": background, "layers": layers, "composite": None}


def send_stroke(visitor, name, content, index=0, kind="layer"):
    """Sends a part of what the editor shows, as a browser does at a stroke."""
    (editor,) = [
        one["id"]
        for one in visitor.config["components"]
        if one["type"] == "imageeditor"
    ]
    return visitor.http.post(
        "/gradio_api/component_server",
        data={
            **{"id": name, "type": kind, "index": str(index)},
            **{"component_id": str(editor), "fn_name": "accept_blobs"},
            "session_hash": visitor.session,
        },
        files={"file": ("blob", content)},
    )


def test_painted_parts_are_drawn_anew_and_no_others(visitor):
    *_, (image, *_) = draw(visitor)
    before = pixels(visitor, image)
    mask, layer = paint()
    editor = editor_of(visitor.upload("layer.png", layer))
    assert visitor.call("show_cells", editor)[0][0] is not None
    *_, (image, _, gallery, *_) = visitor.call(
        "repaint", "a red apple", "", editor, True, 5, False, *SETTINGS
    )
    after = pixels(visitor, image)
    np.testing.assert_array_equal(after[~mask], before[~mask])
    assert (after[mask] != before[mask]).any() and len(gallery) == 2


def test_a_picture_is_extended_and_changed(visitor):
    *_, (image, *_) = draw(visitor)
    before = pixels(visitor, image)
    assert visitor.call("show_canvas", 8, 0, 0, 16)[0][0] is not None
    *_, (image, *_) = visitor.call(
        *("extend", "a cat", "", 8, 0, 0, 16, False, 5, False),
        *SETTINGS,
    )
    after = pixels(visitor, image)
    assert after.shape == (24, 32, 3)
    np.testing.assert_array_equal(after[8:, :16], before)
    change = "change", "a red apple", "", 2, 5, 5, False
    *_, (image, words, *_) = visitor.call(*change)
    assert pixels(visitor, image).shape == (16, 16, 3)
    assert words.endswith(
        " · The picture was scaled and cut to 16 × 16 pixels first."
    )
    *_, (_, words, *_) = visitor.call(*change)
    assert words.endswith(" s")


# === What is said ===


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((" ", "", 1, 7, False, *SETTINGS), "the prompt is empty"),
        (("a" * 501, "", 1, 7, False, *SETTINGS), "at most 500 characters"),
        (("a", "b" * 501, 1, 7, False, *SETTINGS), "`negative prompt`"),
        (("a", "", 1, -1, False, *SETTINGS), "`seed` must be"),
        (("a", "", 1, 7, False, 2, 1e9, "confidence", 1.0), "maximum"),
        (("a", "", 1, 7, False, 2, 3.0, "confidence", 0.0), "minimum"),
        (("a", "", 9, 7, False, *SETTINGS), "maximum value 8"),
        (
            ("a", "", 1, 7, False, 2, 3.0, "nothing", 1.0),
            "list of choices",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said_and_the_page_goes_on(
    visitor, arguments, words
):
    with pytest.raises(PageError, match=words) as caught:
        visitor.call("draw", *arguments)
    assert "Traceback" not in str(caught.value)
    assert len(draw(visitor)[-1][2]) == 1


@pytest.mark.parametrize(
    "call, words",
    [
        (("repaint", "a", "", None, True, 5, False, *SETTINGS), "first"),
        (("extend", "a", "", *(8,) * 4, True, 5, False, *SETTINGS), "first"),
        (("change", "a", "", 2, 5, 5, False), "Draw a picture first"),
    ],
)
def test_without_a_picture_there_is_nothing_to_edit(visitor, call, words):
    with pytest.raises(PageError, match=words):
        visitor.call(*call)


def test_what_is_no_picture_is_said(visitor):
    with pytest.raises(PageError, match="no picture of a known format"):
        visitor.call("take", visitor.upload("a.png", b"nothing"))


def test_words_of_an_error_are_no_html():
    @handlers.said
    def fails():
        raise ValueError("<b>bold</b>")

    with pytest.raises(gradio.Error) as raised:
        fails()
    assert raised.value.message == "&lt;b&gt;bold&lt;/b&gt;"


def test_a_full_queue_refuses_and_loses_nothing(monkeypatch):
    draw, all_have_asked = Muse.generate, threading.Event()

    def draw_late(*args, **kwargs):
        all_have_asked.wait(120)
        return draw(*args, **kwargs)

    monkeypatch.setattr(Muse, "generate", draw_late)
    with server.serving(shared_muse(cascade=False), "tiny", queue=2) as address:
        visitors = [Visitor(address) for _ in range(8)]
        waiting = []
        for visitor in visitors:
            try:
                visitor.join("draw", "a cat", "", 2, 1, False, *SETTINGS)
                waiting.append(visitor)
            except Exception as error:
                assert "503" in str(error)
        all_have_asked.set()
        # Two wait, and one has had its turn by then, or not.
        assert 2 <= len(waiting) <= 3
        for visitor in waiting:
            assert len(list(visitor.outputs())[-1][2]) == 2


@pytest.mark.skipif(
    server._error_of("::1", 0) is not None, reason="there is no IPv6 here"
)
@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_address_may_be_of_ipv6(host):
    muse = shared_muse(cascade=False)
    with server.serving(muse, "tiny", host) as address:
        assert address.startswith("http://[::1]:")
        assert len(draw(Visitor(address))[-1][2]) == 1
        # Only what is this machine's own is asked for under another name.
        answer = Visitor(address).http.get("/", headers={"host": "a.b"})
        assert answer.status_code == (403 if host == "::1" else 200)


# === What is not given away ===


@pytest.mark.parametrize(
    "path",
    [
        *("/file=/etc/passwd", f"/{NEVER}/etc/passwd"),
        *(f"/{NEVER}../../etc/passwd", f"/{NEVER}%2e%2e/%2e%2e/etc/passwd"),
        *(f"/{NEVER}{pathlib.Path(__file__)}", f"/{NEVER}~/.bashrc"),
        *(f"/{NEVER}setup.py", f"/{NEVER}.gradio/cached_examples/a.png"),
        *(f"/{NEVER}file:///etc/passwd", f"/{NEVER}/proc/self/environ"),
        *("/static/../../../etc/passwd", "/static/%2e%2e/%2e%2e/routes.py"),
        *("/assets/..%2f..%2f..%2froutes.py", "/svelte/../../routes.py"),
        *(f"/{NEVER}http://127.0.0.1:1/", "/gradio_api/proxy=http://a.b/"),
        *("/monitoring", "/gradio_api/runs", "/docs", "/gradio_api/info/../x"),
    ],
)
def test_no_file_of_the_machine_is_readable(visitor, path):
    # As it stands: a client would tidy up dots.
    target = path.encode()
    with socket.create_connection(visitor.address[7:].split(":")) as line:
        host = visitor.address[7:].encode()
        line.sendall(
            b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n"
            b"Connection: close\r\n\r\n"
        )
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.split()[1] in (b"403", b"404"), answer[:200]
    assert b"root:" not in answer and b"import " not in answer


@pytest.mark.parametrize(
    "path, words",
    [
        # Where it was not found is kept from whoever asks.
        ("/etc/passwd", "^None$"),
        (__file__, "^None$"),
        ("http://127.0.0.1:1/a.png", "not as an address"),
        ("https://example.org/a.png", "not as an address"),
    ],
)
def test_no_file_or_address_is_taken_for_an_upload(visitor, path, words):
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    take_plain(visitor)  # gradio makes parts of the page anew for this
    for call in (
        ("take", file),
        ("show_cells", editor_of(file)),
        # Nor by a part of the page that takes no files at all.
        ("draw", file, "", 1, 7, False, *SETTINGS),
    ):
        with pytest.raises(PageError, match=words):
            visitor.call(*call)


def test_a_huge_upload_is_refused(visitor, address):
    answer = visitor.http.post(
        "/gradio_api/upload",
        files={"files": ("a.png", b"x" * (limits.MAX_BYTES + 1))},
    )
    assert answer.status_code == 413
    # Small as a file, and huge when it is unpacked.
    encoded = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(encoded, "PNG")
    file = visitor.upload("bomb.png", encoded.getvalue())
    with pytest.raises(PageError, match="400000000 pixels"):
        visitor.call("take", file)
    draw(visitor)
    with pytest.raises(PageError, match="400000000 pixels"):
        visitor.call("show_cells", editor_of(file))


def test_of_what_is_painted_one_layer_is_kept(visitor):
    """Nothing else that the editor sends is asked for by the page."""
    draw(visitor)
    _, layer = paint()
    for index, kind in (
        *((1, "layer"), (50_000_000, "layer"), (-1, "layer"), ("", "layer")),
        *(("null", "background"), ("null", "composite")),
    ):
        answer = send_stroke(visitor, "painted", b"nothing", index, kind)
        assert answer.status_code == 200
    painted = {**editor_of(), "id": "painted"}
    assert visitor.call("show_cells", painted)[0][0] is None
    assert send_stroke(visitor, "painted", layer).status_code == 200
    assert visitor.call("show_cells", painted)[0][0] is not None
    # It is not asked for twice.
    assert visitor.call("show_cells", painted)[0][0] is None
    much = b"x" * (limits.MAX_PAINT + 1)
    assert send_stroke(visitor, "painted", much).status_code == 413
    file = visitor.upload("layer.png", layer)
    with pytest.raises(PageError, match="A mask is of one layer"):
        visitor.call("show_cells", editor_of(file, file))


def test_a_program_in_the_place_of_what_is_painted_is_not_run(
    visitor, monkeypatch
):
    """Pillow would start Ghostscript for it."""
    started = []

    def start(*args, **kwargs):
        started.append(args)
        raise OSError("no program is started here")

    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, start)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n"
    eps += b"showpage\n%%EOF\n"
    draw(visitor)
    file = visitor.upload("x.png", eps)
    with pytest.raises(PageError, match="no picture of a known format"):
        visitor.call("show_cells", editor_of(file))
    send_stroke(visitor, "program", eps)
    with pytest.raises(PageError, match="no picture of a known format"):
        visitor.call("show_cells", {**editor_of(), "id": "program"})
    # Nor is a picture below opened.
    visitor.call("show_cells", editor_of(background=file))
    assert not started


def test_it_listens_on_loopback_and_shares_nothing(visitor):
    assert visitor.address.startswith("http://127.0.0.1:")
    config = visitor.config
    assert not config["analytics_enabled"]
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    page = visitor.http.get("/").text + visitor.http.get("/theme.css").text
    for name in ("googleapis", "gstatic", "cdn."):
        assert name not in page


# === What it takes ===


def test_memory_stays_flat_over_many_pictures(visitor):
    """Linux says what a process holds; pictures, once drawn, are let go."""
    status = pathlib.Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("no /proc on this system")
    held = []
    for _ in range(3):
        for seed in range(5):
            draw(visitor, seed=seed, count=8, settings=(1, *SETTINGS[1:]))
        gc.collect()
        held.append(int(status.read_text().split()[1]) * 4096)
    # The first 40 fill caches, and the gallery. What is as large as the model
    # or a program, of each of the next 40, would be far more, and of the last
    # 40 again: a thread that is new takes its memory once.
    assert min(np.diff(held)) < 5e6
    folder = pathlib.Path(os.environ["GRADIO_TEMP_DIR"])
    of_this = [one["image"]["path"] for one in draw(visitor)[-1][2]]
    assert len(of_this) == limits.MAX_KEPT
    kept = {str(path) for path in (folder / "pictures").rglob("*.png")}
    assert set(of_this) <= kept and len(kept) < 40 + 120


def test_of_a_session_that_makes_room_for_another_nothing_is_left(monkeypatch):
    monkeypatch.setattr(limits, "MAX_SESSIONS", 2)
    with server.serving(shared_muse(cascade=False), "tiny") as address:
        visitors = [Visitor(address) for _ in range(3)]
        images = [draw(visitor)[-1][0]["path"] for visitor in visitors]
        for _ in range(100):  # the threads of the page let go of it, too
            gc.collect()
            left = [os.path.exists(path) for path in images]
            if not left[0]:
                break
            time.sleep(0.1)
        assert left == [False, True, True]
        with pytest.raises(PageError, match="picture is no longer kept"):
            visitors[0].call("recall", {"index": 0, "value": None})
        assert len(draw(visitors[0])[-1][2]) == 1


def test_a_busy_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(ValueError, match=f"The port {port} of 127.0.0.1"):
            server.free_port("127.0.0.1", port)
    assert server.free_port("127.0.0.1", port) == port
    for port in (0, 70000):
        with pytest.raises(ValueError, match=f"Received: --port {port}"):
            server.free_port("127.0.0.1", port)
    for host in ("192.0.2.1", "no such host"):
        with pytest.raises(ValueError, match=f"Received: --host {host}"):
            server.free_port(host)


def test_without_a_port_the_first_free_one_is_taken(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        monkeypatch.setattr(server, "FIRST_PORT", busy.getsockname()[1])
        assert server.free_port("127.0.0.1") > busy.getsockname()[1]
        monkeypatch.setattr(server, "NUM_PORTS", 1)
        with pytest.raises(ValueError, match="No port of 127.0.0.1 can be"):
            server.free_port("127.0.0.1")


@pytest.mark.parametrize("port, tried", [(None, [7860, 7861]), (7000, [7000])])
def test_a_port_that_another_was_faster_to_take_is_chosen_anew(
    monkeypatch, port, tried
):
    class Blocks:
        launched = []

        def queue(self, **kwargs):
            pass

        def launch(self, server_port, **kwargs):
            self.launched.append(server_port)
            if len(self.launched) == 1:
                raise OSError(f"Cannot find empty port: {server_port}")

    free = iter((port or 7860, 7861))
    monkeypatch.setattr(server, "free_port", lambda *args: next(free))
    monkeypatch.setattr("keras_muse.demo.page.build", lambda *args: Blocks())
    Blocks.launched = []
    with pytest.raises(OSError) if port else contextlib.nullcontext():
        server._launched(None, "", "127.0.0.1", port, queue=1)
    assert Blocks.launched == tried


def test_the_package_itself_imports_no_gradio():
    script = "import sys, keras_muse.cli\nassert 'gradio' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
