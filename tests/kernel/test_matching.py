"""Attribute matching of PS3.4 C.2.2.2: a table of cases, and properties against plain definitions."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.matching import DAY, Moment, condition, folded, pattern, satisfies, span

HOUR = 3600 * 1_000_000

MATCHING = [
    # VR, values of the query, values of the record, whether they match
    ("LO", ["HEAD"], ["HEAD"], True),
    ("LO", ["HEAD"], ["Head"], False),
    ("LO", ["HE*"], ["HEAD"], True),
    ("LO", ["HE*"], ["head"], False),
    ("LO", ["?EAD"], ["HEAD"], True),
    ("LO", ["?EAD"], ["EAD"], False),
    ("LO", ["A.C"], ["ABC"], False),
    ("LO", ["[AB]C"], ["AC"], False),
    ("LO", ["100%"], ["100"], False),
    ("LO", ["A"], ["B", "A"], True),
    ("CS", ["CT", "MR"], ["MR"], True),
    ("CS", ["CT", "MR"], ["US"], False),
    ("UI", ["1.2.3"], ["1.2.3"], True),
    ("UI", ["1.2.3", "1.2.4"], ["1.2.4"], True),
    ("UI", ["1.2"], ["1.2.3"], False),
    ("IS", ["7"], ["07"], True),
    ("IS", ["7"], ["70"], False),
    ("US", ["512"], ["512"], True),
    ("DA", ["20200131"], ["20200131"], True),
    ("DA", ["2020.01.31"], ["20200131"], True),
    ("DA", ["20200101-20200131"], ["20200131"], True),
    ("DA", ["20200101-20200130"], ["20200131"], False),
    ("DA", ["20200131-"], ["20200131"], True),
    ("DA", ["-20200130"], ["20200131"], False),
    ("DA", ["202001"], ["20200131"], True),
    ("DA", ["20200131"], ["none"], False),
    ("TM", ["10"], ["105959"], True),
    ("TM", ["1000"], ["100059.5"], True),
    ("TM", ["100000"], ["1000"], True),
    ("TM", ["1000-1030"], ["103059"], True),
    ("TM", ["1000-1030"], ["1031"], False),
    ("TM", ["-0959"], ["10"], False),
    ("TM", ["10:00:00"], ["100000.000"], True),
    ("DT", ["20200131-20200201"], ["20200131120000+0100"], True),
    ("DT", ["2020-2021"], ["20211231"], True),
    ("DT", ["202001311200-"], ["20200131115959"], False),
    ("DT", ["20200131120000-0500"], ["20200131120000"], True),
    ("PN", ["doe^jane"], ["Doe^Jane"], True),
    ("PN", ["Müller"], ["MULLER^^^"], True),
    ("PN", ["DOE*"], ["Doe^Jane"], True),
    ("PN", ["DOE"], ["Doe^Jane"], False),
    ("PN", ["Yamada^Tarou"], ["Yamada^Tarou=山田^太郎=やまだ^たろう"], True),
    ("PN", ["山田*"], ["Yamada^Tarou=山田^太郎=やまだ^たろう"], True),
    ("PN", ["Yamada^Tarou=山田^太郎"], ["Yamada^Tarou=山田^太郎"], True),
    ("PN", ["SMITH^*"], ["Smith"], True),
    ("PN", ["SMITH^*"], ["Smithson"], False),
    ("PN", ["SMI*^*"], ["Smith"], True),
    ("PN", ["=山田*"], ["Yamada^Tarou=山田^太郎"], True),
    ("PN", ["=山田*"], ["山田^太郎"], False),
    ("PN", ["か"], ["が"], False),
    ("PN", [" Doe ^ Jane "], ["Doe^Jane"], True),
]


@pytest.mark.parametrize(("vr", "sought", "values", "expected"), MATCHING)
def test_values_match_as_the_standard_says(
    vr: str, sought: list[str], values: list[str], expected: bool
) -> None:
    """Single values, lists, wildcards, ranges and names, each by the rules of its VR."""
    found = condition("key", vr, sought)
    assert found is not None
    assert found.holds(values) is expected


@pytest.mark.parametrize("values", [[], [""], ["*"], ["**"]])
@pytest.mark.parametrize("vr", ["LO", "PN", "DA", "UI", "IS"])
def test_universal_matching_is_no_condition(vr: str, values: list[str]) -> None:
    """An empty value asks for nothing, and an asterisk alone means the same, whatever the VR."""
    assert condition("key", vr, values) is None


@pytest.mark.parametrize(
    ("vr", "values"),
    [
        ("DA", ["yesterday"]),
        ("DA", ["20201301"]),
        ("DA", ["20200101-20200131-20200201"]),
        ("DA", ["-"]),
        ("DA", ["2020*"]),
        ("TM", ["2500"]),
        ("TM", ["10-xx"]),
        ("DT", ["soon"]),
        ("UI", ["1.2.x"]),
        ("UI", ["1.2.*"]),
        ("UI", ["1" * 65]),
        ("IS", ["seven"]),
        ("PN", ["Doe", "Roe"]),
        ("LO", ["A*", "B"]),
        ("LO", ["*a" * 20]),
    ],
)
def test_what_is_no_value_is_refused(vr: str, values: list[str]) -> None:
    """A value that its VR cannot have names its key, and never finds everything."""
    with pytest.raises(NotUnderstood) as caught:
        condition("(0008,0020)", vr, values)
    assert caught.value.parameter == "(0008,0020)"


def test_fuzzy_names_are_found_by_the_beginnings_of_their_words() -> None:
    """Words in any order, each the beginning of a part of the name, in any group."""
    fuzzy = condition("PatientName", "PN", ["jan do"], fuzzy=True)
    assert fuzzy is not None
    assert fuzzy.holds(["Doe^Jane^Maria"])
    assert not fuzzy.holds(["Doe^Maria"])
    assert not fuzzy.holds(["Smith^Jane"])


def test_an_item_satisfies_all_its_keys_at_once() -> None:
    """Two keys of a sequence hold of one item, and not each of another."""
    from pacsbridge.kernel.finding import Asked, understood
    from pacsbridge.kernel.model import Level

    keys = {
        "00400275": Asked("00400275", item={"00400009": Asked("a", ("S1",)), "00401001": Asked("b", ("P2",))})
    }
    find = understood(Level.SERIES, keys, combined_times=False).find
    mixed = {"00400275": [{"00400009": ["S1"], "00401001": ["P1"]}, {"00401001": ["P2"]}]}
    together = {"00400275": [{"00400009": ["S1"], "00401001": ["P2"]}]}
    assert not satisfies(mixed, find.conditions)
    assert satisfies(together, find.conditions)


def test_moments_reach_over_midnight() -> None:
    """A range of dates and one of times together begin in one night and end in the next morning."""
    first, last = span("d", "DA", "20200131-20200201")
    begin, end = span("t", "TM", "2200-0600")
    night = Moment("00080020", "00080030", first * DAY + begin, last * DAY + end)
    record = {"00080020": ["20200131"], "00080030": ["2330"]}
    assert night.holds(record)
    assert night.holds({"00080020": ["20200201"], "00080030": ["0559"]})
    assert not night.holds({"00080020": ["20200131"], "00080030": ["2159"]})
    assert not night.holds({"00080020": ["20200201"], "00080030": ["0601"]})
    assert night.holds({"00080020": ["20200201"]})
    assert not night.holds({"00080030": ["2330"]})


ALPHABET = st.text(alphabet="ab?*.[^", max_size=12)


@given(ALPHABET, st.text(alphabet="ab.[^", max_size=12))
def test_wildcards_are_those_of_a_plain_translation(sought: str, text: str) -> None:
    """The one-pass expression matches what the textbook's does."""
    plain = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in sought)
    assert bool(pattern(sought).fullmatch(text)) is bool(re.fullmatch(plain, text, re.DOTALL))


def test_many_wildcards_take_no_time() -> None:
    """A value made to make an expression go back and forth is matched in one pass."""
    began = time.perf_counter()
    assert not pattern("*a" * 16 + "b").fullmatch("a" * 1000)
    assert time.perf_counter() - began < 1


@given(st.text(max_size=30))
def test_folding_twice_changes_nothing(text: str) -> None:
    """What is compared is in its last form, so that index and query agree."""
    assert folded(folded(text)) == folded(text)


@given(st.sampled_from(["LO", "PN"]), st.text(alphabet="abcAÉ^", min_size=1, max_size=8))
def test_a_text_finds_itself(vr: str, text: str) -> None:
    """The value of a record, asked for, finds the record."""
    sought = condition("key", vr, [text])
    assert sought is None or sought.holds([text])
