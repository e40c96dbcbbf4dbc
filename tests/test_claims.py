import os
import subprocess
import sys

from massact import claims


def test_a_claim_is_held_by_one_process_at_a_time(tmp_path):
    path = tmp_path / "work" / ".claim"
    with claims.held(path) as ours:
        assert ours
        assert not claims.elsewhere(path)
        code = f"import sys; from pathlib import Path; from massact import claims; p = Path({str(path)!r});"
        there = f"{code} print(claims.elsewhere(p), claims.take(p))"
        said = subprocess.run([sys.executable, "-c", there], capture_output=True, text=True, check=True).stdout
        assert said.split() == ["True", "False"]
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
