"""Sample studies for the demo: made-up patients, drawn pictures, and a few test files that come with pydicom.

Every patient, issuer and number is synthetic: names say so in their own language, identifiers stand in the
OID arc 2.999, which is kept for examples. The same bytes come out each time: UIDs are derived from names.

    model      what a study is made of     pictures   pixel data
    catalogue  the studies themselves      documents  PDF and structured report
"""

import io
from collections.abc import Mapping
from pathlib import Path

from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pacsbridge.samples.catalogue import studies
from pacsbridge.samples.model import Series, Study, Values, uid

__all__ = ["BUNDLED", "write_samples"]

BUNDLED = ("CT_small.dcm", "MR_small.dcm", "examples_rgb_color.dcm", "JPEG2000.dcm")
"""Real images in several encodings that are part of pydicom itself, so that nothing is downloaded."""


def write_samples(folder: Path) -> list[Path]:
    """Write all samples as Part 10 files below `folder`; returns their paths in order. Raises OSError."""
    written = [path for study in studies() for path in _write(study, folder / study.name)]
    return written + [_copy(name, folder / "bundled") for name in BUNDLED]


def _copy(name: str, folder: Path) -> Path:
    source = get_testdata_file(name, download=False)
    if not isinstance(source, str):
        raise FileNotFoundError(f"pydicom comes without {name}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(Path(source).read_bytes())
    return path


def _write(study: Study, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, series in enumerate(study.series, 1):
        for index in range(series.count):
            path = folder / f"{number:02}-{series.modality}-{index + 1:03}.dcm"
            path.write_bytes(_encoded(_instance(study, number, series, index)))
            paths.append(path)
    return paths


def _instance(study: Study, number: int, series: Series, index: int) -> Dataset:
    shared = {
        "SpecificCharacterSet": list(study.charset),
        "SOPClassUID": series.sop_class,
        "SOPInstanceUID": uid(study.name, number, index),
        "StudyInstanceUID": uid(study.name),
        "SeriesInstanceUID": uid(study.name, number),
        "Modality": series.modality,
        "SeriesNumber": number,
        "InstanceNumber": index + 1,
        "Manufacturer": "Example Imaging",
        "ReferringPhysicianName": "",
    }
    return _dataset({**shared, **study.values, **series.content(index), **series.values})


def _dataset(values: Values) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        items = isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
        setattr(ds, keyword, [_dataset(item) for item in value] if items else value)
    return ds


def _encoded(ds: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(uid("implementation"))
    meta.ImplementationVersionName = "SAMPLES"
    buffer = io.BytesIO()
    file = FileDataset(buffer, ds, preamble=bytes(128), file_meta=meta)
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
