"""FHIR clients that others wrote read, search, follow references and page."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def base(serve: Callable[..., Any], free_port: Callable[[], int], store: Any, study: Any) -> str:
    """The base of a server whose links lead to itself, with ten studies of one more patient."""
    store.add({"resourceType": "Patient", "id": "p3", "name": [{"family": "Østergaard", "given": ["Åse"]}]})
    for number in range(10):
        started = {"started": f"2024-01-{number + 1:02}T08:00:00+01:00"}
        store.add(study(f"1.7.{number}", subject={"reference": "Patient/p3", "type": "Patient"}, **started))
    return str(serve(port=free_port(), default_count=4).base)


def test_fhirclient(base: str) -> None:
    """SMART's client for Python: its models take every resource that it is given, and it pages to the end."""
    fhirclient = pytest.importorskip("fhirclient.client", reason="pip install fhirclient")
    from fhirclient.models.imagingstudy import ImagingStudy
    from fhirclient.models.patient import Patient

    server = fhirclient.FHIRClient(settings={"app_id": "test", "api_base": base}).server
    assert server.capabilityStatement.fhirVersion == "4.0.1"
    study = ImagingStudy.read("1.7.3", server)
    assert (study.status, study.started.isostring) == ("available", "2024-01-04T08:00:00+01:00")
    assert study.subject.resolved(Patient).name[0].family == "Østergaard"
    search = ImagingStudy.where({"patient.family": "østergaard", "_sort": "started"})
    found = list(search.perform_resources_iter(server))
    assert [one.id for one in found] == [f"1.7.{number}" for number in range(10)]
    included = Patient.where({"_id": "p3"}).include("subject", ImagingStudy, reverse=True)
    kinds = [resource.resource_type for resource in included.perform_resources_iter(server)]
    assert (kinds.count("Patient"), kinds.count("ImagingStudy")) == (1, 10)


def test_fhirpy(base: str) -> None:
    """fhirpy: chains, dates, counts, pages, includes, references."""
    fhirpy = pytest.importorskip("fhirpy", reason="pip install fhirpy")

    client = fhirpy.SyncFHIRClient(base)
    studies = client.resources("ImagingStudy").search(patient__Patient__name="åse").sort("-started")
    assert studies.count() == 10
    assert [one.id for one in studies.fetch_all()] == [f"1.7.{number}" for number in reversed(range(10))]
    assert [one.id for one in studies.limit(3).fetch()] == ["1.7.9", "1.7.8", "1.7.7"]
    january = client.resources("ImagingStudy").search(started__ge="2024-01-09", modality__not="MR")
    assert {one.id for one in january.fetch()} == {"1.7.8", "1.7.9"}
    [study] = client.resources("ImagingStudy").search(_id="1.7.0").include("ImagingStudy", "patient").fetch()
    assert study.subject.to_resource().name[0]["given"] == ["Åse"]
    with pytest.raises(fhirpy.base.exceptions.ResourceNotFound):
        client.reference("Patient", "p9").to_resource()
