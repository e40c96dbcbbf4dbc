"""Stand-ins for the Hub: a loopback server, a cache folder, and checkpoints of Pythia's true shapes.

Repositories are given as {repository: {revision: folder}}; a revision's commit is a hash of both names, or the revision
itself where that is a commit. A dataset's repository is `datasets/owner/name`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from massact import Architecture

# The shapes of pythia-14m.
PYTHIA_14M = Architecture(n_layers=6, d_model=128, n_heads=4, d_mlp=512, vocab_size=50304, context=2048)
REPOSITORY = "EleutherAI/pythia-14m"
LARGE_FILES = (".safetensors", ".bin")  # stored by LFS

Revisions = Mapping[str, Mapping[str, Path]]


@cache
def small_tokenizer() -> Any:
    from massact.train import train_tokenizer

    return train_tokenizer(["the quality of mercy is not strained"], 300)


def write_checkpoint(folder: Path, architecture: Architecture, seed: int, tokenizer: Any = None) -> Path:
    """A random-init GPT-NeoX with Pythia's initialisation, in float16 as published; ids up to 299 have tokens."""
    from massact.train import build_model

    build_model(architecture, seed).half().save_pretrained(folder)
    (small_tokenizer() if tokenizer is None else tokenizer).save_pretrained(folder)
    return folder


def commit_of(repository: str, revision: str) -> str:
    """Forty hex digits."""
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    return hashlib.sha1(f"{repository}@{revision}".encode(), usedforsecurity=False).hexdigest()


def write_cache(cache: Path, revisions: Revisions) -> Path:
    """The same as huggingface_hub leaves it: blobs named by hash, links to them in snapshots, refs."""
    for repository, folders in revisions.items():
        root = cache / f"models--{repository.replace('/', '--')}"
        for revision, folder in folders.items():
            commit = commit_of(repository, revision)
            snapshot = root / "snapshots" / commit
            snapshot.mkdir(parents=True, exist_ok=True)
            (root / "blobs").mkdir(exist_ok=True)
            (root / "refs").mkdir(exist_ok=True)
            (root / "refs" / revision).write_text(commit)
            for path in (p for p in folder.iterdir() if p.is_file()):
                blob = root / "blobs" / _etag(path)
                if not blob.is_file():
                    shutil.copyfile(path, blob)
                if not (snapshot / path.name).is_symlink():
                    (snapshot / path.name).symlink_to(Path("../../blobs") / blob.name)
    return cache


@dataclass
class LoopbackHub:
    """What the server serves, how it is to fail, and what it was asked.

    `fail` maps a part of a path to a status (`/api/` to 500), for `failures` requests (None: all). `truncate` cuts
    files whose name it holds to this many bytes, `flip` inverts the first bit of their middle byte, `instead` sends
    other content under their true hash, `delay_s` waits before every answer. `spoil` limits how often files are
    truncated or flipped. `unplugged` closes every connection without an answer. `large_file_s` is how long a large file
    takes to come, a little at a time. `tags` are the revisions that are tags instead of branches; `titles` maps commits
    to their titles, newest last, and such a commit is no branch. `sent` counts the bytes of files. `moved` maps a
    branch to the revision it now is. `whole_files` answers range requests with the whole file.
    """

    revisions: Revisions
    url: str = ""
    fail: dict[str, int] = field(default_factory=dict)
    failures: int | None = None
    truncate: dict[str, int] = field(default_factory=dict)
    flip: set[str] = field(default_factory=set)
    instead: dict[str, bytes] = field(default_factory=dict)
    spoil: int | None = None
    delay_s: float = 0.0
    unplugged: bool = False
    large_file_s: float = 0.0
    tags: frozenset[str] = frozenset()
    titles: dict[str, str] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    whole_files: bool = False
    sent: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def requests(self) -> Counter[str]:
        """How many requests of each kind came: info, tree, head, file (downloads), range (excerpts), other."""
        return Counter(_kind(method, path) for method, path in self.asked)

    def count(self, method: str, part: str = "") -> int:
        """Requests of a method whose path holds `part`."""
        return sum(m == method and part in path for m, path in self.asked)

    def fetched(self) -> list[str]:
        """Names of the files that were downloaded, each as often as it was."""
        return sorted(path.rsplit("/", 1)[1] for m, path in self.asked if m == "GET" and "/resolve/" in path)

    def find(self, repository: str, revision: str) -> tuple[Path, str] | None:
        """Folder and commit of a revision, by name or by commit."""
        revision = self.moved.get(revision, revision)
        for name, folder in self.revisions.get(repository, {}).items():
            commit = commit_of(repository, name)
            if revision in (name, commit):
                return folder, commit
        return None

    def status_for(self, path: str) -> int | None:
        """The failure this path is to meet, if any is left."""
        for part, status in self.fail.items():
            if part in path and self.failures != 0:
                if self.failures is not None:
                    self.failures -= 1
                return status
        return None

    def _as_it_is(self, path: Path) -> bool:
        return path.name not in {*self.instead, *self.truncate, *self.flip}

    def size(self, path: Path) -> int:
        """Bytes of a file as it is sent."""
        return path.stat().st_size if self._as_it_is(path) else len(self.body(path))

    def excerpt(self, path: Path, begin: int, end: int) -> bytes:
        """A part of a file as it is sent; of a large one no more is read."""
        if not self._as_it_is(path):
            return self.body(path)[begin:end]
        with path.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)

    def body(self, path: Path) -> bytes:
        """A file's content as it is sent."""
        body = self.instead.get(path.name, path.read_bytes())
        if (path.name in self.truncate or path.name in self.flip) and self.spoil != 0:
            if self.spoil is not None:
                self.spoil -= 1
            if path.name in self.flip:
                middle = len(body) // 2
                body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
            body = body[: self.truncate.get(path.name, len(body))]
        return body


@contextmanager
def serving(revisions: Revisions, **faults: Any) -> Iterator[LoopbackHub]:
    """A LoopbackHub that answers on an ephemeral port of the loopback interface while the context is open."""
    hub = LoopbackHub(revisions, **faults)
    for folder in {folder for folders in revisions.values() for folder in folders.values()}:
        for path in folder.rglob("*"):  # a hub has its hashes at hand, and no client waits for them
            if path.is_file():
                _etag(path)

    class Handler(_Handler):
        served = hub

    server = _Server(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that were killed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    served: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any, **named: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.served.asked.append(("RANGE" if self._excerpt() else self.command, path))
        time.sleep(self.served.delay_s)
        if self.served.unplugged:
            self.close_connection = True
            return
        status = self.served.status_for(path)
        if status is not None:
            self._send(status, b"{}", {"Retry-After": "0"})
        elif path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/").split("/"))
        elif path.startswith("/api/datasets/"):
            owner, *rest = path.removeprefix("/api/datasets/").split("/")
            self._api([f"datasets/{owner}", *rest])
        elif "/resolve/" in path:
            repository, _, rest = path.strip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            self._file(repository, revision, name)
        else:
            self._send(200, b"a hub")

    def _api(self, parts: list[str]) -> None:
        repository, kind, revision = "/".join(parts[:2]), *((parts[2:4] or ["revision", "main"]) + [""])[:2]
        if repository not in self.served.revisions:
            self._missing("RepoNotFound")
            return
        if kind == "refs":
            self._refs(repository)
            return
        if kind == "commits":
            self._commits(repository)
            return
        checkpoint = self.served.find(repository, revision)
        if checkpoint is None:
            self._missing("RevisionNotFound")
            return
        folder, commit = checkpoint
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        if kind == "tree":
            content: Any = [_entry(path, folder) for path in files]
        else:
            siblings = [_sibling(path, folder) for path in files]
            content = {"_id": "0", "id": repository, "modelId": repository, "sha": commit}
            content |= {"siblings": siblings, "private": False, "gated": False, "tags": [], "downloads": 0, "likes": 0}
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _refs(self, repository: str) -> None:
        names = [name for name in self.served.revisions[repository] if name not in self.served.titles]
        refs = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit_of(repository, name)} for name in names
        ]
        branches, tags = ([r for r in refs if (r["name"] in self.served.tags) is tag] for tag in (False, True))
        self._send(200, json.dumps({"branches": branches, "tags": tags, "converts": []}).encode())

    def _commits(self, repository: str) -> None:
        """The commits of a branch, newest first; every branch has all of the repository's."""
        titles = [(c, t) for c, t in self.served.titles.items() if c in self.served.revisions[repository]]
        commits = [
            {"id": c, "title": t, "message": "", "authors": [], "date": "2025-01-01T00:00:00.000Z"}
            for c, t in reversed(titles)
        ]
        self._send(200, json.dumps(commits).encode(), {"Content-Type": "application/json"})

    def _file(self, repository: str, revision: str, name: str) -> None:
        checkpoint = self.served.find(repository, revision)
        if checkpoint is None:
            self._missing("RevisionNotFound")
            return
        folder, commit = checkpoint
        path = folder / name
        if not path.is_file():
            self._missing("EntryNotFound", {"X-Repo-Commit": commit})
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_etag(path)}"', "Accept-Ranges": "bytes"}
        if path.name.endswith(LARGE_FILES):
            headers |= {"X-Linked-Size": str(path.stat().st_size), "X-Linked-Etag": f'"{_etag(path)}"'}
        if self.command == "HEAD":
            self._send(200, b"", {**headers, "Content-Length": str(path.stat().st_size)})
            return
        asked = "" if self.served.whole_files else self.headers.get("Range", "")
        if asked.startswith("bytes="):
            begin, _, end = asked.removeprefix("bytes=").partition("-")
            size = self.served.size(path)
            first, last = int(begin or 0), min(int(end or size - 1), size - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            self._send(206, self.served.excerpt(path, first, last + 1), headers)
            return
        self._send(200, self.served.body(path), headers)

    def _excerpt(self) -> bool:
        """Whether a range is requested, not the rest of a download (`bytes=100-`)."""
        return self.command == "GET" and re.fullmatch(r"bytes=\d+-\d+", self.headers.get("Range", "")) is not None

    def _missing(self, code: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(404, b'{"error": "not found"}', {"X-Error-Code": code, **(headers or {})})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(HTTPStatus(status))
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if "/resolve/" in self.path:
            self.served.sent += len(body)
        slow = self.served.large_file_s if self.path.endswith(LARGE_FILES) else 0.0
        slices = 8 if slow else 1
        for k in range(slices):
            time.sleep(slow / slices)
            self.wfile.write(body[len(body) * k // slices : len(body) * (k + 1) // slices])


def _kind(method: str, path: str) -> str:
    if path.startswith("/api/"):
        return "tree" if "/tree/" in path else "info"
    return {"HEAD": "head", "GET": "file", "RANGE": "range"}[method] if "/resolve/" in path else "other"


def _etag(path: Path) -> str:
    status = path.stat()
    return _hashed(path, status.st_size, status.st_mtime_ns)


@cache
def _hashed(path: Path, size: int, mtime_ns: int) -> str:
    """sha256 of a large file, git's blob hash of a small one, as the Hub has it."""
    content = path.read_bytes()
    if path.name.endswith(LARGE_FILES):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False).hexdigest()


def _lfs(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "pointerSize": 134}


def _sibling(path: Path, folder: Path) -> dict[str, Any]:
    found = {"rfilename": path.relative_to(folder).as_posix(), "size": path.stat().st_size, "blobId": _etag(path)[:40]}
    if path.name.endswith(LARGE_FILES):
        found["lfs"] = {**_lfs(path), "sha256": _etag(path)}
    return found


def _entry(path: Path, folder: Path) -> dict[str, Any]:
    size = path.stat().st_size
    entry = {"type": "file", "path": path.relative_to(folder).as_posix(), "size": size, "oid": _etag(path)[:40]}
    if path.name.endswith(LARGE_FILES):
        entry["lfs"] = {**_lfs(path), "oid": _etag(path)}
    return entry
