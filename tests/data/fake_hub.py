"""A hub on loopback that has one data set or model. Run as a thread of the test; clients are other processes."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

COMMITS = ("1" * 40, "2" * 40)


class FakeHub:
    """One data set or model `owner/reviews`: files by name, and the commit that its branch main is at."""

    def __init__(self, files: Mapping[str, bytes], *, kind: Literal["datasets", "models"] = "datasets") -> None:
        self.files = files
        self.kind = kind
        self.sent: list[str] = []  # paths whose content was asked for
        self.commit = COMMITS[0]
        self.failing = False  # answer 503 to everything
        self.sent_share = 1.0  # of the bytes of each file, before the connection is closed
        self.redirect: str | None = None  # where the content of files is instead
        self.url = ""


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve until the block ends; `hub.url` is then the endpoint."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(body)

        def _answer(self, body: bytes = b"") -> None:
            status, content, headers = _respond(hub, self.path, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                hub.sent.append(self.path)
                is_file = "/resolve/" in self.path
                self.wfile.write(content[: int(hub.sent_share * len(content))] if is_file else content)
                self.close_connection = is_file and hub.sent_share < 1

    return Handler


def _respond(hub: FakeHub, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
    path = path.partition("?")[0].replace("%2F", "/")
    if hub.failing:
        return 503, b"", {}
    if "owner/reviews" not in path:
        return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
    if match := re.fullmatch(r"(?:/datasets)?/owner/reviews/resolve/([^/]+)/(.+)", path):
        return _resolve(hub, *match.groups())
    if match := re.fullmatch(rf"/api/{hub.kind}/owner/reviews(/revision/(.+))?", path):
        commit = hub.commit if match[2] in (None, "main") else match[2]
        return _json({"id": "owner/reviews", "sha": commit, "siblings": [{"rfilename": n} for n in hub.files]})
    if re.match(rf"/api/{hub.kind}/owner/reviews/tree/[^/]+$", path):
        return _json([_entry(name, content) for name, content in hub.files.items()])
    if re.match(rf"/api/{hub.kind}/owner/reviews/paths-info/", path):
        wanted = json.loads(body)["paths"]
        return _json([_entry(name, content) for name, content in hub.files.items() if name in wanted])
    return 404, b"{}", {"X-Error-Code": "EntryNotFound"}


def _resolve(hub: FakeHub, revision: str, name: str) -> tuple[int, bytes, dict[str, str]]:
    if revision not in ("main", *COMMITS):
        return 404, b"", {"X-Error-Code": "RevisionNotFound"}
    commit = hub.commit if revision == "main" else revision
    if name not in hub.files:
        return 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
    content = hub.files[name]
    headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
    if hub.redirect is not None:
        size = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": headers["ETag"]}
        return 302, b"", {**headers, **size, "Location": hub.redirect}
    return 200, content, headers


def _entry(name: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


def _json(value: object) -> tuple[int, bytes, dict[str, str]]:
    return 200, json.dumps(value).encode(), {"Content-Type": "application/json"}
