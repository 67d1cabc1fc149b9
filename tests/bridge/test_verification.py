"""Verification finds every disagreement of index, packs and documents, and none where there is none."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pacsbridge.blobs.inspection import Inspection
from pacsbridge.blobs.location import position
from pacsbridge.blobs.packs import ORPHAN_SECONDS, Packs
from pacsbridge.bridge.intake import Incoming
from pacsbridge.bridge.verification import KINDS, Finding, Verification
from pacsbridge.kernel.reports import Report, ReportedSeries
from pacsbridge.kernel.titles import RETENTION_EXPIRED
from pacsbridge.store import schema
from pacsbridge.store.arrivals import KEPT_HOURS
from pacsbridge.store.records import DeadLetter, Draft, Reported

INSTANCES = 12


def found(world: Any, *, checksum: bool = True) -> list[Finding]:
    """All findings of a run over a world."""
    work = Verification(
        world.store,
        Inspection(world.folder),
        world.publisher._publication,
        checksum=checksum,
        clock=world.clock,
    )
    findings = list(work.findings())
    assert {one.kind for one in findings} <= KINDS.keys()
    return findings


def kinds(world: Any, **options: bool) -> set[str]:
    """The kinds of the findings."""
    return {one.kind for one in found(world, **options)}


@pytest.fixture
def filled(either: Any, dicom: Any) -> Any:
    """Two studies of instances, published, on each engine; no pack is being written."""
    for study in ("2.999.1", "2.999.2"):
        for number in range(INSTANCES // 2):
            either.adopt(dicom.instance(number, study=study, raw="x" * 500))
    either.index()
    either.publisher.publish_all()
    either.intake.packs.close()
    return either


def rows(world: Any) -> dict[str, str]:
    """SOP Instance UID → location, of all instances."""
    return {one.uid: one.location for page in world.store.inventory.instances() for one in page}


def pack_file(world: Any, pack: str = "00000001") -> Path:
    """A pack of a world."""
    file: Path = world.folder / "packs" / f"{pack}.pack"
    return file


def execute(world: Any, statement: Any) -> None:
    """Change the index behind everybody's back."""
    with world.store._database.write() as connection:
        connection.execute(statement)


def flip(path: Path, place: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(place)
        [byte] = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ (1 << bit)]))


def test_nothing_is_found_where_nothing_is_wrong(filled: Any) -> None:
    """Every record, instance and study is looked at, on both engines, and there is no finding."""
    work = Verification(filled.store, Inspection(filled.folder), filled.publisher._publication)
    assert list(work.findings()) == []
    checked = work.checked
    assert (checked.records, checked.instances, checked.studies, checked.waiting) == (12, 12, 2, 0)
    assert checked.resources == sum(
        len(filled.store.ids(type_)) for type_ in ("ImagingStudy", "Patient", "Endpoint")
    )


def test_every_flipped_bit_is_reported_with_the_instance(filled: Any) -> None:
    """T-BACKUP: ten random bits flipped in ten instances, ten instances reported; the others are not."""
    chosen = random.Random(4)
    ends = sorted(position(place).start for place in rows(filled).values())
    hit = dict(chosen.sample(sorted(rows(filled).items()), 10))
    for place in hit.values():
        start = position(place).start
        end = next((one for one in ends if one > start), pack_file(filled).stat().st_size)
        flip(pack_file(filled), chosen.randrange(start, end), chosen.randrange(8))
    findings = found(filled)
    assert {one.uid for one in findings if one.uid} == set(hit)
    assert {one.kind for one in findings} <= {"damaged", "missing"}


@pytest.mark.parametrize("seed", range(20))
def test_a_bit_anywhere_is_reported(seed: int, world: Any, dicom: Any) -> None:
    """Wherever a bit of a pack is flipped, its first line included, something is found."""
    for number in range(2):
        world.adopt(dicom.instance(number))
    world.index()
    world.publisher.publish_all()
    world.intake.packs.close()
    path, chosen = pack_file(world), random.Random(seed)
    flip(path, chosen.randrange(44 if seed < 4 else path.stat().st_size), chosen.randrange(8))
    assert found(world)


def test_contents_are_not_read_without_checksums(filled: Any) -> None:
    """A bit of a data set is found by reading it alone; a record's place is looked at in any case."""
    place = position(next(iter(rows(filled).values())))
    flip(pack_file(filled), place.start + 76 + 400)
    assert kinds(filled) == {"damaged"}
    assert kinds(filled, checksum=False) == set()


def test_a_pack_that_is_gone(filled: Any) -> None:
    """The pack is reported, and every instance that was in it by its UID."""
    pack_file(filled).unlink()
    findings = found(filled)
    assert {one.uid for one in findings if one.kind == "missing"} == set(rows(filled))
    assert [one.place for one in findings if one.kind == "lost-pack"] == ["00000001"]


def test_a_pack_that_is_cut_short(filled: Any) -> None:
    """A tail that was indexed and is gone is a lost one, and its instance is named."""
    path = pack_file(filled)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3)
    findings = found(filled)
    last = max(rows(filled).items(), key=lambda one: position(one[1]).start)[0]
    assert {(one.kind, one.uid) for one in findings} == {("lost-pack", ""), ("missing", last)}


def test_rows_that_are_gone(filled: Any) -> None:
    """What is stored and not indexed is named; the study's document then says too much."""
    uid, place = next(iter(rows(filled).items()))
    execute(filled, schema.instance.delete().where(schema.instance.c.uid == uid))
    findings = found(filled)
    assert Finding("not-indexed", uid, place) in findings
    assert {one.kind for one in findings} == {"not-indexed", "contradicts", "listing"}


def test_a_row_that_is_gone_beside_what_was_put_aside(filled: Any) -> None:
    """A conflict under the same UID is about other bytes, and excuses nothing."""
    uid, place = next(iter(rows(filled).items()))
    filled.store.bury(DeadLetter("conflict", uid, "why", "urn:b", "pack:00000001:44:7"), 1)
    execute(filled, schema.instance.delete().where(schema.instance.c.uid == uid))
    assert Finding("not-indexed", uid, place) in found(filled)


@pytest.mark.parametrize("change", [{"size": 3}, {"sha256": b"\0" * 32}, {"location": "pack:00000001:44:7"}])
def test_rows_that_say_something_else(change: dict[str, Any], filled: Any) -> None:
    """A length, digest or place that is not what is stored."""
    uid = sorted(rows(filled))[3]
    execute(filled, schema.instance.update().where(schema.instance.c.uid == uid).values(change))
    assert [(one.kind in {"differs", "missing"}, one.uid) for one in found(filled)] == [(True, uid)]


ORIGINS = {"transfer_syntax": "1.2.840.10008.1.2.4.70", "source": "urn:dicom:ae:OTHER", "received": 7}


@pytest.mark.parametrize("column", ORIGINS)
def test_where_an_instance_came_from(column: str, filled: Any) -> None:
    """Its encoding, its source and the moment it came stand in its record: a row that differs is found."""
    uid, place = sorted(rows(filled).items())[3]
    execute(
        filled, schema.instance.update().where(schema.instance.c.uid == uid).values({column: ORIGINS[column]})
    )
    told = [one for one in found(filled) if one.kind == "origin"]
    assert told == [Finding("origin", uid, place, column)]
    assert found(filled, checksum=False) == found(filled)


def test_a_head_that_is_damaged(filled: Any) -> None:
    """What came from where cannot be told: that is damage, also where contents are not read."""
    uid, place = sorted(rows(filled).items())[3]
    flip(pack_file(filled), position(place).start + 76 + 3)
    for checksum in (True, False):
        assert [(one.kind, one.uid) for one in found(filled, checksum=checksum)] == [("damaged", uid)]


def test_encodings_that_differ(filled: Any, dicom: Any) -> None:
    """A pair of class and transfer syntax that lacks, and one that no instance has or had, is found."""
    noted = schema.encoding.update().where(schema.encoding.c.sop_class == dicom.CT)
    execute(filled, noted.values(transfer_syntax="1.2.3"))
    assert found(filled) == [
        Finding("encoding", "", f"{dicom.CT} {dicom.EXPLICIT}", "not noted"),
        Finding("encoding", "", f"{dicom.CT} 1.2.3", "there is none"),
    ]
    execute(filled, schema.encoding.delete())
    assert [one.detail for one in found(filled)] == ["not noted"]


def test_the_encoding_of_what_was_superseded(world: Any, dicom: Any) -> None:
    """An instance that came again in another encoding leaves the first noted, which is no fault."""
    world.adopt(dicom.instance(1))
    data = dicom.encoded(dicom.instance(1, StudyDescription="other"))
    world.intake.adopt(Incoming(data, "1.2.840.10008.1.2.4.70", world.source))
    world.index()
    world.publisher.publish_all()
    assert len(world.store.inventory.encodings().noted) == 2
    assert found(world) == []


def test_arrivals_that_are_too_few(filled: Any) -> None:
    """An hour for which fewer instances are counted than there are is found; what is forgotten is not."""
    execute(filled, schema.arrival.update().values(instances=INSTANCES - 1))
    [one] = found(filled)
    assert (one.kind, one.place) == ("arrivals", f"2023-11-14T22Z {filled.source.uri}")
    assert one.detail == f"{INSTANCES - 1} of {INSTANCES}"
    execute(filled, schema.arrival.delete())
    assert [one.detail for one in found(filled)] == [f"0 of {INSTANCES}"]
    filled.clock.move(KEPT_HOURS * 3600)
    assert found(filled) == []


def of_archive(study: str, *numbers: int) -> Reported:
    """What an archive says of a study that it has these instances of."""
    facts = [{"uid": f"2.999.5.{number}", "sop_class": "1.2.840.10008.5.1.4.1.1.2"} for number in numbers]
    report = Report({"key": "A|1"}, {"uid": study}, [ReportedSeries({"uid": f"{study}.1"}, facts)])
    return Reported(study, b"digest", None, report)


REPORTED = {
    "lacks": "DELETE FROM reported_instance WHERE uid = '2.999.5.1'",
    "too many": "INSERT INTO reported_instance SELECT '2.999.5.9', source, study FROM reported_instance"
    " WHERE uid = '2.999.5.1'",
    "another instance": "UPDATE reported_instance SET uid = '2.999.5.9' WHERE uid = '2.999.5.1'",
    "another archive": "UPDATE reported_instance SET source = 'http://b' WHERE uid = '2.999.5.1'",
}


@pytest.mark.parametrize("case", REPORTED)
def test_instances_of_archives_that_differ(case: str, filled: Any) -> None:
    """Studies are found by the instances that archives tell of: a row that is not as they say is found."""
    told = [of_archive("2.999.3", 1, 2, 3), of_archive("2.999.4", 3, 4)]
    filled.store.put_reports("http://a", told, 1)
    filled.publisher.publish_all()
    assert found(filled) == []
    execute(filled, text(REPORTED[case].replace(":", chr(92) + ":")))
    assert found(filled) == [Finding("reported", "2.999.3")]


def test_instances_of_another_study(filled: Any) -> None:
    """A row that names another study than the archive does is a finding of that study."""
    filled.store.put_reports("http://a", [of_archive("2.999.3", 1, 2)], 1)
    filled.publisher.publish_all()
    execute(filled, text("UPDATE reported_instance SET study = (SELECT pk FROM study WHERE uid = '2.999.1')"))
    assert found(filled) == [Finding("reported", "2.999.1")]
    filled.store.withdraw_reports("http://a", ["2.999.3"], "deleted", 2)
    filled.publisher.publish_all()
    assert found(filled) == [Finding("reported", "2.999.1")]


def test_what_waits_for_the_index_is_no_finding(filled: Any, dicom: Any) -> None:
    """A record behind the indexed position is counted as waiting: a crash or a running server left it."""
    filled.make_intake()
    filled.intake.indexer._waiting.clear()
    filled.adopt(dicom.instance(99))
    work = Verification(filled.store, Inspection(filled.folder), filled.publisher._publication)
    assert list(work.findings()) == []
    assert work.checked.waiting == 1


def test_a_torn_tail_is_no_finding(filled: Any) -> None:
    """Half a record that nobody was told of is what a killed writer leaves: the next start cuts it off."""
    with pack_file(filled).open("ab") as file:
        file.write(b"\x89PBr" + b"\1" * 20)
    assert found(filled) == []


def test_superseded_and_refused_records_are_no_finding(world: Any, dicom: Any) -> None:
    """Other content under a known UID leaves the older record behind; what cannot be indexed is on record."""
    world.adopt(dicom.instance(1))
    world.adopt(dicom.instance(1, StudyDescription="other"))
    world.index()
    world.kill()
    packs = Packs(world.folder, min_free_bytes=0)
    packs.append({"source": "urn:x", "received": 1, "syntax": dicom.EXPLICIT}, [b"no DICOM"])
    packs.close()
    world.start()
    world.index()
    assert world.letters("index")
    world.publisher.publish_all()
    assert found(world) == []


def test_a_head_that_names_another_instance(world: Any, dicom: Any) -> None:
    """A file that is TIFF too keeps its own head; what counts is the data set's UID."""
    head = b"II*\0" + dicom.head(dicom.CT, "2.999.77", dicom.EXPLICIT)[4:]
    data = dicom.encoded(dicom.instance(1))
    world.intake.adopt(Incoming(data, dicom.EXPLICIT, world.source, head=head))
    world.index()
    world.publisher.publish_all()
    assert found(world) == []


def test_erased_instances(filled: Any) -> None:
    """One that was erased is a finding, unless a note says that its retention has expired."""
    uid, place = next(iter(rows(filled).items()))
    filled.intake.packs.discard(place)
    assert found(filled) == [Finding("erased", uid, place)]
    note = {"sop_uid": uid, "by_uid": "2.999.5", "study_uid": "2.999.9", "reason": RETENTION_EXPIRED}
    execute(filled, schema.rejection.insert().values(note))
    assert kinds(filled) == set()


def test_large_instances(world: Any, dicom: Any) -> None:
    """A flipped bit of an object, an object that is gone, and one that nobody refers to."""
    for number in (1, 2, 3):
        spool = world.intake.spool(dicom.CT, f"2.999.1.1.{number}", dicom.EXPLICIT)
        spool.write(dicom.encoded(dicom.instance(number)))
        world.intake.adopt(Incoming(spool, dicom.EXPLICIT, world.source))
    world.index()
    world.publisher.publish_all()
    assert found(world) == []
    objects = {world.intake.packs.open(place).path: uid for uid, place in rows(world).items()}
    first, second, _third = objects
    flip(first, first.stat().st_size - 5)
    second.unlink()
    assert {(one.kind, one.uid) for one in found(world)} == {
        ("damaged", objects[first]),
        ("damaged", objects[second]),
    }


def test_an_object_that_no_record_names(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported once it is too old to be on its way."""
    lonely = world.folder / "objects" / "ab" / f"ab{'0' * 62}-{'1' * 16}"
    lonely.parent.mkdir()
    lonely.write_bytes(b"x")
    assert found(world) == []
    monkeypatch.setattr("pacsbridge.blobs.inspection.ORPHAN_SECONDS", -ORPHAN_SECONDS)
    assert [(one.kind, one.place) for one in found(world)] == [("not-referenced", f"ab/{lonely.name}")]


def _no_document(world: Any) -> None:
    execute(world, schema.resource.update().where(schema.resource.c.id == "2.999.1").values(deleted=True))


def _no_endpoint(world: Any) -> None:
    execute(world, schema.resource.update().where(schema.resource.c.type == "Endpoint").values(deleted=True))


def _no_facts(world: Any) -> None:
    execute(world, schema.resource.update().where(schema.resource.c.id == "2.999.1").values(study=77))


def _other_counts(world: Any) -> None:
    body = world.store.document("ImagingStudy", "2.999.1").body
    assert b'"numberOfInstances":6' in body
    changed = body.replace(b'"numberOfInstances":6', b'"numberOfInstances":7')
    execute(world, schema.version.update().where(schema.version.c.body == body).values(body=changed))


DOCUMENTS: dict[str, tuple[Callable[[Any], None], set[str]]] = {
    "no document": (_no_document, {"not-published"}),
    "no endpoint": (_no_endpoint, {"dangling"}),
    "no facts": (_no_facts, {"no-facts", "not-published"}),
    "other counts": (_other_counts, {"contradicts", "search"}),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_documents_that_contradict_the_facts(case: str, filled: Any) -> None:
    """Published studies have their facts, their counts and what they refer to."""
    change, expected = DOCUMENTS[case]
    change(filled)
    assert kinds(filled) == expected


_STUDY = "study = (SELECT pk FROM study WHERE uid = '2.999.2')"
LISTINGS = {
    "accession": "UPDATE study_key SET accession = 'OTHER'",
    "instances": "UPDATE study_key SET instances = 5",
    "answer": 'UPDATE study_record SET body = \'{"0020000D":["1.2"]}\'',
    "answer that lacks": "DELETE FROM study_record",
    "series": "UPDATE series_record SET modality = 'MR'",
    "series that lacks": "DELETE FROM series_record",
}


@pytest.mark.parametrize("case", LISTINGS)
def test_answers_of_queries_that_differ(case: str, filled: Any) -> None:
    """What C-FIND and QIDO-RS answer of a study is compared with its facts, whichever table has it."""
    execute(filled, text(f"{LISTINGS[case].replace(':', chr(92) + ':')} WHERE {_STUDY}"))
    assert found(filled) == [Finding("listing", "2.999.2")]
    execute(filled, text(f"DELETE FROM study_key WHERE NOT {_STUDY}"))
    assert [one.uid for one in found(filled)] == ["2.999.1", "2.999.2"]


_OF_STUDY = "(SELECT pk FROM resource WHERE id = '2.999.2')"
SEARCHES: dict[str, tuple[str, str]] = {
    "a row that lacks": (
        "DELETE FROM search_token WHERE param LIKE '%.modality' AND resource = {}",
        "modality",
    ),
    "a row too many": (
        "INSERT INTO search_reference VALUES ({}, 'ImagingStudy.basedon', '', 'x')",
        "basedon",
    ),
    "another value": (
        "UPDATE search_reference SET target = 'p9' WHERE param LIKE '%.patient' AND resource = {}",
        "patient",
    ),
    "no summary": ("DELETE FROM summary WHERE resource = {}", "summary"),
    "another date": ("UPDATE resource SET low = 7 WHERE pk = {}", "date"),
    "another date of the version": ("UPDATE version SET local_low = 7 WHERE resource = {}", "date"),
}


@pytest.mark.parametrize("case", SEARCHES)
def test_search_rows_that_differ(case: str, filled: Any) -> None:
    """What a resource is searched by is compared with its content; what differs is named, and made again."""
    statement, name = SEARCHES[case]
    execute(filled, text(statement.format(_OF_STUDY)))
    assert found(filled) == [Finding("search", "2.999.2", "ImagingStudy/2.999.2", name)]
    filled.store.search_anew()
    assert found(filled) == []


@pytest.mark.parametrize("table", ["version", "summary"])
def test_documents_that_cannot_be_read(table: str, filled: Any) -> None:
    """What is no JSON is a finding, ends nothing, and is not searched by once all is indexed again."""
    spoilt = schema.metadata.tables[table]
    here = spoilt.c.resource == text(_OF_STUDY)
    execute(filled, spoilt.update().where(here).values(body=b"{"))
    assert "search" in kinds(filled)
    filled.store.search_anew()
    assert ("search" in kinds(filled)) == (table == "version")


def test_rows_of_what_is_deleted(filled: Any) -> None:
    """A resource that is deleted has none: one that was left is a finding, and goes."""
    filled.store.publish([Draft("Patient", "p9", {"resourceType": "Patient", "id": "p9"})], 1)
    filled.store.publish([Draft("Patient", "p9", None)], 2)
    assert found(filled) == []
    insert = "INSERT INTO search_string (resource, param, value) SELECT pk, 'Patient.name', 'x' FROM resource"
    execute(filled, text(f"{insert} WHERE id = 'p9'"))
    assert found(filled) == [Finding("search", "", "Patient/p9", "name")]
    filled.store.search_anew()
    assert found(filled) == []


def test_a_study_that_waits_for_its_publication_is_left_out(filled: Any, dicom: Any) -> None:
    """Its document is behind its facts, which is as it should be."""
    filled.start()
    filled.adopt(dicom.instance(50))
    filled.index()
    assert found(filled) == []
