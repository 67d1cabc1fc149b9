"""kill -9 while four senders push: whatever was answered 0x0000 is there, whole, once, searchable."""

import random
import threading
from io import BytesIO
from typing import Any

import pytest
import requests
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE

CT = "1.2.840.10008.5.1.4.1.1.2"
ROUNDS = 10
SIZES = (10_000, 10_000, 10_000, 500_000, 500_000, 20_000_000)


def data_set(sender: int, number: int, size: int) -> Dataset:
    """One instance of a study of the sender's own."""
    ds = Dataset()
    ds.SOPClassUID = CT
    ds.StudyInstanceUID = f"1.2.826.0.1.3680043.8.498.1.{sender + 1}"
    ds.SeriesInstanceUID = f"{ds.StudyInstanceUID}.1"
    ds.SOPInstanceUID = f"{ds.SeriesInstanceUID}.{number + 1}"
    ds.PatientID, ds.PatientName, ds.Modality = f"CRASH{sender}", "Canary^Patient", "CT"
    ds.InstanceNumber = number + 1
    ds.add_new(0x7FE00010, "OW", random.Random(number).randbytes(size))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def encoded(ds: Dataset) -> bytes:
    """The data set in explicit VR little endian."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, ds)
    return stream.getvalue()


class Sender(threading.Thread):
    """Pushes instances from number `start` until the peer is gone; remembers what was acknowledged."""

    def __init__(self, port: int, number: int, start: int) -> None:
        super().__init__(name=f"sender{number}")
        self.port, self.number, self.first = port, number, start
        self.acknowledged: list[int] = []

    def run(self) -> None:
        """Until the association ends or 500 instances are sent."""
        ae = AE("SENDER")
        ae.add_requested_context(CT, ExplicitVRLittleEndian)
        assoc = ae.associate("127.0.0.1", self.port)
        for number in range(self.first, self.first + 500):
            if not assoc.is_established:
                return
            size = SIZES[number % len(SIZES)]
            try:
                status = assoc.send_c_store(data_set(self.number, number, size))
            except (RuntimeError, ValueError, OSError):
                return
            if status and status.Status == 0x0000:
                self.acknowledged.append(number)
        assoc.release()


def stored(bridge: Any, sender: int, number: int) -> bytes | None:
    """The encoded data set that the bridge serves for an instance."""
    ds = data_set(sender, number, 0)
    series = f"{bridge.dicomweb}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
    url = f"{series}/instances/{ds.SOPInstanceUID}"
    answer = requests.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"}, timeout=30)
    return encoded(dcmread(BytesIO(answer.content))) if answer.status_code == 200 else None


@pytest.mark.timeout(300)
def test_kill_loses_nothing_that_was_acknowledged(make_bridge: Any) -> None:
    """Ten rounds of kill at a random moment; then each acknowledged instance equals what was sent."""
    moments = random.Random(20260101)
    bridge = make_bridge()
    acknowledged: dict[int, list[int]] = {sender: [] for sender in range(4)}
    for _round in range(ROUNDS):
        bridge.start()
        senders = [Sender(bridge.dimse_port, n, max(acknowledged[n], default=-1) + 1) for n in range(4)]
        for sender in senders:
            sender.start()
        threading.Event().wait(moments.uniform(0.1, 1.5))
        bridge.kill()
        for sender in senders:
            sender.join()
            acknowledged[sender.number] += sender.acknowledged
    bridge.start()
    assert sum(map(len, acknowledged.values())) > 20
    for sender, numbers in acknowledged.items():
        for number in numbers:
            assert stored(bridge, sender, number) == encoded(
                data_set(sender, number, SIZES[number % len(SIZES)])
            )
    bridge.wait(lambda: covers(published(bridge), acknowledged), 60)


def covers(found: dict[int, set[int]], acknowledged: dict[int, list[int]]) -> bool:
    """Whether every acknowledged instance is listed."""
    return all(set(numbers) <= found.get(sender, set()) for sender, numbers in acknowledged.items())


def published(bridge: Any) -> dict[int, set[int]]:
    """Sender → numbers of the instances that its published study lists, each once."""
    found: dict[int, set[int]] = {}
    for study in bridge.studies().values():
        uids = [i["uid"] for series in study["series"] for i in series["instance"]]
        assert len(uids) == len(set(uids)) == study["numberOfInstances"]
        found[int(study["id"].rsplit(".", 1)[1]) - 1] = {int(uid.rsplit(".", 1)[1]) - 1 for uid in uids}
    return found
