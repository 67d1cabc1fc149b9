"""The demo's sample studies."""

from collections import defaultdict
from pathlib import Path

import pydicom
import pytest

from pacsbridge.dicom.reader import read_header
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.identity import Context
from pacsbridge.samples import BUNDLED, write_samples

OWN_STUDIES = 6


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All samples, written once."""
    return write_samples(tmp_path_factory.mktemp("samples"))


def test_same_bytes_each_time(samples: list[Path], tmp_path: Path) -> None:
    """A demo that is started twice pushes the same instances."""
    again = write_samples(tmp_path)
    assert [path.name for path in again] == [path.name for path in samples]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(samples, again, strict=True))


def test_pydicom_reads_them_without_complaint(samples: list[Path]) -> None:
    """Each is a valid Part 10 file; its values decode and its pixels have the length that they should."""
    for path in (path for path in samples if path.name not in BUNDLED):
        ds = pydicom.dcmread(path)
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.SOPInstanceUID.is_valid
        ds.to_json_dict()
        if "PixelData" in ds:
            bits = ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated
            assert len(ds.PixelData) * 8 == bits


def test_studies_series_and_instances(samples: list[Path]) -> None:
    """Several studies of several series; no SOP Instance UID twice."""
    series: dict[str, set[str]] = defaultdict(set)
    instances = set()
    for path in samples:
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        series[ds.StudyInstanceUID].add(ds.SeriesInstanceUID)
        instances.add(ds.SOPInstanceUID)
    assert len(instances) == len(samples)
    assert len(series) == OWN_STUDIES + len(BUNDLED)
    assert max(len(found) for found in series.values()) == 5


def test_report_refers_to_what_is_there(samples: list[Path]) -> None:
    """The structured report names images that are among the samples."""
    datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in samples]
    known = {ds.SOPInstanceUID for ds in datasets}
    (report,) = (ds for ds in datasets if ds.Modality == "SR")
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert {item.ReferencedSOPInstanceUID for item in evidence.ReferencedSOPSequence} <= known


def test_pacsbridge_understands_them(samples: list[Path]) -> None:
    """The bridge's own reader and mapping take every sample."""
    for path in samples:
        facts = extract(read_header(path.read_bytes()).attributes, Context())
        assert facts.instance["uid"] == pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID


def test_names_in_three_groups(samples: list[Path]) -> None:
    """The Japanese sample keeps its ideographs and its kana through code extensions."""
    knee = next(path for path in samples if path.parent.name == "mr-knee")
    name = pydicom.dcmread(knee, stop_before_pixels=True).PatientName
    assert (name.ideographic, name.phonetic) == ("見本^太郎", "みほん^たろう")
