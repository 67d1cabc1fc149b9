"""The one oracle of all fault tests: what must hold of a bridge after every fault, and whatever has happened.

I1  each instance answered 0x0000 is stored, with equal hash, once
I2  no resource refers to what is missing; its counts equal the rows
I3  every non-success is on record with a reason
I4  threads, descriptors and temporary files are back at their baseline within 30 s
I5  memory stays under its limit
I6  versions only rise
I7  the canary, the patient name of the run, stands in no log, metric or error body
"""

import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any

import psutil
import requests
import sqlalchemy as sa
from pushing import SUCCESS, echo
from running_bridge import Bridge

from pacsbridge.blobs.lookup import Lookup
from pacsbridge.blobs.objects import Objects

SETTLING = 30.0
"""Seconds until everything is back at its baseline (I4)."""

SPARE_THREADS, SPARE_DESCRIPTORS = 12, 30
"""Threads of pools are made when they are needed first, and readers of the database with them."""


class Oracle:
    """Remembers what one bridge promised, and checks it; the bridge may run or stand still.

    `url`: the address of the database where it is no file of the data directory.
    """

    def __init__(self, bridge: Bridge, url: str | None = None) -> None:
        self.bridge = bridge
        self.canary = f"Canary{secrets.token_hex(4)}^Patient"
        self.acknowledged: dict[str, bytes] = {}
        self.declined: dict[str, int] = {}
        self.statuses: Counter[int] = Counter()
        self.error_bodies: list[bytes] = []
        self._url = url
        self._versions: dict[tuple[str, str], int] = {}
        self._resting: tuple[int, int, int] | None = None
        self._lock = threading.Lock()

    def note(self, sop_uid: str, data: bytes, status: int) -> None:
        """An answer to a C-STORE, or to one instance of a STOW-RS request."""
        with self._lock:
            self.statuses[status] += 1
            if status == SUCCESS:
                self.acknowledged[sop_uid] = sha256(data).digest()
                self.declined.pop(sop_uid, None)
            elif sop_uid not in self.acknowledged:
                self.declined[sop_uid] = status

    def answered(self, response: requests.Response) -> requests.Response:
        """An HTTP answer: bodies of errors are searched for the canary."""
        if response.status_code >= 400:
            self.error_bodies.append(response.content)
        return response

    def check(self, *, seconds: float = 60, settled: bool = False) -> None:
        """I1, I2, I3, I6, I7, each as soon as the index has caught up; with `settled` I4 too."""
        self.stored(seconds)
        self.consistent(seconds)
        self.on_record()
        self.rising()
        self.discreet()
        if settled:
            self.settled()

    # I1

    def stored(self, seconds: float = 60) -> None:
        """I1, by the index and the bytes in the data directory, without asking the bridge."""
        held: dict[str, list[tuple[str, bytes]]] = {}
        faults: list[str] = []

        def complete() -> bool:
            held.clear()
            for uid, location, digest in self.rows("SELECT uid, location, sha256 FROM instance"):
                held.setdefault(uid, []).append((location, bytes(digest)))
            faults[:] = [f"lost: {uid}" for uid in self.acknowledged.keys() - held.keys()]
            faults.extend(
                f"other bytes are indexed of {uid}"
                for uid, digest in self.acknowledged.items()
                if uid in held and digest not in {one for _location, one in held[uid]}
            )
            return not faults

        within(complete, seconds, lambda: str(faults[:3]))
        lookup = Lookup(self.bridge.data_dir / "packs", Objects(self.bridge.data_dir / "objects"))
        for uid, digest in self.acknowledged.items():
            [(location, indexed)] = held[uid]
            blob, hasher = lookup.open(location), sha256()
            for chunk in blob.chunks(start=blob.prelude_size):
                hasher.update(chunk)
            assert hasher.digest() == indexed == digest, f"other bytes are stored of {uid}"

    # I2

    def consistent(self, seconds: float = 60) -> None:
        """I2, by the published documents and the tables."""
        faults: list[str] = []

        def sound() -> bool:
            faults[:] = self._faults()
            return not faults

        within(sound, seconds, lambda: str(faults[:5]))

    def _faults(self) -> list[str]:
        documents = self.documents()
        faults: list[str] = []
        rows: dict[str, Counter[str]] = {}
        for study, series in self.rows(
            "SELECT study.uid, series.uid FROM instance JOIN study ON study.pk = instance.study "
            "JOIN series ON series.pk = instance.series"
        ):
            rows.setdefault(study, Counter())[series] += 1
        studies = {uid: one for (kind, uid), one in documents.items() if kind == "ImagingStudy"}
        faults += [f"not published: {uid}" for uid in rows.keys() - studies.keys()]
        for uid, one in studies.items():
            faults += self._faults_of(uid, one, rows.get(uid, Counter()), documents)
        return faults

    @staticmethod
    def _faults_of(
        uid: str, study: Mapping[str, Any], rows: Mapping[str, int], documents: Mapping[Any, Any]
    ) -> Iterator[str]:
        listed = {one["uid"]: len(one.get("instance", ())) for one in study.get("series", ())}
        if listed != dict(rows):
            yield f"{uid} lists {sum(listed.values())} instances of {sum(rows.values())}"
        counts = (study.get("numberOfSeries"), study.get("numberOfInstances"))
        if counts != (len(listed), sum(listed.values())):
            yield f"{uid} counts {counts}"
        references = [study["subject"], *study.get("endpoint", ())]
        for one in study.get("series", ()):
            references += one.get("endpoint", ())
            uids = [instance["uid"] for instance in one.get("instance", ())]
            if len(uids) != len(set(uids)):
                yield f"{uid} lists an instance twice"
        for one in references:
            kind, _, target = one.get("reference", "").partition("/")
            if target and (kind, target) not in documents:
                yield f"{uid} refers to {one['reference']}"

    def documents(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The current resources that are not deleted, by type and id, as they were published."""
        found = self.rows(
            "SELECT r.type, r.id, v.body FROM resource r JOIN version v "
            "ON v.resource = r.pk AND v.version = r.version WHERE NOT r.deleted"
        )
        return {(kind, name): json.loads(bytes(body)) for kind, name, body in found}

    # I3

    def on_record(self) -> None:
        """I3: a dead letter, or for what may be sent again a line of the log, either with its reason."""
        letters = {key for key, reason in self.rows("SELECT key, reason FROM dead_letter") if reason}
        logged = {
            line.get("sop_instance_uid")
            for line in self.log_lines()
            if line.get("event") == "instance refused" and line.get("reason")
        }
        assert self.declined.keys() <= letters | logged, sorted(self.declined.keys() - letters - logged)[:5]

    def log_lines(self) -> Iterator[dict[str, Any]]:
        """The lines of the log that are JSON."""
        for line in self.bridge.log.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict):
                    yield found

    # I4, I5

    def process(self) -> psutil.Process:
        """The running bridge."""
        assert self.bridge.process is not None
        return psutil.Process(self.bridge.process.pid)

    def usage(self) -> tuple[int, int, int]:
        """Threads, descriptors, temporary files."""
        process = self.process()
        incoming = self.bridge.data_dir / "incoming"
        return process.num_threads(), process.num_fds(), len(list(incoming.iterdir()))

    def rest(self) -> tuple[int, int, int]:
        """Note the baseline of I4, once everything that is made on first use has been used."""
        with ThreadPoolExecutor(16) as pool:
            urls = [f"{self.bridge.fhir}/ImagingStudy?_count=1", f"{self.bridge.dicomweb}/studies?limit=1"]
            list(pool.map(lambda url: requests.get(url, timeout=30), urls * 24))
            list(pool.map(lambda _number: echo(self.bridge.dimse_port, tls=self.bridge.dimse_tls), range(4)))
        time.sleep(1)
        self._resting = self.usage()
        return self._resting

    def settled(self, seconds: float = SETTLING) -> None:
        """I4, against what `rest` noted."""
        assert self._resting is not None, "rest() comes before the attack"
        threads, descriptors, files = self._resting
        most = (threads + SPARE_THREADS, descriptors + SPARE_DESCRIPTORS, files)

        def calm() -> bool:
            return all(now <= limit for now, limit in zip(self.usage(), most, strict=True))

        within(calm, seconds, lambda: f"{self.usage()} is more than {most}")

    def peak(self) -> int:
        """The most memory, in MiB, that the running bridge has taken since `begin_peak`."""
        return self._memory("VmHWM")

    def resident(self) -> int:
        """The memory, in MiB, that the running bridge takes now."""
        return self._memory("VmRSS")

    def begin_peak(self) -> int:
        """Forget the peak; the memory, in MiB, that is taken now."""
        with open(f"/proc/{self.process().pid}/clear_refs", "w") as file:
            file.write("5")
        return self.peak()

    def _memory(self, name: str) -> int:
        with open(f"/proc/{self.process().pid}/status") as file:
            line = next(line for line in file if line.startswith(name))
        return int(line.split()[1]) >> 10

    @contextmanager
    def bounded(self, mebibytes: int) -> Iterator[None]:
        """I5: what is done inside takes at most so much memory beyond what is taken now."""
        before = self.begin_peak()
        yield
        grown = self.peak() - before
        print(f"memory: {before} MiB before, at most {grown} MiB more")
        assert grown <= mebibytes, f"{grown} MiB more"

    # I6

    def rising(self) -> None:
        """I6: no resource has a lower version than at the check before, and none has a gap."""
        found = {(kind, name): int(version) for kind, name, version in self.rows(_VERSIONS)}
        for key, version in self._versions.items():
            assert found.get(key, 0) >= version, f"{key} went from version {version} to {found.get(key)}"
        gaps = [(kind, name) for kind, name, version, count in self.rows(_COUNTED) if version != count]
        assert not gaps, f"versions are missing of {gaps[:3]}"
        self._versions = found

    # I7

    def discreet(self) -> None:
        """I7, in the log, the metrics of a bridge that runs, and the bodies of errors."""
        texts = [self.bridge.log.read_bytes(), *self.error_bodies]
        if self.bridge.process is not None and self.bridge.process.poll() is None:
            texts.append(requests.get(f"{self.bridge.root}/metrics", timeout=30).content)
        family = self.canary.partition("^")[0].encode()
        for text in texts:
            at = text.find(family)
            assert at < 0, f"the canary's name has been written: {text[max(at - 200, 0) : at + 100]!r}"

    # the database

    def rows(self, statement: str) -> Sequence[Sequence[Any]]:
        """The rows of a statement, read past the bridge's own code."""
        engine = sa.create_engine(self._address(), poolclass=sa.NullPool)
        try:
            with engine.connect() as connection:
                return list(connection.execute(sa.text(statement)))
        finally:
            engine.dispose()

    def _address(self) -> str:
        if self._url is None:
            return f"sqlite:///{self.bridge.data_dir / 'index.sqlite'}"
        return self._url.replace("postgresql://", "postgresql+psycopg://")


_VERSIONS = "SELECT type, id, version FROM resource"
_COUNTED = (
    "SELECT r.type, r.id, r.version, count(*) FROM resource r JOIN version v ON v.resource = r.pk "
    "GROUP BY r.type, r.id, r.version"
)


def within(condition: Callable[[], bool], seconds: float, fault: Callable[[], str]) -> None:
    """Wait until the condition holds; AssertionError with the fault at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, fault()
        time.sleep(0.1)
