"""What holds for any input: order, repetition, totality, legality."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from attribute_strategies import agreeing, contexts, publications, wild
from hypothesis import given, settings
from hypothesis import strategies as st
from r4_validation import assert_r4

from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.identity import Context
from pacsbridge.kernel.publication import Publication
from pacsbridge.kernel.resources import imaging_study, patient

Assemble = Callable[..., Any]

CONTEXT = Context(study_comments=True)
PUBLICATION = Publication(id_key=b"key")


def published(assemble: Assemble, instances: list[Attributes]) -> tuple[str, str, int]:
    """The study and the patient as JSON text, and how many conflicts there were on the way."""
    state, assembly = assemble(instances, CONTEXT)
    study, person = imaging_study(state, PUBLICATION), patient(state.patient, PUBLICATION)
    return json.dumps(study), json.dumps(person), len(assembly.conflicts)


@settings(max_examples=80, deadline=None)
@given(instances=agreeing(), random=st.randoms(use_true_random=False))
def test_any_order_of_the_same_instances_yields_the_same_study(
    instances: list[Attributes], random: Random, assemble: Assemble
) -> None:
    """Instances that agree, each lacking some values, give one study in any order, without a conflict."""
    expected = published(assemble, instances)
    assert expected[2] == 0
    for _ in range(4):
        random.shuffle(instances)
        assert published(assemble, instances) == expected


@settings(max_examples=40, deadline=None)
@given(instances=agreeing())
def test_sending_twice_changes_nothing(instances: list[Attributes], assemble: Assemble) -> None:
    """The same instances again leave the same study, and no conflict."""
    assert published(assemble, [*instances, *instances]) == published(assemble, instances)


@settings(max_examples=150, deadline=None)
@given(instances=st.lists(wild(), min_size=1, max_size=3), context=contexts, publication=publications)
def test_every_resource_of_wild_headers_is_legal(
    instances: list[Attributes], context: Context, publication: Publication, assemble: Assemble
) -> None:
    """Whatever headers say, what is published is legal R4 and survives the way through JSON."""
    state, _assembly = assemble(instances, context)
    study, person = imaging_study(state, publication), patient(state.patient, publication)
    assert_r4(study, person)
    assert json.loads(json.dumps(study)) == study


@settings(max_examples=100, deadline=None)
@given(header=wild(), context=contexts)
def test_extraction_is_a_function(header: Attributes, context: Context) -> None:
    """The same header gives the same facts, and they survive the way through JSON as the store keeps them."""
    facts = extract(header, context)
    assert extract(header, context) == facts
    for values in (facts.patient, facts.study, facts.series, facts.instance):
        assert json.loads(json.dumps(values)) == values
    assert len({(issue.keyword, issue.reason) for issue in facts.issues}) == len(facts.issues)
