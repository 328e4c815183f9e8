"""Quotas of Lustre, GPFS, BeeGFS and the kernel, from what their commands print."""

import os
from pathlib import Path

import pytest

from hala_hpc.core.quotas import (
    Mount,
    Quota,
    describe_tight_quotas,
    find_mount,
    find_quotas,
    read_beegfs_quotas,
    read_gpfs_quotas,
    read_kernel_quotas,
    read_lustre_quotas,
    read_mount_point,
)

UID = os.geteuid()
LUSTRE = f"""case "$*" in
  "quota -q -u {UID} "*) echo "/scratch"; echo "  2048* 1000 3000 6d23h 11 10 20 -" ;;
  "quota -q -g "*) echo "/scratch 1 0 0 - 2 0 0 -" ;;
  "quota -q -p 77 "*) echo "/scratch 0 0 4096 - 5 0 50 -" ;;
  "project -d "*) echo "77 P /scratch/lab" ;;
esac"""
NAMES = (
    *("mmlsquota", "", "HEADER", "version", "r", "r", "fs", "quotaType", "id", "name"),
    *("blockUsage", "blockQuota", "blockLimit", "blockInDoubt", "grace"),
    *("filesUsage", "filesQuota", "filesLimit", ""),
)
GPFS = f"""case "$*" in
  *" -Y "*) [ "$1" = -u ] || exit 1
    echo "{":".join(NAMES)}"
    echo "mmlsquota::0:1:::fs1:USR:{UID}:me:1024:0:2048:0:none:3:0:4:" ;;
esac"""
BEEGFS = f"""[ "$4" = --uid ] || exit 1
echo "name,id,size,hard,files,hard"
echo "me,{UID},1000,2000,7,unlimited\""""
KERNEL = """[ "$3" = -u ] || exit 0
echo "/dev/x 10 20 30 0 1 2 3 0"; exit 1"""


def make_mount(folder: Path, device: str = "/dev/x") -> Mount:
    return Mount(device, Path("/scratch"), folder, os.getegid())


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the PATH with commands that print what those of file systems print."""
    for name, body in {
        "lfs": LUSTRE,
        "mmlsquota": GPFS,
        "beegfs-ctl": BEEGFS,
        "quota": KERNEL,
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_lustre_has_quotas_of_user_group_and_project(commands: Path) -> None:
    user, group, project = read_lustre_quotas(make_mount(commands))
    assert user == Quota(f"user {UID}", 2048 * 1024, 1000 * 1024, 11, 10)
    assert (user.bytes_left, user.files_left) == (0, 0)
    assert (group.bytes_left, group.files_left) == (None, None)
    assert (project.scope, project.bytes_left, project.files_left) == (
        "project 77",
        4096 * 1024,
        45,
    )


def test_gpfs_is_read_by_the_names_of_its_columns(commands: Path) -> None:
    (user,) = read_gpfs_quotas(make_mount(commands))
    assert user == Quota("usr me", 1024 * 1024, 2048 * 1024, 3, 4)


def test_beegfs_counts_bytes(commands: Path) -> None:
    (user,) = read_beegfs_quotas(make_mount(commands))
    assert user == Quota("user me", 1000, 2000, 7, None)


def test_the_kernel_counts_blocks_and_files(commands: Path) -> None:
    (user,) = read_kernel_quotas(make_mount(commands))
    assert user == Quota("user", 10 * 1024, 20 * 1024, 1, 2)
    assert list(read_kernel_quotas(make_mount(commands, "/dev/y"))) == []


def test_a_quota_that_is_nearly_used_is_reported(commands: Path) -> None:
    device, _, _ = find_mount(commands)
    (commands / "quota").write_text(f'#!/bin/sh\necho "{device} 990 1000 0 0 10 1000 0 0"\n')
    found = describe_tight_quotas(commands)
    assert len(found) == 2
    assert "has 0.000 GB left of 0.001 GB" in found[0]


def test_a_command_that_does_not_exist_reports_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(read_lustre_quotas(make_mount(tmp_path))) == []


def test_a_mount_point_with_blanks_and_arabic_letters_is_read_as_it_is() -> None:
    assert read_mount_point("/data/my\\040lab/مختبر\\134x") == "/data/my lab/مختبر\\x"


def test_a_folder_that_is_gone_has_no_known_quota(tmp_path: Path) -> None:
    assert find_quotas(tmp_path / "gone") == []
