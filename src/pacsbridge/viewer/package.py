"""OHIF's published build, the npm package @ohif/app: fetched once, verified, unpacked below a folder."""

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import aiohttp

from pacsbridge.errors import BadAnswer, Misconfigured, PacsbridgeError, TooLarge, Unavailable

VERSION = "3.13.2"
"""Later than 3.12.2: up to 3.12.0 a link could make the viewer give tokens away (CVE-2026-12473)."""

SHA512 = (
    "5997719a9986eeba85816f5924b71b82bdd70ad2e2d4a0cd3e831a798e4f3dee"
    "a3e06e1f8c48e393271933a0ba664d85f3b04ac457e9abe8dde715d907d13c10"
)
"""What the npm registry says of the file, in hexadecimal."""

NAME = f"app-{VERSION}.tgz"
REGISTRY = "https://registry.npmjs.org"

_ROOT = PurePosixPath("package")
_PAGES = "dist"
_LEFT_OUT = frozenset({".map"})
"""Suffixes of what only developers of the viewer need."""

_MOST_FETCHED = 64 << 20
_MOST_UNPACKED = 512 << 20
_MOST_FILES = 2000
_CHUNK = 1 << 18
_SECONDS = aiohttp.ClientTimeout(total=900, sock_connect=15, sock_read=60)


def url(registry: str) -> str:
    """Where a registry has the package."""
    return f"{registry.rstrip('/')}/@ohif/app/-/{NAME}"


async def pages(cache: Path, registry: str, given: Path | None) -> Path:
    """The folder with the viewer's `index.html`: that of `given`, a file or a folder; else of the cache.

    Fetches and unpacks into the cache what is not there. Raises Misconfigured when `given` is not the
    package, Unavailable and BadAnswer when the registry doesn't have it, OSError.
    """
    if given is not None and given.is_dir():
        return _index_below(given)
    kept = cache / VERSION
    if not kept.exists():
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _workshop(cache) as folder:
            file = given or await _fetched(url(registry), folder / NAME)
            _verify(file, Misconfigured if given else BadAnswer)
            unpack(file, folder / VERSION)
            _keep(folder / VERSION, kept)
    return _index_below(kept)


def _index_below(folder: Path) -> Path:
    """The package, unpacked, or the pages alone."""
    for one in (folder, folder / _PAGES, folder / _ROOT / _PAGES):
        if (one / "index.html").is_file():
            return one
    raise Misconfigured(f"{folder}: no index.html, here or in {_PAGES}")


@contextmanager
def _workshop(cache: Path) -> Iterator[Path]:
    """A folder for what is unfinished, on the cache's own disk; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="new-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(made: Path, kept: Path) -> None:
    """Whole or not at all; whoever was quicker has made the same."""
    try:
        made.rename(kept)
    except OSError:
        if not kept.exists():
            raise


async def _fetched(source: str, file: Path) -> Path:
    try:
        async with (
            aiohttp.ClientSession(timeout=_SECONDS, trust_env=True) as session,
            session.get(source) as response,
        ):
            await _write(response, source, file)
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise Unavailable(f"{source}: cannot be had ({type(exc).__name__}); --package takes a file") from exc
    return file


async def _write(response: aiohttp.ClientResponse, source: str, file: Path) -> None:
    if response.status != 200:
        raise BadAnswer(f"{source}: HTTP {response.status}; --package takes a file")
    size = 0
    with file.open("wb") as target:
        async for chunk in response.content.iter_chunked(_CHUNK):
            size += len(chunk)
            if size > _MOST_FETCHED:
                raise BadAnswer(f"{source}: longer than {_MOST_FETCHED} bytes")
            target.write(chunk)


def _verify(file: Path, fault: type[PacsbridgeError]) -> None:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha512").hexdigest()
    if digest != SHA512:
        raise fault(f"{file.name} is not @ohif/app {VERSION}: its SHA-512 is another")


def unpack(file: Path, folder: Path) -> None:
    """The licence and the pages of a package into a new folder.

    Only plain files at plain places are written: nothing outside, no links, no devices, no modes or owners.
    Raises BadAnswer for what is no such archive, TooLarge.
    """
    try:
        with tarfile.open(file, "r:gz") as archive:
            _unpack(archive, folder)
    except (tarfile.TarError, EOFError) as exc:
        raise BadAnswer(f"{file.name}: is damaged") from exc


def _unpack(archive: tarfile.TarFile, folder: Path) -> None:
    size = 0
    for number, member in enumerate(archive, 1):
        size += member.size
        if size > _MOST_UNPACKED or number > _MOST_FILES:
            raise TooLarge(f"the package has more than {_MOST_FILES} files or {_MOST_UNPACKED} bytes")
        place = _place(member)
        if place is not None:
            _copy(archive, member, folder / place)


def _place(member: tarfile.TarInfo) -> PurePosixPath | None:
    """Where it goes; None for what is left out. Raises BadAnswer for what may not be written."""
    path = PurePosixPath(member.name)
    if member.isdir():
        return None
    if not member.isfile() or path.is_absolute() or ".." in path.parts or path.parts[:1] != _ROOT.parts:
        raise BadAnswer("the package has a link, a device or a path that leads outside")
    inside = path.relative_to(_ROOT)
    wanted = inside.parts[0] in (_PAGES, "LICENSE") and path.suffix not in _LEFT_OUT
    return inside if wanted else None


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    source = archive.extractfile(member)
    if source is None:
        raise BadAnswer("the package has a file without content")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with source, os.fdopen(descriptor, "wb") as target:
        shutil.copyfileobj(source, target, _CHUNK)
