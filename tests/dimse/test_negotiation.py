"""Which presentation contexts are accepted."""

import pytest
from pynetdicom import build_context
from pynetdicom.presentation import (
    AllStoragePresentationContexts,
    NonPatientObjectPresentationContexts,
    PresentationContext,
)

from pacsbridge.dimse.negotiation import (
    ABSTRACT_SYNTAX,
    ACCEPTED,
    USER_REJECTION,
    is_storage,
    negotiate,
    service_of,
)
from pacsbridge.dimse.settings import OFFERED

CT = "1.2.840.10008.5.1.4.1.1.2"
OTHERS = {
    "1.2.840.10008.5.1.4.1.2.2.1": "Study Root FIND",
    "1.2.840.10008.5.1.4.1.2.1.3": "Patient Root GET",
    "1.2.840.10008.5.1.4.31": "Modality Worklist",
    "1.2.840.10008.1.20.2": "Storage Commitment Pull Model",
    "1.2.840.10008.5.1.1.9": "Basic Grayscale Print Management",
    "1.2.840.10008.3.1.2.3.3": "Modality Performed Procedure Step",
    "1.2.840.10008.5.1.4.1.1.200.4": "Protocol Approval FIND",
    "1.2.840.10008.1.3.10": "Media Storage Directory",
    "1.2.840.10008.1.2.1": "a transfer syntax",
}


IMPLICIT, EXPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70"


def proposed(number: int, abstract: str, *transfers: str) -> PresentationContext:
    """A proposed context."""
    context = build_context(abstract, list(transfers) or None)
    context.context_id = number
    return context


@pytest.mark.parametrize(
    "context",
    [*AllStoragePresentationContexts, *NonPatientObjectPresentationContexts],
    ids=lambda c: c.abstract_syntax,
)
def test_every_storage_class_of_the_library_is_storage(context: PresentationContext) -> None:
    """Whatever pynetdicom knows as storage, we take."""
    assert is_storage(str(context.abstract_syntax))


@pytest.mark.parametrize(
    "uid", ["1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.9999", "1.2.840.113619.4.26"]
)
def test_private_and_future_classes_are_storage(uid: str) -> None:
    """What nobody knows is taken for storage: vendors' classes, and the standard's next ones."""
    assert is_storage(uid)


@pytest.mark.parametrize("uid", OTHERS, ids=OTHERS.values())
def test_other_services_are_not_storage(uid: str) -> None:
    """A class of another service is not accepted as if C-STORE could carry it."""
    (context,) = negotiate([proposed(1, uid)], OFFERED, OFFERED)
    assert service_of(uid) != "store"
    assert context.result == (ABSTRACT_SYNTAX if service_of(uid) is None else 0)


def test_the_first_proposed_transfer_syntax_is_taken_private_ones_too() -> None:
    """Each context gets the first of its own list, even when the class is proposed twice in another order."""
    private = "1.2.840.113619.5.2"
    contexts = [proposed(3, CT, "1.2.840.10008.1.2", private), proposed(1, CT, private, "1.2.840.10008.1.2")]
    first, second = negotiate(contexts, OFFERED, OFFERED)
    assert (first.context_id, first.transfer_syntax) == (1, [private])
    assert (second.context_id, second.transfer_syntax) == (3, ["1.2.840.10008.1.2"])


def test_services_can_be_off_or_forbidden() -> None:
    """A service that is switched off is unknown; one that this caller may not use is rejected."""
    contexts = [proposed(1, CT), proposed(3, "1.2.840.10008.1.1")]
    echo = frozenset({"echo"})
    assert [c.result for c in negotiate(contexts, echo, OFFERED)] == [ABSTRACT_SYNTAX, ACCEPTED]
    assert [c.result for c in negotiate(contexts, OFFERED, echo)] == [USER_REJECTION, ACCEPTED]


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ({}, IMPLICIT),
        ({CT: [JPEG]}, JPEG),
        ({CT: [JPEG, EXPLICIT]}, EXPLICIT),
        ({CT: ["1.2.840.10008.1.2.5"]}, IMPLICIT),
        ({"1.2.3": [JPEG]}, IMPLICIT),
    ],
)
def test_a_provider_gets_what_is_held(held: dict[str, list[str]], expected: str) -> None:
    """Of several transfer syntaxes the first proposed that is held, else the first."""
    context = proposed(1, CT, IMPLICIT, EXPLICIT, JPEG)
    [result] = negotiate([context], frozenset({"get"}), OFFERED, frozenset({CT}), held)
    assert (result.result, result.transfer_syntax) == (ACCEPTED, [expected])


def test_a_provider_needs_no_right_to_store() -> None:
    """Where the caller is the provider of a class its context is accepted, others of storage are not."""
    contexts = [proposed(1, CT), proposed(3, "1.2.840.10008.5.1.4.1.1.4")]
    results = negotiate(contexts, OFFERED, frozenset({"get"}), frozenset({CT}))
    assert [one.result for one in results] == [ACCEPTED, USER_REJECTION]
