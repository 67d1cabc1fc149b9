"""DICOM encodings: headers and DICOM JSON in, Part 10 and DICOM JSON out. pydicom lives here.

`metadata` stands alone in its module: it is the only one that loads pydicom, which takes a while.
"""

from pacsbridge.dicom.dicom_json import from_json
from pacsbridge.dicom.files import find_files
from pacsbridge.dicom.part10 import neutral_preamble, part10_head
from pacsbridge.dicom.reader import DEFAULT, Header, Limits, read_header

__all__ = [
    "DEFAULT",
    "Header",
    "Limits",
    "find_files",
    "from_json",
    "neutral_preamble",
    "part10_head",
    "read_header",
]
