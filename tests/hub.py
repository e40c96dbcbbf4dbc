"""A loopback Hub: serves revisions of repositories from folders, as much of the protocol as huggingface_hub uses."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from massact import Architecture
from massact.train import build_model, train_tokenizer

_INFO = re.compile(r"^/api/(models|datasets)/([^/]+/[^/]+)(?:/revision/([^/?]+))?$")
_TREE = re.compile(r"^/api/(?:models|datasets)/([^/]+/[^/]+)/tree/([^/?]+)(?:/.*)?$")
_FILE = re.compile(r"^/([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")


@dataclass
class Hub:
    """What is served: {repository: {revision: folder}}; and what is to go wrong."""

    repositories: dict[str, dict[str, Path]]
    url: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    status: dict[str, int] = field(default_factory=dict)  # revision -> HTTP status to answer with
    flipped: set[str] = field(default_factory=set)  # file names served with one bit changed

    def commit(self, repository: str, revision: str) -> str:
        """Commit of a revision: forty hex digits."""
        return hashlib.sha1(f"{repository}@{revision}".encode()).hexdigest()

    def folder(self, repository: str, revision: str) -> tuple[Path, str] | None:
        """Folder and commit, asked for by revision or by commit."""
        for name, folder in self.repositories.get(repository, {}).items():
            commit = self.commit(repository, name)
            if revision in (name, commit):
                return folder, commit
        return None


def write_checkpoint(folder: Path, architecture: Architecture, seed: int) -> Path:
    """Random weights of an architecture, float16, with a small byte-level tokenizer."""
    build_model(architecture, seed).half().save_pretrained(folder)
    text = "When in the course of human events it becomes necessary for one people to dissolve the bands. " * 30
    train_tokenizer([text], min(300, architecture.vocab_size)).save_pretrained(folder)
    return folder


def write_cache(home: Path, repository: str, revision: str, folder: Path) -> Path:
    """A hub cache with one revision, as huggingface_hub lays it out; returns HF_HOME."""
    commit = hashlib.sha1(f"{repository}@{revision}".encode()).hexdigest()
    root = home / "hub" / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / revision).write_text(commit)
    snapshot = root / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        (snapshot / path.name).symlink_to(path)
    return home


@contextmanager
def serving(repositories: dict[str, dict[str, Path]]) -> Iterator[Hub]:
    """Serve on an ephemeral loopback port while the context is open."""
    hub = Hub(repositories)
    hashes: dict[Path, str] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path = unquote(self.path.split("?")[0])
            if match := _INFO.match(path):
                hub.requests["info"] += 1
                self._info(match.group(2), match.group(3) or "main")
            elif match := _TREE.match(path):
                hub.requests["tree"] += 1
                self._tree(match.group(1), match.group(2))
            elif match := _FILE.match(path):
                hub.requests["file" if body else "head"] += 1
                self._file(*match.groups(), body=body)
            else:
                self._send(404 if path != "/" else 200, b"{}")

        def _found(self, repository: str, revision: str) -> tuple[Path, str] | None:
            for name, status in hub.status.items():
                if revision in (name, hub.commit(repository, name)):
                    self._send(status, b"{}")
                    return None
            found = hub.folder(repository, revision)
            if found is None:
                known = repository in hub.repositories
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound" if known else "RepoNotFound"})
            return found

        def _entries(self, folder: Path) -> list[dict[str, Any]]:
            entries = []
            for file in sorted(p for p in folder.iterdir() if p.is_file()):
                entry: dict[str, Any] = {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0" * 40}
                if file.suffix in (".safetensors", ".bin"):
                    entry["lfs"] = {"oid": self._sha(file), "size": entry["size"], "pointerSize": 130}
                entries.append(entry)
            return entries

        def _sha(self, file: Path) -> str:
            if file not in hashes:
                hashes[file] = hashlib.sha256(file.read_bytes()).hexdigest()
            return hashes[file]

        def _info(self, repository: str, revision: str) -> None:
            found = self._found(repository, revision)
            if found is None:
                return
            folder, commit = found
            siblings = [
                {
                    "rfilename": e["path"],
                    "size": e["size"],
                    "blobId": e["oid"],
                    **({"lfs": {"sha256": e["lfs"]["oid"], "size": e["size"], "pointerSize": 130}} if "lfs" in e else {}),
                }
                for e in self._entries(folder)
            ]
            info = {"id": repository, "modelId": repository, "sha": commit, "siblings": siblings, "private": False,
                    "tags": [], "downloads": 0, "likes": 0}  # fmt: skip
            self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

        def _tree(self, repository: str, revision: str) -> None:
            found = self._found(repository, revision)
            if found is not None:
                self._send(200, json.dumps(self._entries(found[0])).encode(), {"Content-Type": "application/json"})

        def _file(self, repository: str, revision: str, name: str, *, body: bool) -> None:
            found = self._found(repository, revision)
            if found is None:
                return
            folder, commit = found
            file = folder / name
            if not file.is_file():
                self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
                return
            content = file.read_bytes()
            if name in hub.flipped:
                content = content[:-1] + bytes([content[-1] ^ 1])
            lfs = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{self._sha(file)}"'}
            headers = {"ETag": f'"{self._sha(file)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes", **lfs}
            self._send(200, content, headers, body=body)

        def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None, body: bool = True) -> None:
            self.send_response(status)
            for key, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if body and self.command != "HEAD":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
