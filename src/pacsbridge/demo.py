"""`pacsbridge demo`: the main job on sample studies, in a temporary folder."""

import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pacsbridge.config import Config, load
from pacsbridge.dimse.push import push
from pacsbridge.kernel.query import Query
from pacsbridge.render.pool import missing
from pacsbridge.runtime import Runtime
from pacsbridge.samples import write_samples

_QUIET_SECONDS = 0.5


@contextmanager
def settings(dimse_port: int, http_port: int) -> Iterator[Config]:
    """Defaults over a folder that is removed at the end; a port that is taken gives way to a free one."""
    with tempfile.TemporaryDirectory(prefix="pacsbridge-demo-") as folder:
        environ = {
            "PACSBRIDGE__DATA_DIR": folder,
            "PACSBRIDGE__DIMSE__PORT": str(_free(dimse_port)),
            "PACSBRIDGE__FHIR__PORT": str(_free(http_port)),
            "PACSBRIDGE__FHIR__QUIET_SECONDS": str(_QUIET_SECONDS),
            "PACSBRIDGE__LOG__LEVEL": "warning",
            "PACSBRIDGE__BLOBS__MIN_FREE_BYTES": "0",
            "PACSBRIDGE__DICOMWEB__RENDER": "false" if missing() else "true",
        }
        yield replace(load(None, environ), file=None)


def _free(wanted: int) -> int:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", wanted))
        except OSError:
            sock.bind(("127.0.0.1", 0))
            sys.stderr.write(f"port {wanted} is taken, using {sock.getsockname()[1]}\n")
        return int(sock.getsockname()[1])


def fill(running: Runtime) -> str:
    """Push the sample studies by C-STORE, wait until they are published; what to print."""
    config = running.settings
    with tempfile.TemporaryDirectory(prefix="pacsbridge-samples-") as folder:
        sent = push(
            write_samples(Path(folder)), "DEMO", config.dimse.ae_title, "127.0.0.1", running.dimse.port
        )
    running.intake.indexer.drain()
    running.publisher.publish_all()
    return _invitation(running, sent)


def _invitation(running: Runtime, sent: int) -> str:
    fhir, dicomweb = running.settings.fhir.base_url, running.settings.dicomweb.base_url
    dimse = running.dimse.port
    study = running.store.search(Query("ImagingStudy", count=1)).entries[0].id
    picture = f"\n  curl -o thumbnail.jpg '{dicomweb}/studies/{study}/thumbnail'"
    return f"""
pacsbridge has received {sent} sample instances by C-STORE and published them.

  Pages      {fhir.removesuffix("/fhir")}/
  FHIR       {fhir}
  DICOMweb   {dicomweb}
  DIMSE      {running.settings.dimse.ae_title} at 127.0.0.1:{dimse}

Try, in another terminal:

  curl '{fhir}/metadata'
  curl '{fhir}/ImagingStudy?_count=3&_pretty=true'
  curl '{fhir}/ImagingStudy/{study}?_pretty=true'
  curl '{fhir}/ImagingStudy?identifier=urn:dicom:uid%7Curn:oid:{study}'
  curl '{fhir}/ImagingStudy?modality=CT&_sort=-started&_include=ImagingStudy:patient&_pretty=true'
  curl '{fhir}/ImagingStudy/_history?_count=5&_pretty=true'
  curl '{dicomweb}/studies/{study}/metadata'
  curl -o study.multipart '{dicomweb}/studies/{study}'{picture if running.settings.dicomweb.render else ""}

Push a study of your own (DCMTK):

  storescu -aec {running.settings.dimse.ae_title} 127.0.0.1 {dimse} FILE.dcm

Look at the pictures (OHIF, fetched once):

  pacsbridge viewer --dicomweb {dicomweb}

Ctrl-C ends it; the folder goes with it.
"""
