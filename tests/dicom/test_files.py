"""Finding files: order, DICOMDIR, links."""

import os
from collections.abc import Iterable
from pathlib import Path

from pacsbridge.dicom.files import find_files


def _tree(root: Path) -> None:
    for name in ("b/2.dcm", "b/1.dcm", "a/x/deep", "a/DICOMDIR", "z.dcm", "DICOMDIR", "dicomdir"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def _usable(paths: Iterable[Path]) -> list[Path]:
    return [found.path for found in find_files(paths) if found.reason is None]


def _names(root: Path, *paths: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in _usable(paths or (root,))]


def test_walks_in_order_without_dicomdir(tmp_path: Path) -> None:
    """Files come before folders, each by name; DICOMDIR in any case is left out."""
    _tree(tmp_path)
    assert _names(tmp_path) == ["z.dcm", "a/x/deep", "b/1.dcm", "b/2.dcm"]


def test_each_file_once(tmp_path: Path) -> None:
    """A file below two of the paths is handed out once."""
    _tree(tmp_path)
    assert _names(tmp_path, tmp_path / "b" / "2.dcm", tmp_path / "b", tmp_path / "b") == [
        "b/2.dcm",
        "b/1.dcm",
    ]


def test_links_stay_inside(tmp_path: Path) -> None:
    """Loops end; links out of the tree, dangling ones and pipes have a reason each."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"")
    (inside / "1").write_bytes(b"")
    (inside / "loop").symlink_to(inside)
    (inside / "away").symlink_to(outside)
    (inside / "file").symlink_to(outside / "secret")
    (inside / "dangling").symlink_to(inside / "nothing")
    (inside / "again").symlink_to(inside / "1")
    os.mkfifo(inside / "pipe")
    assert [path.resolve() for path in _usable([inside])] == [(inside / "1").resolve()]
    reasons = {path.name: reason for path, reason in find_files([inside]) if reason is not None}
    assert reasons == {
        "away": "a link that leaves the folder",
        "file": "a link that leaves the folder",
        "dangling": "cannot be read (No such file or directory)",
        "pipe": "not a regular file",
    }


def test_pipe_named_outright(tmp_path: Path) -> None:
    """It is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    assert list(find_files([tmp_path / "pipe"])) == [(tmp_path / "pipe", "not a regular file")]


def test_folder_that_cannot_be_read(tmp_path: Path) -> None:
    """It has a reason, and the rest is walked; a path too long for the system stands for a lack of rights."""
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "image").touch()
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=at)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    refused, image = find_files([tmp_path])
    assert refused.reason == "cannot be read (File name too long)"
    assert image == (tmp_path / "z" / "image", None)


def test_missing_paths_are_handed_out(tmp_path: Path) -> None:
    """What does not exist is for the caller to report."""
    named = [tmp_path / "missing", tmp_path / "DICOMDIR"]
    assert list(find_files(named)) == [(path, "cannot be read (No such file or directory)") for path in named]


def test_dicomdir_stands_for_its_folder(tmp_path: Path) -> None:
    """Whoever names the DICOMDIR of a medium means what is on it."""
    _tree(tmp_path)
    assert _names(tmp_path, tmp_path / "DICOMDIR") == _names(tmp_path)


def test_deep_trees(tmp_path: Path) -> None:
    """Depth costs no recursion."""
    deep = tmp_path.joinpath(*["d"] * 500)
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"")
    assert len(_usable([tmp_path])) == 1
