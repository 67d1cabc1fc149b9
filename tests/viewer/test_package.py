import asyncio
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from pacsbridge.errors import BadAnswer, Misconfigured, TooLarge, Unavailable
from pacsbridge.viewer import package

GOOD = {"package/dist/index.html": b"<html>", "package/dist/a/b.js": b"1", "package/LICENSE": b"MIT"}


def packed(files: Mapping[str, bytes], *special: tarfile.TarInfo) -> bytes:
    """An npm package."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for one in special:
            archive.addfile(one)
    return target.getvalue()


def link(kind: bytes) -> tarfile.TarInfo:
    """A member that is no file."""
    member = tarfile.TarInfo("package/dist/link")
    member.type, member.linkname = kind, "/etc/passwd"
    return member


@asynccontextmanager
async def registry(body: bytes, status: int = 200) -> AsyncIterator[tuple[str, list[str]]]:
    """A registry that has one file, and what it was asked for."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=body, status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/npm/", asked
    finally:
        await runner.cleanup()


def pinned(monkeypatch: pytest.MonkeyPatch, body: bytes) -> bytes:
    """The body, which is now the one that is expected."""
    monkeypatch.setattr(package, "SHA512", hashlib.sha512(body).hexdigest())
    return body


def test_it_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time it comes from the cache; maps and other folders are left out."""
    more = {"package/dist/b.js.map": b"", "package/src/x.js": b""}
    body = pinned(monkeypatch, packed(GOOD | more))

    async def twice() -> tuple[list[Path], list[str]]:
        async with registry(body) as (url, asked):
            return [await package.pages(tmp_path / "c", url, None) for _ in range(2)], asked

    (first, second), asked = asyncio.run(twice())
    assert first == second
    assert asked == [f"/npm/@ohif/app/-/app-{package.VERSION}.tgz"]
    root = tmp_path / "c" / package.VERSION
    found = {f"package/{path.relative_to(root)}" for path in root.rglob("*") if path.is_file()}
    assert found == set(GOOD)
    assert [one.name for one in (tmp_path / "c").iterdir()] == [package.VERSION]


@pytest.mark.parametrize(("status", "said"), [(200, "SHA-512"), (404, "HTTP 404"), (302, "HTTP 302")])
def test_another_answer_is_not_taken(tmp_path: Path, status: int, said: str) -> None:
    """One with other bytes or another status leaves nothing in the cache."""

    async def once() -> None:
        async with registry(packed(GOOD), status) as (url, _):
            await package.pages(tmp_path, url, None)

    with pytest.raises(BadAnswer, match=said):
        asyncio.run(once())
    assert not list(tmp_path.iterdir())


def test_an_endless_answer_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a limit, whatever its digest would be."""
    monkeypatch.setattr(package, "_MOST_FETCHED", 100)

    async def once() -> None:
        async with registry(bytes(101)) as (url, _):
            await package.pages(tmp_path, url, None)

    with pytest.raises(BadAnswer, match="longer than 100 bytes"):
        asyncio.run(once())


def test_no_registry_is_told(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """With what to do about it."""
    with pytest.raises(Unavailable, match="--package"):
        asyncio.run(package.pages(tmp_path, f"http://127.0.0.1:{free_port()}", None))


def test_a_file_is_verified_like_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that somebody carried here is taken; anything else is a usage error."""
    file = tmp_path / "app.tgz"
    file.write_bytes(packed(GOOD))
    with pytest.raises(Misconfigured, match=r"app\.tgz is not @ohif/app"):
        asyncio.run(package.pages(tmp_path / "cache", "http://unused.invalid", file))
    pinned(monkeypatch, file.read_bytes())
    found = asyncio.run(package.pages(tmp_path / "cache", "http://unused.invalid", file))
    assert (found / "a/b.js").read_bytes() == b"1"


@pytest.mark.parametrize("inside", ["", "dist", "package/dist"])
def test_a_folder_is_taken_as_it_is(tmp_path: Path, inside: str) -> None:
    """The pages alone, or the package around them."""
    (tmp_path / inside).mkdir(parents=True, exist_ok=True)
    (tmp_path / inside / "index.html").touch()
    assert asyncio.run(package.pages(tmp_path / "cache", "", tmp_path)) == tmp_path / inside


def test_a_folder_without_pages_is_refused(tmp_path: Path) -> None:
    """As a usage error that names it."""
    with pytest.raises(Misconfigured, match=r"no index\.html"):
        asyncio.run(package.pages(tmp_path / "cache", "", tmp_path))


HOSTILE = {
    "upwards": packed({"package/dist/../../../x": b""}),
    "absolute": packed({"/package/dist/x": b""}),
    "elsewhere": packed({"other/x": b""}),
    "symbolic link": packed({}, link(tarfile.SYMTYPE)),
    "hard link": packed({}, link(tarfile.LNKTYPE)),
    "device": packed({}, link(tarfile.CHRTYPE)),
    "no archive": b"not gzip",
    "cut short": packed(GOOD)[:-40],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused(case: str, tmp_path: Path) -> None:
    """Nothing is written outside, and no link is made."""
    file = tmp_path / "in" / "x.tgz"
    file.parent.mkdir()
    file.write_bytes(HOSTILE[case])
    with pytest.raises(BadAnswer):
        package.unpack(file, tmp_path / "in" / "out")
    assert [one.name for one in tmp_path.iterdir()] == ["in"]
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize("limit", ["_MOST_FILES", "_MOST_UNPACKED"])
def test_an_archive_that_grows_is_refused(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the number of its files and by their size."""
    monkeypatch.setattr(package, limit, 2)
    file = tmp_path / "x.tgz"
    file.write_bytes(packed(GOOD))
    with pytest.raises(TooLarge):
        package.unpack(file, tmp_path / "out")
