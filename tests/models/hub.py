"""A small hub on loopback that speaks as much of the Hugging Face API as huggingface_hub's downloads use."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0" * 40


class Hub:
    """Repositories by id, each {path: bytes}; what went over the wire; and what shall go wrong.

    gated: ids whose files need a login. cuts: {path: how often its connection is cut half-way}.
    dead: True closes every connection without an answer.
    """

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        self.repositories = repositories
        self.gated: set[str] = set()
        self.cuts: dict[str, int] = {}
        self.dead = False
        self.requests: list[tuple[str, str, str | None]] = []  # (method, path in repository, Range)
        self.url = ""

    def gets(self, path: str) -> list[str | None]:
        """The Range header of every GET of a file."""
        return [span for method, asked, span in self.requests if method == "GET" and asked == path]


def repository(folder: Path, variant: str | None = None) -> dict[str, bytes]:
    """A saved folder as a repository; with a variant its weight files are named as the hub names them."""
    files = {}
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        name = file.name
        if variant and name.endswith(".safetensors"):
            name = name.replace(".safetensors", f".{variant}.safetensors")
        files[str(file.relative_to(folder).with_name(name))] = file.read_bytes()
    return files


@contextmanager
def serving(hub: Hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.do_GET(body=False)

        def do_GET(self, body=True):
            if hub.dead:
                self.close_connection = True
                self.connection.close()
                return
            path = unquote(urlsplit(self.path).path).strip("/")
            if path.startswith("api/models/"):
                self.answer_api(path.removeprefix("api/models/").split("/"))
                return
            owner, name, *rest = path.split("/", 4)
            if rest[:1] == ["resolve"]:
                self.answer_file(f"{owner}/{name}", rest[2], body)
            else:
                self.refuse(404, "EntryNotFound")

        def answer_api(self, parts):
            repo = "/".join(parts[:2])
            if repo not in hub.repositories:
                self.refuse(404, "RepoNotFound")
                return
            files = hub.repositories[repo]
            if parts[2:3] == ["tree"]:
                answer = [
                    {"type": "file", "path": p, "size": len(d), "oid": digest(d)} for p, d in files.items()
                ]
            else:
                siblings = [{"rfilename": path} for path in files]
                answer = {"id": repo, "modelId": repo, "sha": COMMIT, "private": False, "siblings": siblings}
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def answer_file(self, repo, file, body):
            span = self.headers.get("Range")
            hub.requests.append((self.command, file, span))
            if repo in hub.gated:
                self.refuse(403, "GatedRepo")
                return
            if file not in hub.repositories.get(repo, {}):
                self.refuse(404, "EntryNotFound")
                return
            data = hub.repositories[repo][file]
            start = int(span.removeprefix("bytes=").split("-")[0]) if span else 0
            self.send_response(206 if span else 200)
            self.send_header("Content-Length", str(len(data) - start))
            if span:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("ETag", f'"{digest(data)}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if not body:
                return
            if hub.cuts.get(file, 0):
                hub.cuts[file] -= 1
                self.wfile.write(data[start : start + (len(data) - start) // 2])
                self.wfile.flush()
                self.close_connection = True
                return
            self.wfile.write(data[start:])

        def refuse(self, status, code):
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
