"""Keeping what a retrieval has fetched from an archive: by the one way in, under a source of its own."""

from collections.abc import Callable

import structlog

from pacsbridge.blobs.spool import Spool
from pacsbridge.bridge.intake import Content, Incoming, Intake
from pacsbridge.bridge.retrieving import Instance
from pacsbridge.bridge.sources import Source
from pacsbridge.errors import PacsbridgeError, Unavailable, reason
from pacsbridge.kernel.identity import fetched_uri

log = structlog.get_logger("pacsbridge.bridge")

_PIECE = 1 << 20


class Keeping:
    """Takes fetched instances in; those above `in_memory` bytes through a file of their own."""

    def __init__(self, intake: Intake, source_of: Callable[[str], Source], in_memory: int) -> None:
        self._intake = intake
        self._source_of = source_of
        self._in_memory = in_memory

    def keep(self, archive: str, instance: Instance) -> None:
        """Make an instance of an archive (the URI of its source) durable.

        What cannot be kept is on record as a dead letter, and may be passed on all the same.
        """
        source = self._source_of(fetched_uri(archive))
        try:
            self._adopt(instance, source)
        except (PacsbridgeError, OSError) as fault:
            if isinstance(fault, Unavailable):  # what is bad is on record already
                self._intake.refuse(instance.sop_uid, source, reason(fault))
            log.warning(
                "fetched_not_kept",
                source=source.name,
                sop_instance_uid=instance.sop_uid,
                reason=reason(fault),
            )

    def _adopt(self, instance: Instance, source: Source) -> None:
        class_uid, uid, syntax = instance[:3]
        if instance.size > self._in_memory:
            with self._intake.spool(class_uid, uid, syntax) as spool:
                for piece in instance.pieces(_PIECE):
                    spool.write(piece)
                self._take(spool, instance, source)
        else:
            self._take(b"".join(instance.pieces(_PIECE)), instance, source)

    def _take(self, dataset: Content | Spool, instance: Instance, source: Source) -> None:
        class_uid, uid, syntax = instance[:3]
        self._intake.adopt(Incoming(dataset, syntax, source, class_uid, uid))
