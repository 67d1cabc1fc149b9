"""DICOMweb (PS3.18) over what the bridge holds: WADO-RS retrieval of studies, series, instances and metadata.

app        routes, settings               retrieve   GET of the instances themselves
accept     Accept negotiation             metadata   GET of their DICOM JSON
multipart  part heads, lengths            stream     bytes from the packs to the socket
faults     errors → status and JSON       target     UIDs of a URL → what is held
store      POST of instances               receiving  one instance while it arrives
receipt    what a client is told of it     multipart_reader  bytes of a body → its parts
frames     GET of frames, their index      bulkdata   GET of values that metadata name
media      their media types               pieces     bytes of a value, by ranges
sending    an answer of pieces: ranges of bytes, conditions
"""

from pacsbridge.dicomweb.app import dicomweb_app
from pacsbridge.dicomweb.service import DicomwebSettings

__all__ = ["DicomwebSettings", "dicomweb_app"]
