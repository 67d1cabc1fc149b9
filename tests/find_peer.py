"""C-FIND as others do it: pynetdicom as the SCU, with identifiers that need not be legal."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from io import BytesIO

import pydicom.config
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

STUDY_ROOT, PATIENT_ROOT = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.1.1"
PENDING = (0xFF00, 0xFF01)

UNIQUE = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
"""Level → its unique key (PS3.4 C.6.1.1)."""


@contextlib.contextmanager
def anything_goes() -> Iterator[None]:
    """Lets pydicom encode and decode values that are not legal for their VR."""
    settings = pydicom.config.settings
    before = settings.reading_validation_mode, settings.writing_validation_mode
    settings.reading_validation_mode = settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        yield
    finally:
        settings.reading_validation_mode, settings.writing_validation_mode = before


@contextlib.contextmanager
def associated(port: int, options: bytes = b"") -> Iterator[Association]:
    """An association for both models; `options` are those of extended negotiation (PS3.4 C.5.2.1)."""
    entity, negotiations = AE("FINDER"), []
    for model in (STUDY_ROOT, PATIENT_ROOT):
        entity.add_requested_context(model)
        if options:
            item = SOPClassExtendedNegotiation()
            item.sop_class_uid, item.service_class_application_information = model, options
            negotiations.append(item)
    association = entity.associate("127.0.0.1", port, ext_neg=[*negotiations])
    assert association.is_established
    try:
        with anything_goes():
            yield association
    finally:
        association.release()


def query(level: str, character_set: str | Sequence[str] = "ISO_IR 192", **keys: object) -> Dataset:
    """An identifier; its unique key is asked for."""
    made = Dataset()
    made.SpecificCharacterSet = character_set if isinstance(character_set, str) else list(character_set)
    made.QueryRetrieveLevel = level
    for keyword, value in {UNIQUE[level]: "", **keys}.items():
        setattr(made, keyword, value)
    return made


def responses(
    association: Association, identifier: Dataset, model: str = STUDY_ROOT, number: int = 1
) -> Iterator[tuple[Dataset, Dataset | None]]:
    """Status and identifier of each response to a request of a number."""
    _until_paused(association, paused=False)
    return association.send_c_find(identifier, model, msg_id=number)


def find(
    association: Association, identifier: Dataset, model: str = STUDY_ROOT
) -> tuple[list[Dataset], Dataset]:
    """The identifiers of all answers, and the last status."""
    *pending, (last, _none) = responses(association, identifier, model)
    assert all(status.Status in PENDING for status, _identifier in pending)
    return [one for _status, one in pending if one is not None], last


def find_raw(association: Association, data: bytes, model: str = STUDY_ROOT) -> tuple[int, int, str]:
    """How a request with these bytes (Implicit VR Little Endian) is answered.

    The number of matches, the last status, the Error Comment. AssertionError where there is no answer.
    """
    request = C_FIND()
    request.MessageID, request.Priority, request.AffectedSOPClassUID = 7, 2, model
    request.Identifier = BytesIO(data) if data else None
    [context] = [one.context_id for one in association.accepted_contexts if one.abstract_syntax == model]
    assert context is not None
    _until_paused(association, paused=False)
    association._reactor_checkpoint.clear()
    number = 0
    try:
        _until_paused(association, paused=True)
        association.dimse.send_msg(request, context)
        while True:
            _context, answer = association.dimse.get_msg(block=True)
            assert isinstance(answer, C_FIND) and answer.Status is not None, "no answer"
            if answer.Status not in PENDING:
                return number, answer.Status, str(getattr(answer, "ErrorComment", None) or "")
            number += 1
    finally:
        association._reactor_checkpoint.set()


def _until_paused(association: Association, *, paused: bool) -> None:
    """Wait for the association's own thread, which would take answers that are not its own."""
    while association._is_paused is not paused:
        time.sleep(0.002)
