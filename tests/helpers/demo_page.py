"""A page of the demo, and what a browser says to it, without a browser."""

import json
import uuid

import httpx


class Visitor:
    """One session with a page.

    Args:
        address: string, of the page.
    """

    def __init__(self, address):
        self.address = address.rstrip("/")
        self.session = uuid.uuid4().hex
        self.http = httpx.Client(base_url=self.address, timeout=120)
        self.config = self.http.get("/config").json()

    def call(self, name, *data):
        """The outputs of a handler, as they come: a list of lists.

        Files are dicts, what is skipped is a dict without a value.
        """
        self.join(name, *data)
        return list(self.outputs())

    def join(self, name, *data):
        """Asks for work and does not wait for it."""
        answer = self.http.post(
            "/gradio_api/queue/join",
            json={
                "data": [None, *data],
                "fn_index": self._number(name),
                "session_hash": self.session,
                **({"event_data": data[-1]} if name == "recall" else {}),
            },
        )
        answer.raise_for_status()

    def outputs(self):
        """Yields what comes back, of one call."""
        with self.http.stream(
            "GET",
            "/gradio_api/queue/data",
            params={"session_hash": self.session},
        ) as stream:
            last = None
            for line in stream.iter_lines():
                if not line.startswith("data:"):
                    continue
                message = json.loads(line.removeprefix("data:"))
                if message["msg"] not in (
                    "process_generating",
                    "process_completed",
                ):
                    continue
                output = message["output"]
                if not message["success"]:
                    raise PageError(output.get("error"))
                if message["msg"] == "process_completed":
                    if output["data"]:
                        yield output["data"]
                    return
                last = _changed(last, output["data"])
                yield last

    def upload(self, name, content):
        """What a page says of a file that it has sent."""
        answer = self.http.post(
            "/gradio_api/upload", files={"files": (name, content)}
        )
        answer.raise_for_status()
        return {
            "path": answer.json()[0],
            "orig_name": name,
            "meta": {"_type": "gradio.FileData"},
        }

    def fetch(self, file):
        """The bytes of a file of an output."""
        answer = self.http.get(f"/gradio_api/file={file['path']}")
        answer.raise_for_status()
        return answer.content

    def _number(self, name):
        (number,) = [
            one["id"]
            for one in self.config["dependencies"]
            if one["api_name"] == name
        ]
        return number


class PageError(Exception):
    """What a page says of an error."""


def _changed(last, data):
    """Outputs of a generator, of which later ones come as differences."""
    if last is None:
        return data
    return [
        old if new == [] else _patched(old, new)
        for old, new in zip(last, data, strict=True)
    ]


def _patched(old, changes):
    for action, path, value in changes:
        if not path:
            old = value
            continue
        old = json.loads(json.dumps(old))
        place = old
        for key in path[:-1]:
            place = place[key]
        if action == "delete":
            del place[path[-1]]
        elif action == "add" and isinstance(place, list):
            place.insert(path[-1], value)
        elif action == "append":
            place[path[-1]] += value
        else:
            place[path[-1]] = value
    return old
