"""WADO-RS (PS3.18 10.4) at one archive: answers as they come, and instances out of multipart answers."""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from pacsbridge.errors import Absent, BadAnswer, NotUnderstood, TooLarge
from pacsbridge.kernel.multipart_reader import End, Event, MultipartReader
from pacsbridge.kernel.multipart_reader import Head as Head
from pacsbridge.remote.client import Client
from pacsbridge.remote.qido import Row, rows_of
from pacsbridge.remote.settings import ArchiveSettings
from pacsbridge.remote.transport import Stream

DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""Instances as they are stored there."""

_IN_MEMORY = 8 << 20
_MOST_PARTS = 100_000
_PATH = re.compile(r"/studies(?:/[A-Za-z0-9_][A-Za-z0-9._~,=@-]*)+", re.ASCII)
"""Nothing escaped: a server that unescapes before it looks for `/` and `..` would be led elsewhere."""
_BOUNDARY = re.compile(r"""boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;"]{1,70}))""", re.IGNORECASE)


class Wado:
    """Retrieval from one archive; threads may share it. `url` is its DICOMweb base.

    Parts are spooled, large ones in files of `folder`; those above `object_bytes` are not taken.
    """

    def __init__(
        self, settings: ArchiveSettings, folder: Path | None = None, object_bytes: int = 2 << 30
    ) -> None:
        self.url = settings.url.rstrip("/")
        self.name = settings.name
        self._client = Client(settings)
        self._folder = folder
        self._object_bytes = object_bytes

    def stream(self, path: str, accept: str, query: tuple[tuple[str, str], ...] = ()) -> Stream:
        """The answer to GET of a path below the base, from `/studies` on; to be closed by who takes it.

        Raises NotUnderstood for another path, else as `Client.stream`.
        """
        return self._client.stream(_checked(path), query, accept)

    def metadata(self, path: str) -> Sequence[Row]:
        """The DICOM JSON at a path, of a bounded length. Raises Absent for 404, else as `Client.get`."""
        answer = self._client.get(_checked(path), allowed=(404, 410))
        if answer.status in (404, 410):
            raise Absent("the archive does not have it")
        return rows_of(answer).rows

    def instances(self, path: str) -> Iterator[BinaryIO | None]:
        """The Part 10 files of a study, series or instance, one at a time: each is gone with the next.

        None while one is coming: whoever waits for it may look around.
        Raises as `stream`, and Unavailable or BadAnswer where the answer breaks off or is no such thing.
        """
        stream = self.stream(path, DICOM)
        try:
            yield from _parts(stream, self._spool, self._object_bytes)
        finally:
            stream.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _spool(self) -> BinaryIO:
        return cast(
            BinaryIO,
            tempfile.SpooledTemporaryFile(
                _IN_MEMORY, dir=None if self._folder is None else str(self._folder)
            ),
        )


def _checked(path: str) -> str:
    if len(path) > 2000 or not _PATH.fullmatch(path):
        raise NotUnderstood("not a path that an archive can be asked for")
    return path


def _parts(stream: Stream, spool: Callable[[], BinaryIO], most: int) -> Iterator[BinaryIO | None]:
    reader = multipart_reader(stream)
    part: BinaryIO | None = None
    try:
        for event in events(stream, reader):
            if isinstance(event, Head):
                part = spool()
            elif part is None:
                continue
            elif isinstance(event, End):
                part.seek(0)
                yield part
                part.close()
            else:
                _add(part, event, most)
                yield None
    finally:
        if part is not None:
            part.close()


def _add(part: BinaryIO, data: bytes, most: int) -> None:
    if part.tell() + len(data) > most:
        raise BadAnswer(f"an instance longer than {most} bytes")
    part.write(data)


def events(stream: Stream, reader: MultipartReader) -> Iterator[Event]:
    """The parts of an answer as they come. Raises BadAnswer for what is none or no whole one, Unavailable."""
    try:
        while data := stream.read():
            yield from reader.feed(data)
        yield from reader.close()
    except (NotUnderstood, TooLarge) as exc:
        raise BadAnswer(f"no multipart answer as it should be: {exc}") from exc


def multipart_reader(stream: Stream) -> MultipartReader:
    """What reads the parts of an answer, by its Content-Type (RFC 2387). Raises BadAnswer."""
    kind = stream.headers.get("Content-Type", "")
    boundary = _BOUNDARY.search(kind)
    if not kind.strip().lower().startswith("multipart/related") or boundary is None:
        raise BadAnswer("not multipart/related")
    try:
        return MultipartReader(boundary[1] or boundary[2], _MOST_PARTS)
    except NotUnderstood as exc:
        raise BadAnswer(str(exc)) from exc
