"""A plain pynetdicom storage SCP to measure against: `python peer_pynetdicom.py PORT [FOLDER]`.

Without a folder it answers 0x0000 at once; with one it writes each instance to a file and syncs it first.
"""

import os
import sys
from pathlib import Path

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.events import Event

_FOLDER = Path(sys.argv[2]) if len(sys.argv) > 2 else None


def _store(event: Event) -> int:
    if _FOLDER is not None:
        descriptor = os.open(
            _FOLDER / f"{event.request.AffectedSOPInstanceUID}.dcm", os.O_CREAT | os.O_WRONLY
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fsync(file.fileno())
    return 0x0000


def main() -> None:
    """Serve until killed."""
    ae = AE(ae_title="PEER")
    ae.supported_contexts = AllStoragePresentationContexts
    for context in ae.supported_contexts:
        context.transfer_syntax = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
    ae.start_server(("127.0.0.1", int(sys.argv[1])), evt_handlers=[(evt.EVT_C_STORE, _store)])


if __name__ == "__main__":
    main()
