"""A process that stores instances until it is killed, and says on stdout what has been acknowledged.

writer_process.py FOLDER THREADS APPENDS      a line "location sha256" for each; APPENDS 0: without end
"""

import os
import random
import sys
import threading
from hashlib import sha256
from pathlib import Path

import structlog

from pacsbridge.blobs.packs import Packs
from pacsbridge.errors import Unavailable


def store(packs: Packs, number: int) -> None:
    """One instance of random length, every tenth through a spool."""
    data = random.randbytes(random.choice([10, 1_000, 30_000, 400_000]))
    head = {"number": number, "sha256": sha256(data).hexdigest()}
    if number % 10:
        location = packs.append(head, [data[:7], data[7:]], b"PRELUDE")
    else:
        with packs.spool(b"PRELUDE") as spool:
            spool.write(data)
            location = packs.adopt(head, spool)
    os.write(1, f"{location.text} {head['sha256']}\n".encode())


def keep_storing(packs: Packs, appends: int) -> None:
    """Store again and again; what is refused is not acknowledged."""
    number = 0
    while number < appends or not appends:
        number += 1
        try:
            store(packs, number)
        except Unavailable as exc:
            os.write(1, f"refused {exc}\n".encode())


def main() -> None:
    """Store with several threads."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    folder, threads, appends = sys.argv[1:]
    packs = Packs(Path(folder), pack_bytes=2_000_000, min_free_bytes=0)
    workers = [threading.Thread(target=keep_storing, args=(packs, int(appends))) for _ in range(int(threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
