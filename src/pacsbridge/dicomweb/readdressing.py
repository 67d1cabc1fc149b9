"""Answers of archives with our addresses in place of theirs: DICOM JSON (PS3.18 F) and multipart messages."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from pacsbridge.remote.client import origin_of
from pacsbridge.remote.transport import Stream
from pacsbridge.remote.wado import Head, events, multipart_reader

_RETRIEVE_URL = "00081190"
_PART_FIELDS = ("content-type", "content-encoding", "content-transfer-encoding")
"""Header fields of a part that a client gets; Content-Location only as ours."""


@dataclass(frozen=True, slots=True)
class Move:
    """From an archive's DICOMweb base to ours; both without a trailing slash."""

    theirs: str
    ours: str

    def link(self, uri: str) -> str | None:
        """Where a URI of the archive stands with us; None for what cannot be had here.

        That is what stands on another origin or beside the archive's studies, and what has a query.
        """
        try:
            absolute = urljoin(f"{self.theirs}/", uri)
            place = urlsplit(absolute)
            same = origin_of(absolute) == origin_of(self.theirs)
        except ValueError:
            return None
        base = urlsplit(self.theirs).path
        inside = same and not place.query and place.path.startswith(f"{base}/studies/")
        return self.ours + place.path[len(base) :] if inside else None

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A DICOM JSON object whose links lead to us; those that cannot be had here are left out."""
        found = {tag: self._element(element) for tag, element in row.items() if tag != _RETRIEVE_URL}
        if _RETRIEVE_URL in row and (links := list(self._links(row[_RETRIEVE_URL]))):
            found[_RETRIEVE_URL] = {"vr": "UR", "Value": links}
        return found

    def _links(self, element: Any) -> Iterator[str]:
        values = element.get("Value") if isinstance(element, dict) else None
        for value in values if isinstance(values, list) else ():
            if link := self.link(str(value)):
                yield link

    def _element(self, element: Any) -> Any:
        if not isinstance(element, dict):
            return element
        found = dict(element)
        if "BulkDataURI" in found and (link := self.link(str(found.pop("BulkDataURI")))):
            found["BulkDataURI"] = link
        if found.get("vr") == "SQ" and isinstance(found.get("Value"), list):
            found["Value"] = [self.row(item) if isinstance(item, dict) else item for item in found["Value"]]
        return found

    def parts(self, stream: Stream) -> Iterator[bytes]:
        """A multipart answer under its own boundary, in pieces; blocks.

        Raises as `Wado.instances`: an answer that breaks off does not end as if it were whole.
        """
        reader = multipart_reader(stream)
        lead = f"--{reader.boundary}"
        for event in events(stream, reader):
            if isinstance(event, Head):
                yield f"{lead}\r\n{self._kept(event.headers)}\r\n".encode("latin-1")
                lead = f"\r\n--{reader.boundary}"
            elif isinstance(event, bytes):
                yield event
        yield f"{lead}--\r\n".encode("latin-1")

    def _kept(self, headers: Mapping[str, str]) -> str:
        found = {name: headers[name] for name in _PART_FIELDS if name in headers}
        if link := self.link(headers.get("content-location", ":")):
            found["content-location"] = link
        return "".join(f"{name.title()}: {value}\r\n" for name, value in found.items())
