import os
import socket
import subprocess
import sys
import time

import pytest

from massact import claims
from massact.errors import StorageError


def test_a_claim_is_held_by_one_process_at_a_time(tmp_path):
    path = tmp_path / "work" / ".claim"
    with claims.held(path) as ours:
        assert ours
        assert not claims.elsewhere(path)
        code = f"import sys; from pathlib import Path; from massact import claims; p = Path({str(path)!r});"
        there = f"{code} print(claims.elsewhere(p), claims.take(p))"
        output = subprocess.run([sys.executable, "-c", there], capture_output=True, text=True, check=True).stdout
        assert output.split() == ["True", "False"]
    assert not path.exists()


def test_the_claim_of_a_dead_process_is_taken_over(tmp_path):
    path = tmp_path / ".claim"
    code = f"from pathlib import Path; from massact import claims; claims.take(Path({str(path)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.is_file()
    assert claims.abandoned(path)
    with claims.held(path) as ours:
        assert ours


def test_a_process_number_used_again_is_not_the_same_process(tmp_path):
    path = tmp_path / ".claim"
    assert claims.take(path)
    host, pid, _ = path.read_text().split(" ")
    assert int(pid) == os.getpid()
    path.write_text(f"{host} {pid} another-boot/1")
    assert claims.abandoned(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00", b"{}", b"a b c d e f", b"host -1", b"host 0 x", "host \u00b2".encode(), b"x" * 10_000,
     f"host {10**40}".encode()],
)  # fmt: skip
def test_a_claim_that_names_no_process_is_taken_over_within_seconds(tmp_path, content):
    path = tmp_path / ".claim"
    path.write_bytes(content.replace(b"host", socket.gethostname().encode()))
    assert not claims.take(path)  # another process may be writing it now
    os.utime(path, (time.time() - 11, time.time() - 11))
    assert claims.take(path)


@pytest.mark.parametrize("owner", ["other-host 17 boot/1/space", f"{socket.gethostname()} 1 boot/1/pid:[17]"])
def test_a_claim_of_another_host_or_container_is_judged_by_its_time(tmp_path, owner):
    path = tmp_path / ".claim"
    path.write_text(owner)
    assert claims.elsewhere(path)
    assert not claims.take(path)
    for ago in (claims.STALE_S + 5, -claims.STALE_S - 5):
        path.write_text(owner)
        os.utime(path, (time.time() - ago, time.time() - ago))
        assert claims.abandoned(path)
        assert claims.take(path)
        claims.release(path)
    assert [p.name for p in tmp_path.iterdir()] == []


def test_the_time_of_a_claim_is_renewed_while_its_process_works(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from massact import claims; claims.BEAT_S = .1;"
        f"p = Path({str(tmp_path / '.claim')!r}); claims.take(p); print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        path = tmp_path / ".claim"
        os.utime(path, (1e9, 1e9))
        deadline = time.monotonic() + 30
        while path.stat().st_mtime < 2e9 and time.time() - path.stat().st_mtime > 100 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert time.time() - path.stat().st_mtime < 100
        holder = claims.holder(path)
        assert holder is not None and holder.pid == process.pid
        assert "-c import sys, time;" in str(holder) and socket.gethostname() in str(holder)
        process.kill()


def test_a_claim_taken_over_by_another_is_neither_renewed_nor_removed(tmp_path):
    path = tmp_path / ".claim"
    assert claims.take(path)
    path.write_text("other-host 17 boot/1/space")
    claims.release(path)
    assert path.read_text().startswith("other-host")


def test_a_claim_that_is_not_a_regular_file_is_one_typed_line(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name, why in {"folder": "Is a directory", "link": "a broken link", "pipe": "not a regular"}.items():
        with pytest.raises(StorageError, match=rf"{why}.*{name}.*; move away"), claims.held(tmp_path / name):
            raise AssertionError("it was taken")
        assert not claims.elsewhere(tmp_path / name)
