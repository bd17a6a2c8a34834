"""A hub on loopback: a data set or model to download, and repositories to push to.

It runs as a thread of the test. huggingface_hub reads its settings when it is imported, so its clients are other processes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

COMMITS = ("1" * 40, "2" * 40)
PUSHED_COMMIT = "c" * 40
_REFUSALS = {"expired": 401, "others": 403, "busy": 503}
"""Owner of a repository -> status of the answer to a push."""
Answer = tuple[int, bytes, dict[str, str]]
"""Status, content and headers."""


class FakeHub:
    """One data set or model `owner/reviews`: files by name, and the commit that its branch main is at.

    Owners of repositories to push to: `me`, whose repositories are public if their name has the word; those of `_REFUSALS`;
    and `gone`, for whom the connection ends without an answer.
    """

    def __init__(
        self, files: Mapping[str, bytes] | None = None, *, kind: Literal["datasets", "models"] = "datasets"
    ) -> None:
        self.files = files or {}
        self.kind = kind
        self.sent: list[str] = []  # paths whose content was asked for
        self.commit = COMMITS[0]
        self.failing = False  # answer 503 to everything
        self.sent_share = 1.0  # of the bytes of each file, before the connection is closed
        self.redirect: str | None = None  # where the content of files is instead
        self.url = ""
        self.created: list[dict[str, Any]] = []
        self.commits: dict[str, dict[str, bytes | str]] = {}  # repository -> path -> content, or hash of a large file
        self.stored: dict[str, bytes] = {}  # hash -> content of large files
        self.tokens: set[str] = set()


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
            self._answer(b"")

        do_HEAD = do_GET

        def do_POST(self) -> None:
            self._answer(self._body())

        do_PUT = do_POST

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _answer(self, body: bytes) -> None:
            hub.tokens.add(self.headers.get("Authorization", ""))
            if "/gone/" in self.path or b'"gone"' in body:
                self.close_connection = True  # without an answer
                return
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


def _respond(hub: FakeHub, path: str, body: bytes) -> Answer:
    path, _, query = path.partition("?")
    path = path.replace("%2F", "/")
    if hub.failing:
        return 503, b"", {}
    if path == "/api/models" and query:
        return _json([{"id": "owner/reviews"}])
    if "owner/reviews" in path:
        return _download(hub, path, body)
    pushed = _pushed(hub, path, body)
    return (404, b"{}", {"X-Error-Code": "RepoNotFound"}) if pushed is None else pushed


def _download(hub: FakeHub, path: str, body: bytes) -> Answer:
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


def _resolve(hub: FakeHub, revision: str, name: str) -> Answer:
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


def _pushed(hub: FakeHub, path: str, body: bytes) -> Answer | None:
    """The answer to a request of a push; None for any other."""
    if match := re.search(r"/(expired|others)/.*/preupload/", path):
        return _json({"error": "refused by the hub"}, status=_REFUSALS[match[1]])
    if path == "/api/repos/create":
        return _created(hub, json.loads(body))
    if path == "/api/validate-yaml":
        wrong = "license: nobody" in json.loads(body)["content"]
        errors = [{"message": '"license" is not one'}] if wrong else []
        return _json({"errors": errors, "warnings": []}, status=400 if wrong else 200)
    if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path):
        return _json({"id": match[1], "private": "public" not in match[1], "tags": [], "siblings": []})
    if re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/main", path):
        return _json({"files": [_upload(file["path"]) for file in json.loads(body)["files"]]})
    if path.endswith(".git/info/lfs/objects/batch"):
        objects = [
            {**item, "actions": {"upload": {"href": f"{hub.url}/store/{item['oid']}", "header": {}}}}
            for item in json.loads(body)["objects"]
        ]
        return _json({"transfer": "basic", "objects": objects})
    if match := re.fullmatch(r"/store/(\w+)", path):
        hub.stored[match[1]] = body
        return _json({})
    if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
        return _committed(hub, match[1], [json.loads(line) for line in body.splitlines()])
    return None


def _created(hub: FakeHub, given: dict[str, Any]) -> Answer:
    hub.created.append(given)
    owner, name = given.get("organization", "me"), given["name"]
    if owner in _REFUSALS:
        return _json({"error": "refused by the hub"}, status=_REFUSALS[owner])
    return _json({"url": f"{hub.url}/{owner}/{name}", "id": f"{owner}/{name}"})


def _upload(path: str) -> dict[str, Any]:
    return {"path": path, "uploadMode": "lfs" if path.endswith("safetensors") else "regular", "shouldIgnore": False}


def _committed(hub: FakeHub, repository: str, lines: list[dict[str, Any]]) -> Answer:
    hub.commits[repository] = {
        line["value"]["path"]: base64.b64decode(line["value"]["content"])
        if line["key"] == "file"
        else line["value"]["oid"]
        for line in lines
        if line["key"] in ("file", "lfsFile")
    }
    url = f"{hub.url}/{repository}/commit/{PUSHED_COMMIT}"
    return _json({"success": True, "commitOid": PUSHED_COMMIT, "commitUrl": url})


def _entry(name: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


def _json(value: object, *, status: int = 200) -> Answer:
    return status, json.dumps(value).encode(), {"Content-Type": "application/json"}
