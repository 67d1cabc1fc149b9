"""kill -9 while four senders push: what was answered 0x0000 is there, whole, once, searchable."""

import random
import socket
import threading
from functools import cache
from typing import Any

import pytest
import requests
from benchmarks.sender import CT, associate_rq, command, p_data, pdu, status, uid
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

ROUNDS = 10
SENDERS = 4
MOST = 500
SIZES = (10_000, 10_000, 10_000, 500_000, 2_000_000)
"""The last is spooled and becomes a file of its own."""


@cache
def template(size: int) -> bytes:
    """An encoded CT instance with so many bytes of pixel data."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT, uid(1, 0)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(2, 0), uid(3, 0)
    ds.PatientID, ds.PatientName, ds.Modality = "CRASH", "Canary^Patient", "CT"
    ds.add_new(0x7FE00010, "OW", random.Random(size).randbytes(size))
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, ds)
    return stream.getvalue()


def sop_uid(sender: int, number: int) -> str:
    """The SOP Instance UID of a sender's instance."""
    return uid(1, sender * MOST * ROUNDS + number)


def encoded(sender: int, number: int) -> bytes:
    """The data set of a sender's instance; each sender has a study of its own."""
    data = template(SIZES[number % len(SIZES)])
    head, pixels = data[:1000], data[1000:]
    for kind, value in ((1, sop_uid(sender, number)), (2, uid(2, sender)), (3, uid(3, sender))):
        head = head.replace(uid(kind, 0).encode(), value.encode())
    return head + pixels


class Sender(threading.Thread):
    """Pushes instances from number `start` on until the peer is gone; remembers what was acknowledged."""

    def __init__(self, port: int, number: int, start: int) -> None:
        super().__init__(name=f"sender{number}")
        self.port, self.number, self.first = port, number, start
        self.acknowledged: list[int] = []

    def run(self) -> None:
        """Until the connection ends or MOST instances are sent."""
        try:
            self._push()
        except OSError:
            return

    def _push(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(associate_rq("PACSBRIDGE"))
            pdu(sock)
            for number in range(self.first, self.first + MOST):
                sock.sendall(p_data(command(1, sop_uid(self.number, number)), encoded(self.number, number)))
                if status(pdu(sock)[1]) == 0x0000:
                    self.acknowledged.append(number)


def stored(bridge: Any, sender: int, number: int) -> bytes:
    """The Part 10 bytes that the bridge serves for an instance."""
    url = f"{bridge.dicomweb}/studies/{uid(2, sender)}/series/{uid(3, sender)}"
    headers = {"Accept": "application/dicom; transfer-syntax=*"}
    answer = requests.get(f"{url}/instances/{sop_uid(sender, number)}", headers=headers, timeout=30)
    assert answer.status_code == 200, f"acknowledged and lost: sender {sender}, instance {number}"
    return answer.content


def listed(bridge: Any) -> dict[str, set[str]]:
    """Study UID → SOP Instance UIDs that the published study lists, each once."""
    found: dict[str, set[str]] = {}
    for study in bridge.studies().values():
        uids = [i["uid"] for series in study["series"] for i in series["instance"]]
        assert len(uids) == len(set(uids)) == study["numberOfInstances"]
        found[study["id"]] = set(uids)
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_kill_loses_nothing_that_was_acknowledged(
    make_bridge: Any, engine: str, request: pytest.FixtureRequest
) -> None:
    """Rounds of kill at a random moment; then every acknowledged instance is compared with what was sent."""
    config = ""
    if engine == "postgresql":
        config = f'[store]\nurl = "{request.getfixturevalue("empty_postgresql")}"\n'
    moments = random.Random(20260101)
    bridge = make_bridge(config, dimse="spool_bytes = 1000000")
    acknowledged: dict[int, list[int]] = {number: [] for number in range(SENDERS)}
    for _round in range(ROUNDS if engine == "sqlite" else 3):
        bridge.start()
        senders = [Sender(bridge.dimse_port, n, max(acknowledged[n], default=-1) + 1) for n in range(SENDERS)]
        for sender in senders:
            sender.start()
        threading.Event().wait(moments.uniform(0.05, 0.8))
        bridge.kill()
        for sender in senders:
            sender.join()
            acknowledged[sender.number] += sender.acknowledged
    bridge.start()
    assert sum(map(len, acknowledged.values())) > 10
    for sender, numbers in acknowledged.items():
        for number in numbers:
            assert stored(bridge, sender, number).endswith(encoded(sender, number))
    expected = {uid(2, n): {sop_uid(n, m) for m in numbers} for n, numbers in acknowledged.items()}
    bridge.wait(lambda: all(uids <= listed(bridge).get(study, set()) for study, uids in expected.items()), 60)
