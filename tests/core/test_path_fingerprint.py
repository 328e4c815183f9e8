"""Fingerprints of folders outside the work folder."""

from pathlib import Path

from hala_hpc.core.fingerprint import fingerprint_path


def test_what_python_keeps_beside_code_is_no_change_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "scoring.py").touch()
    before = fingerprint_path(tmp_path)
    (tmp_path / "tasks" / "__pycache__").mkdir()
    (tmp_path / "tasks" / "__pycache__" / "scoring.cpython-311.pyc").touch()
    assert fingerprint_path(tmp_path) == before
    (tmp_path / "tasks" / "more.py").touch()
    assert fingerprint_path(tmp_path) != before
