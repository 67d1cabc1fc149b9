"""Person names → HumanName and readable text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.kernel import names

PN = st.text(st.characters(exclude_categories=()) | st.sampled_from("^^^==  "))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Doe^Jane^Mary^Dr^Jr", "Dr Jane Mary Doe Jr"), ("Doe^Jane", "Jane Doe"), ("Doe", "Doe"),
        ("^Jane", "Jane"), ("Doe^Jane^^^", "Jane Doe"), ("Doe^Jane^^^^extra", "Jane Doe"),
        ("=山田^太郎", "山田 太郎"), ("==やまだ^たろう", "やまだ たろう"),
        ("Yamada^Tarou=山田^太郎", "Tarou Yamada"),
        ("", None), ("^^^^", None), ("==", None), (" ^ ", None),
        ("----", None), ("-^.=?", None), ("--=山田", "山田"), ("O'Neil^-", "- O'Neil"), ("7", "7"),
    ],
)  # fmt: skip
def test_readable(text: str, expected: str | None) -> None:
    """A name as people write it: no carets, alphabetic first, other scripts family name first."""
    assert names.readable(text) == expected


@given(PN)
def test_readable_is_what_the_names_display(text: str) -> None:
    """A reference and the Patient call a person the same, whatever the text."""
    assert names.display(names.human_names(text)) == names.readable(text)


@given(PN)
def test_names_have_no_empty_part(text: str) -> None:
    """Any text gives names whose parts all say something; only a lone alphabetic one goes unmarked."""
    groups = names.human_names(text)
    found = names.listed(groups)
    for name in found:
        assert name.keys() & {"family", "given", "prefix", "suffix"}
        assert all(name[part] and all(name[part]) for part in name)
    assert sum("extension" not in name for name in found) == (list(groups) == ["ABC"])


def test_a_prefix_alone_is_a_name() -> None:
    """Odd names stay what they are."""
    assert names.human_names("^^^Dr") == {"ABC": {"prefix": ["Dr"]}}
