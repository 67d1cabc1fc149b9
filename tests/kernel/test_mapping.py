"""The mapping table itself."""

from pacsbridge.kernel.attributes import ELEMENTS
from pacsbridge.kernel.mapping import ROWS, RULES
from pacsbridge.kernel.model import Level

NESTED = frozenset(
    """
    CodeMeaning CodeValue CodingSchemeUID LongCodeValue URNCodeValue
    LocalNamespaceEntityID UniversalEntityID UniversalEntityIDType PersonIdentificationCodeSequence
    SpecimenIdentifier IssuerOfTheSpecimenIdentifierSequence CodingSchemeDesignator
    ReferencedSeriesSequence ReferencedSOPSequence ReferencedSOPInstanceUID
    ScheduledProcedureStepID ScheduledProcedureStepDescription
    """.split()
)
"""Elements that stand in the items of sequences."""

ELSEWHERE = frozenset(
    {
        "SpecificCharacterSet",  # the header reader decodes by it
        "CodingSchemeIdentificationSequence",  # looked up by the items of code sequences
        "CurrentRequestedProcedureEvidenceSequence",  # what a rejection note rejects
    }
)


def test_rows_are_told_apart_by_level_and_name() -> None:
    """No fact has two rows."""
    names = [(row.level, row.name) for row in ROWS]
    assert len(set(names)) == len(names)


def test_rows_read_elements_of_the_dictionary() -> None:
    """Every keyword of a row is one that headers are read for."""
    assert {keyword for row in ROWS for keyword in row.keywords} <= ELEMENTS.keys()


def test_every_element_that_is_read_is_used() -> None:
    """Nothing is read out of headers for nobody."""
    used = {keyword for row in ROWS for keyword in row.keywords} | NESTED | ELSEWHERE
    assert used == set(ELEMENTS)


def test_rules_are_those_of_the_rows() -> None:
    """The store merges every field by the rule of its row."""
    assert set(RULES) == set(Level)
    assert all(RULES[row.level][row.name] is row.merge for row in ROWS)


def test_uids_alone_are_required() -> None:
    """A data set without any other attribute is taken."""
    required = [(row.level.value, row.name) for row in ROWS if row.required]
    assert required == [("study", "uid"), ("series", "uid"), ("instance", "uid"), ("instance", "sop_class")]
