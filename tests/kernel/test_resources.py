"""ImagingStudies of states that no single header gives: orders, deletions, very large studies."""

import pytest
from r4_validation import assert_r4

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.identity import Issuer, identifier, order_id, study_id
from pacsbridge.kernel.model import InstanceState, SeriesState, StudyState
from pacsbridge.kernel.publication import EndpointSpec, Publication
from pacsbridge.kernel.resources import imaging_study

CT = "1.2.840.10008.5.1.4.1.1.2"
VIEWER = EndpointSpec("https://v.example/{study_uid}", "ihe-iid")
PUBLICATION = Publication(id_key=b"key", default_endpoints=(EndpointSpec("https://p.example"), VIEWER))
ORDER = {"accession": identifier("A1", Issuer("urn:oid:1.2"), "ACSN")}


def test_an_order_without_images_is_registered() -> None:
    """A study known from an order alone has the order's id and identifier, and no series."""
    study = imaging_study(StudyState({}, ORDER), PUBLICATION)
    assert_r4(study)
    assert study["id"] == order_id(ORDER["accession"], b"key")
    assert (study["status"], study["numberOfSeries"]) == ("registered", 0)
    assert [one["value"] for one in study["identifier"]] == ["A1"]
    assert "series" not in study


def test_a_discontinued_step_without_images_is_cancelled() -> None:
    """With an image the study is available all the same."""
    state = StudyState({}, {"uid": "1.2.3"}, discontinued=True)
    assert imaging_study(state, PUBLICATION)["status"] == "cancelled"
    state.series = [SeriesState({"uid": "1.2.3.1"}, [InstanceState("1.2.3.1.1", CT)])]
    assert imaging_study(state, PUBLICATION)["status"] == "available"


@pytest.mark.parametrize("status", ["entered-in-error", "unknown"])
def test_a_deletion_upstream_gives_the_configured_status(status: str) -> None:
    """Whatever the instances say."""
    series = [SeriesState({"uid": "1.2.3.1"}, [InstanceState("1.2.3.1.1", CT)])]
    study = imaging_study(StudyState({}, {"uid": "1.2.3"}, series, withdrawn=status), PUBLICATION)
    assert_r4(study)
    assert study["status"] == status


def test_a_study_whose_instances_are_all_expired_is_unknown() -> None:
    """It was there and is no more, which is not what an order looks like."""
    series = [SeriesState({"uid": "1.2.3.1"}, [InstanceState("1.2.3.1.1", CT, rejected="113039")])]
    study = imaging_study(StudyState({}, {"uid": "1.2.3"}, series), PUBLICATION)
    assert_r4(study)
    assert (study["status"], study["numberOfInstances"]) == ("unknown", 0)


def test_a_series_of_which_no_instance_is_known_stays() -> None:
    """An archive's answer names series before their instances."""
    series = [SeriesState({"uid": "1.2.3.1", "modality": "CT", "reported_instances": 40})]
    study = imaging_study(StudyState({}, {"uid": "1.2.3"}, series), PUBLICATION)
    assert_r4(study)
    assert (study["numberOfInstances"], study["series"][0]["numberOfInstances"]) == (40, 40)


def test_what_is_no_id_is_left_out() -> None:
    """Series and instances under illegal UIDs never leave, whoever put them into the state."""
    good = SeriesState({"uid": "1.2.3.1"}, [InstanceState("1.2.3.1.1", CT), InstanceState("a b", CT)])
    bad = SeriesState({"uid": "x" * 65}, [InstanceState("1.2.3.2.1", CT)])
    study = imaging_study(StudyState({}, {"uid": "1.2.3"}, [good, bad]), PUBLICATION)
    assert_r4(study)
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (1, 1)


def test_a_source_that_is_no_uri_is_not_named() -> None:
    """`meta.source` is a uri."""
    study = imaging_study(StudyState({}, {"uid": "1.2.3"}, sources=("CT 1",)), PUBLICATION)
    assert_r4(study)
    assert "meta" not in study


def test_a_study_without_any_name_is_refused() -> None:
    """Neither a UID nor an accession number: nothing to call it by."""
    with pytest.raises(NotUnderstood):
        imaging_study(StudyState({}, {}), PUBLICATION)


def test_ids_agree_with_those_of_the_store() -> None:
    """The publisher names a study before it is built."""
    hashed = Publication(id_key=b"key", id_form="hash")
    assert imaging_study(StudyState({}, {"uid": "1.2.3"}), hashed)["id"] == study_id("1.2.3", b"key", "hash")


def test_twenty_thousand_instances() -> None:
    """A very large study is one legal resource, its instances in the order of their numbers."""
    instances = [InstanceState(f"1.2.3.1.{number}", CT, 20_000 - number, "AXIAL") for number in range(20_000)]
    study = imaging_study(
        StudyState({}, {"uid": "1.2.3"}, [SeriesState({"uid": "1.2.3.1"}, instances)]), PUBLICATION
    )
    assert_r4(study)
    assert [one["number"] for one in study["series"][0]["instance"]] == list(range(1, 20_001))
