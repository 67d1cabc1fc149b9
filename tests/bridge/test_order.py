"""Any order and batching of the same instances makes the same study (T-ORDER)."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PERMUTATIONS = 200
COUNT = 9


def instances(dicom: Any, study: str) -> list[dict[str, str]]:
    """Nine instances of three series that agree, each of which says another part of the whole."""
    extras: list[dict[str, str]] = [
        {"StudyDescription": "Whole body", "PatientSex": "F"},
        {"StudyDate": "20240102", "StudyTime": "101500"},
        {"StudyDate": "20240102"},
        {"PatientID": "", "PatientName": ""},
        {"AccessionNumber": "A1", "PatientBirthDate": "19700101"},
        {"SeriesDescription": "Axial", "SeriesNumber": "3"},
        {"BodyPartExamined": "CHEST", "Modality": "MR"},
        {"SeriesNumber": "1"},
        {"InstanceNumber": "", "PatientID": ""},
    ]
    modality = {"1": "CT", "2": "CT", "3": "MR"}
    made = []
    for number, extra in enumerate(extras):
        series = {5: 1, 6: 3, 7: 2}.get(number, number % 2 + 1)
        base = {"Modality": modality[str(series)], "PatientID": f"P{study}"}
        made.append(dicom.instance(number + 1, study, series, **{**base, **extra}))
    return made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Room for one world that all examples share, each with a study and a patient of its own."""
    shared: dict[str, Any] = {"folder": tmp_path_factory.mktemp("order"), "number": 0, "seen": set()}
    yield shared
    if "world" in shared:
        shared["world"].close()


@settings(
    max_examples=PERMUTATIONS,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    order=st.permutations(range(COUNT)),
    pauses=st.lists(
        st.sampled_from(["", "", "", "", "", "", "index", "publish"]), min_size=COUNT, max_size=COUNT
    ),
    again=st.integers(0, COUNT - 1),
)
def test_any_order_makes_the_same_study(
    running: dict[str, Any],
    world_type: Callable[[Path], Any],
    dicom: Any,
    order: list[int],
    pauses: list[str],
    again: int,
) -> None:
    """Permuted, in batches of any size, published in between or not, one instance sent twice."""
    if "world" not in running:
        running["world"] = world_type(running["folder"]).start()
    world = running["world"]
    running["number"] += 1
    study = f"2.999.7.{running['number']:04}1"
    made = instances(dicom, study)
    for number, pause in zip([*order, again], [*pauses, ""], strict=True):
        world.adopt(made[number])
        if pause:
            world.index()
        if pause == "publish":
            world.publisher.publish_all()
    world.index()
    world.publisher.publish_all()
    running["seen"].add(told(world, study))
    assert len(running["seen"]) == 1
    assert not world.store.why(study)["conflicts"]


def told(world: Any, study: str) -> str:
    """What is published of a study and its patient, without what tells examples apart."""
    content = world.published(study)
    id_ = content["subject"]["reference"].removeprefix("Patient/")
    patient = world.published(id_, "Patient")
    for resource in (content, patient):
        del resource["meta"]
    text = json.dumps([content, patient], sort_keys=True)
    return text.replace(study, "STUDY").replace(id_, "PATIENT")
