"""Every file that ships with pydicom, pushed by DCMTK: stored, or refused with a reason on record."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pydicom.data
import pytest
from r4_validation import assert_r4

FILES = Path(pydicom.data.__file__).parent
FOLDERS = (FILES / "test_files", FILES / "charset_files")
SUCCESS = "0x0000"


class Sent(NamedTuple):
    """One entry of a report of dcmsend; the UID is that of the data set, not that of the file meta."""

    uid: str
    status: str


@pytest.fixture
def report(bridge: Any, dcmtk: Any, tmp_path: Path) -> list[Sent]:
    """What dcmsend sent, and how each was answered."""
    path = tmp_path / "report"
    command = [dcmtk("dcmsend"), "--no-halt", "+sd", "+r", "--create-report-file", str(path)]
    subprocess.run(
        [*command, "127.0.0.1", str(bridge.dimse_port), *map(str, FOLDERS)], check=True, capture_output=True
    )
    return list(sent(path.read_text()))


def sent(text: str) -> Iterator[Sent]:
    """The instances of a report that reached the peer."""
    for block in text.split("\n\n"):
        uid = re.search(r"^SOP Instance  : (\S+)", block, re.MULTILINE)
        status = re.search(r"^DIMSE Status  : (0x[0-9a-fA-F]{4})", block, re.MULTILINE)
        file = re.search(r"^Filename      : (.+)", block, re.MULTILINE)
        if file and uid and status:
            yield Sent(str(pydicom.dcmread(file[1], force=True).get("SOPInstanceUID", uid[1])), status[1])


def test_each_file_is_stored_or_on_record(bridge: Any, report: list[Sent]) -> None:
    """What was answered with success is listed by a study; the rest are dead letters with a reason."""
    stored = {one.uid for one in report if one.status == SUCCESS}
    refused = [one for one in report if one.status != SUCCESS]
    assert len(stored) > 100
    bridge.wait(lambda: listed(bridge) >= stored)
    assert_r4(*bridge.studies().values())
    assert refused
    letters = json.loads(bridge.run("dead-letters", "list", "--json").stdout)
    assert sum(letter["attempts"] for letter in letters) == len(refused)
    assert all(letter["reason"] and letter["source"] == "urn:dicom:ae:DCMSEND" for letter in letters)


def listed(bridge: Any) -> set[str]:
    """Every SOP Instance UID of every published study."""
    studies = bridge.studies().values()
    return {one["uid"] for study in studies for series in study["series"] for one in series["instance"]}
