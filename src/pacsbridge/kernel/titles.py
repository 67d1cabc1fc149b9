"""What an instance is called, by its SOP class; and what a Key Object Selection document rejects."""

from collections.abc import Callable, Iterator

from pacsbridge.kernel import concepts
from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.model import Rejection
from pacsbridge.kernel.scope import Scope
from pacsbridge.kernel.values import clean, uid

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"

RETENTION_EXPIRED = "113039"
"""DCM code of a note that deletes, as against one that rejects."""

REJECTIONS = frozenset({"113001", "113037", "113038", RETENTION_EXPIRED})
"""DCM codes of rejection notes (PS3.16 CID 7011, IHE RAD 4.66 IOCM)."""

_STORAGE = "1.2.840.10008.5.1.4.1.1."


def title(attributes: Attributes, scope: Scope) -> str | None:
    """The title of an instance: of its document, its concept, its presentation state, else its Image Type."""
    sop_class = (attributes.text("SOPClassUID") or "").strip(" \0")
    for prefixes, converter in _TITLES:
        if sop_class.startswith(prefixes):
            return converter(attributes, scope) or None
    return _image_type(attributes, scope) or None


def _image_type(attributes: Attributes, _scope: Scope) -> str:
    values = attributes.texts("ImageType")
    return clean("\\".join(values)) if any(value.strip() for value in values) else ""


def _document_title(attributes: Attributes, scope: Scope) -> str:
    return scope.text(attributes, "DocumentTitle")


def _concept_name(attributes: Attributes, scope: Scope) -> str:
    item = attributes.item("ConceptNameCodeSequence")
    return concepts.meaning(item, scope) if item else ""


def _content_label(attributes: Attributes, scope: Scope) -> str:
    return scope.text(attributes, "ContentLabel")


_TITLES: tuple[tuple[tuple[str, ...], Callable[[Attributes, Scope], str]], ...] = (
    ((_STORAGE + "104.",), _document_title),
    ((_STORAGE + "88.", _STORAGE + "79.1"), _concept_name),
    ((_STORAGE + "11.",), _content_label),
)
"""Prefixes of SOP Class UIDs: encapsulated documents, structured reports, presentation states."""


def rejections(attributes: Attributes, scope: Scope) -> tuple[Rejection, ...]:
    """The instances that a rejection note names in its evidence (0040,A375); none for anything else."""
    if (attributes.text("SOPClassUID") or "").strip(" \0") != KEY_OBJECT_SELECTION:
        return ()
    reason = _rejection_code(attributes, scope)
    if reason is None:
        return ()
    found = {(study, sop): Rejection(study, sop, reason) for study, sop in _evidence(attributes)}
    return tuple(found.values())


def _rejection_code(attributes: Attributes, scope: Scope) -> str | None:
    item = attributes.item("ConceptNameCodeSequence")
    if item is None or scope.text(item, "CodingSchemeDesignator") != "DCM":
        return None
    code = concepts.code_value(item, scope)
    return code if code in REJECTIONS else None


def _evidence(attributes: Attributes) -> Iterator[tuple[str, str]]:
    """Study and SOP Instance UIDs of the Hierarchical SOP Instance Reference macro (PS3.3 Table C.17-3)."""
    for study in attributes.items("CurrentRequestedProcedureEvidenceSequence"):
        study_uid = uid(study.text("StudyInstanceUID") or "")
        for series in study.items("ReferencedSeriesSequence"):
            for instance in series.items("ReferencedSOPSequence"):
                sop_uid = uid(instance.text("ReferencedSOPInstanceUID") or "")
                if study_uid and sop_uid:
                    yield study_uid, sop_uid
