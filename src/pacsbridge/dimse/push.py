"""C-STORE as a user of the service: files to another application entity (PS3.4 B)."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pynetdicom import AE

from pacsbridge.dimse.library_logs import hushed
from pacsbridge.errors import Unavailable

_SUCCESS = 0x0000


@hushed()
def push(paths: Iterable[Path], calling_ae: str, called_ae: str, host: str, port: int) -> int:
    """Send Part 10 files over one association; returns how many were taken.

    Raises Unavailable when there is no association, or when an instance is not taken.
    """
    instances = [dcmread(path) for path in paths]
    entity = AE(calling_ae)
    for sop_class, syntax in _contexts(instances):
        entity.add_requested_context(sop_class, syntax)
    assoc = entity.associate(host, port, ae_title=called_ae)
    if not assoc.is_established:
        raise Unavailable(f"{host}:{port} does not accept an association")
    try:
        for instance in instances:
            status = assoc.send_c_store(instance)
            if not status or status.Status != _SUCCESS:
                raise Unavailable(f"{host}:{port} did not take {instance.SOPInstanceUID}")
    finally:
        assoc.release()
    return len(instances)


def _contexts(instances: Sequence[FileDataset]) -> Sequence[tuple[str, str]]:
    """Each pair of SOP class and transfer syntax once; an association has room for 128."""
    pairs = {(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in instances}
    return sorted(pairs)
