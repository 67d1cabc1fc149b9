"""Each row of the page about faults with its control switched off: its test has to fail then.

    python tests/faults/without.py [ROW …]

One test of a row at a time, in the numbers of every change. A control is switched off from outside, by a
patch of one attribute in the test's process and in its bridge (`switched_off/sitecustomize.py`); nothing in
the program knows of it. Two controls are switched off together where each covers for the other. The exit
code is 1 unless every test fails, and by what the table says.

Rows that are not in the table, as no patch of this kind takes their control away:

T-KILL-T, T-RACE, T-ORDER   the database does it: transactions, unique keys, one statement that adds up
T-DB                        each way to fail has its own deadline, of which the drivers keep some
T-MANGLE                    many mutations, each of which some part of the parsers of T-PDU refuses
T-SOAK                      there is nothing that it alone would need
T-FUZZ                      values are bound to statements and never part of them: nothing can be left out
T-PHI                       each line and error is worded without values: without the list of fields that may
                            be logged the test passes all the same; tests/test_logs.py holds the list
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
SWITCHED_OFF = Path(__file__).parent / "switched_off"

SECONDS = 150
"""For one test; what takes longer hangs, which is a failure where the control is a deadline."""


class Without(NamedTuple):
    """A control of a row, switched off: by patches (module, attribute, expression), in words `off`.

    `test` has to fail by a line in which `said` occurs (a regular expression).
    """

    row: str
    off: str
    test: str
    said: str
    patches: Sequence[tuple[str, str, str]]
    deadline: bool = False
    seconds: int = SECONDS


NEVER = "lambda *_, **__: None"
REPLACE = "__import__('dataclasses').replace"
UNHURRIED = f"{REPLACE}(settings, limits={REPLACE}(settings.limits, first_pdu=3600))"
HANGS = r"Timeout \(>"

TABLE: Sequence[Without] = (
    Without(
        "T-KILL",
        "reading the packs again at the start",
        "tests/bridge/test_intake.py::test_crash_before_indexing_is_recovered",
        "assert",
        [("pacsbridge.bridge.intake", "Intake.recover", "lambda *_, **__: 0")],
    ),
    Without(
        "T-FSYNC",
        "the sync before the answer",
        "tests/blobs/test_durability.py::test_nothing_is_acknowledged_before_the_sync",
        "fdatasync",
        [
            (
                "pacsbridge.blobs.writer",
                "os",
                "type('', (), {'fdatasync': print, '__getattr__': lambda _, name: getattr(was, name)})()",
            )
        ],
    ),
    Without(
        "T-ENOSPC",
        "the watermark of the disk",
        "tests/dimse/test_watermark.py::test_who_could_only_store_is_turned_away",
        "assert",
        [("pacsbridge.dimse.server", "DimseServer.heed", NEVER)],
    ),
    Without(
        "T-ENOSPC",
        "the room that must stay free",
        "tests/blobs/test_space.py::test_never_promises_more_than_there_is",
        "DID NOT RAISE",
        [("pacsbridge.blobs.space", "Space.claim", NEVER)],
    ),
    Without(
        "T-EIO",
        "trying whether the disk takes writes again",
        "tests/blobs/test_writes.py::test_it_is_found_out_without_a_caller",
        "assert",
        [("pacsbridge.blobs.writes", "Writes._try", NEVER)],
    ),
    Without(
        "T-PACS-DOWN",
        "the circuit of an archive that fails",
        "tests/remote/test_circuit.py::test_who_is_long_away_is_seldom_asked",
        "assert",
        [("pacsbridge.remote.circuit", "Circuit.failed", NEVER)],
    ),
    Without(
        "T-PACS-DOWN",
        "all pauses before it is asked again: of circuit, poller and client",
        "tests/faults/test_archives.py::test_an_archive_that_fails[503]",
        "<= 15",
        [
            ("pacsbridge.remote.circuit", "Circuit.failed", NEVER),
            ("pacsbridge.bridge.archive_poller", "_LONGEST", "0.2"),
            ("pacsbridge.remote.client", "Client._wait", "lambda *_: 0.0"),
        ],
    ),
    Without(
        "T-LORIS",
        "the deadlines for PDUs",
        "tests/dimse/test_provider.py::test_a_pdu_must_arrive_in_its_time",
        "TimeoutError",
        [("pacsbridge.dimse.provider", "Provider._deadline", "lambda self: time.monotonic() + 3600")],
        deadline=True,
    ),
    Without(
        "T-TLS",
        "the deadline of the handshake",
        "tests/faults/test_dimse_slow.py::test_handshakes_that_stall_or_fail",
        "assert",
        [
            (
                "pacsbridge.dimse.transport",
                "Connection.__init__",
                f"lambda self, assoc, client, settings: was(self, assoc, client, {UNHURRIED})",
            )
        ],
        deadline=True,
    ),
    Without(
        "T-HALF",
        "the deadlines of an association",
        "tests/faults/test_dimse_slow.py::test_callers_who_vanish",
        "not let go of",
        [("pacsbridge.dimse.provider", "Provider._deadline", "lambda self: time.monotonic() + 3600")],
        deadline=True,
    ),
    Without(
        "T-ASSOC",
        "the most associations",
        "tests/dimse/test_server.py::test_the_surplus_is_rejected_politely",
        "assert",
        [
            (
                "pacsbridge.dimse.register",
                "Register.__init__",
                f"lambda self, settings, *rest: was(self, {REPLACE}(settings, max_associations=999), *rest)",
            )
        ],
    ),
    Without(
        "T-IDLE",
        "waiting until there is something to read",
        "tests/faults/test_dimse_slow.py::test_idle_associations_cost_nothing",
        r"assert .* < 0\.1",
        [
            (
                "pacsbridge.dimse.transport",
                "Connection._wait",
                "lambda self, deadline: was(self, min(deadline, time.monotonic() + 0.0005))",
            )
        ],
    ),
    Without(
        "T-PDU",
        "looking at types and lengths before the rest comes",
        "tests/faults/test_dimse_streams.py::test_lies_are_aborted_at_once",
        "still open",
        [("pacsbridge.dimse.pdu", "check_header", NEVER)],
    ),
    Without(
        "T-PIPE",
        "the deadline for taking an answer, ours and the system's",
        "tests/faults/test_dimse_storm.py::test_who_never_reads_is_let_go",
        "TimeoutError|assert",
        [
            (
                "pacsbridge.dimse.transport",
                "Connection._send_some",
                "lambda self, data, deadline: was(self, data, deadline + 3600)",
            ),
            ("pacsbridge.dimse.transport", "VANISHED", "3600"),
        ],
        deadline=True,
    ),
    Without(
        "T-ABORT",
        "forgetting what will never be whole",
        "tests/faults/test_dimse_streams.py::test_every_point_may_be_the_last",
        "is more than",
        [("pacsbridge.dimse.receive", "Receiver.discard", NEVER)],
    ),
    Without(
        "T-DUP",
        "the policy about other content",
        "tests/bridge/test_conflicts.py::test_from_another_source",
        "assert",
        [("pacsbridge.kernel.conflicts", "Policy.lets", "lambda *_: True")],
    ),
    Without(
        "T-CLOCK",
        "measuring by a clock that nobody sets",
        "tests/access/test_gate.py::test_no_step_of_the_clock_prolongs_what_is_remembered",
        "assert",
        [
            (
                "pacsbridge.access.gate",
                "Gate.__init__",
                "lambda self, settings, verifier, clock, timer: was(self, settings, verifier, clock, clock)",
            )
        ],
    ),
    Without(
        "T-CHARSET",
        "leaving out what no FHIR string may have",
        "tests/faults/test_hostile_data.py::test_texts[sqlite]",
        "assert",
        [("pacsbridge.kernel.values", "clean", "lambda text: text.strip()")],
    ),
    Without(
        "T-HUGE",
        "the largest instance",
        "tests/faults/test_large.py::test_an_instance_beyond_the_limit",
        "assert",
        [
            (
                "pacsbridge.wiring",
                "replace",
                "lambda one, **new: was(one, **(new | {'instance': 1 << 40} if 'instance' in new else new))",
            )
        ],
    ),
    Without(
        "T-POISON",
        "trying one by one what fails together",
        "tests/bridge/test_publish.py::test_study_that_cannot_be_rendered_stays_alone",
        "ZeroDivisionError",
        [("pacsbridge.bridge.publish", "Publisher._publish", "Publisher._publish_group")],
    ),
    Without(
        "T-BOMB",
        "the most elements of a header",
        "tests/faults/test_hostile_data.py::test_bombs[a million elements]",
        r"assert 200 in",
        [
            ("pacsbridge.wiring", "header_limits", "lambda config: was(config)._replace(elements=1 << 40)"),
            ("pacsbridge.dicom.limits", "DEFAULT", "was._replace(elements=1 << 40)"),
        ],
    ),
    Without(
        "T-SSRF",
        "following redirects to nobody else",
        "tests/remote/test_client.py::test_redirects_elsewhere",
        "Regex|DID NOT RAISE|assert",
        [("pacsbridge.remote.client", "Client._ours", "lambda self, url, how: url")],
    ),
    Without(
        "T-SSRF",
        "looking at where a name leads",
        "tests/remote/test_addresses.py::test_where_no_name_may_lead",
        "DID NOT RAISE|assert",
        [("pacsbridge.remote.addresses", "_check", NEVER)],
    ),
    Without(
        "T-SEARCH",
        "giving up a turn where others wait",
        "tests/bridge/test_querying.py::test_a_query_ends_where_others_wait",
        "DID NOT RAISE",
        [
            (
                "pacsbridge.bridge.querying",
                "_chunks",
                "lambda store, find, offset, patience: was(store, find, offset, PATIENT)",
            )
        ],
    ),
    Without(
        "T-HTTP",
        "the deadline for the head of a request",
        "tests/faults/test_http.py::test_slow_clients_are_dropped[half-head]",
        "are still there",
        [("pacsbridge.connections", "_Alarm.set", NEVER)],
        deadline=True,
    ),
    Without(
        "T-HTTP",
        "making room for newcomers",
        "tests/faults/test_http.py::test_slow_bodies_make_room",
        "503",
        [("pacsbridge.connections", "Connections._in_the_way", NEVER)],
    ),
    Without(
        "T-SHUT",
        "ending what waits for an archive",
        "tests/faults/test_archives.py::test_end_while_an_archive_is_silent",
        "assert|TimeoutExpired",
        [("pacsbridge.remote.transport", "Transport.close", "lambda self: self._adapter.close()")],
        deadline=True,
    ),
    Without(
        "T-BACKUP",
        "comparing bytes with their digests",
        "tests/faults/test_backup.py::test_verify_names_what_is_wrong_and_fails",
        "assert",
        [("pacsbridge.blobs.reader", "PackReader.content_is_intact", "lambda *_: True")],
    ),
    Without(
        "T-UID",
        "taking only UIDs for UIDs",
        "tests/faults/test_hostile_data.py::test_paths_for_uids",
        "assert 200 == 409",
        [("pacsbridge.kernel.values", "uid", "lambda text: text or None")],
    ),
    Without(
        "T-REBIND",
        "answering to known names alone",
        "tests/faults/test_http.py::test_somebody_elses_name",
        "KeyError: 'reason'",
        [("pacsbridge.access.ways", "is_ours", "lambda authority, names: True")],
    ),
    Without(
        "T-POLY",
        "emptying the first 128 bytes",
        "tests/faults/test_hostile_data.py::test_files_that_are_programs",
        "assert",
        [("pacsbridge.dicom.part10", "is_tiff", "lambda preamble: True")],
    ),
    Without(
        "T-XSS",
        "escaping in pages",
        "tests/faults/test_hostile_data.py::test_scripts_in_names",
        "script",
        [("pacsbridge.web.showing", "ENVIRONMENT", "setattr(was, 'autoescape', False) or was")],
    ),
    Without(
        "T-RENDER",
        "the deadline for a picture",
        "tests/render/test_pool.py::test_what_takes_too_long_is_given_up",
        HANGS,
        [
            (
                "pacsbridge.render.pool",
                "Pool.__init__",
                f"lambda self, limits: was(self, {REPLACE}(limits, seconds=3600.0))",
            )
        ],
        deadline=True,
        seconds=40,
    ),
)


def outcome(one: Without) -> tuple[str, str]:
    """What comes of the test ("fails" as it should, or what happens instead), and by which line."""
    said = _run(one)
    errors = [line[1:].strip() for line in said.splitlines() if line.startswith("E ")]
    told = next((line for line in errors if re.search(f"{one.said}|{HANGS}", line)), "")
    return _word(one, said.splitlines()[-1], told), told or " ".join(errors)


def _word(one: Without, summary: str, told: str) -> str:
    counted = {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", summary)}
    if not counted.get("failed"):
        return "PASSES" if counted.get("passed") else f"NOT TRIED ({summary})"
    if re.search(HANGS, told):
        return "fails" if one.deadline else "HANGS"
    return "fails" if told else "FAILS OTHERWISE"


def _run(one: Without) -> str:
    """What pytest says of a test without its control."""
    path = os.pathsep.join(filter(None, (str(SWITCHED_OFF), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-n0", "-x", "-q", "-p", "no:cacheprovider"),
            *(f"--timeout={one.seconds}", one.test),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "WITHOUT_CONTROLS": json.dumps(one.patches)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "nothing said"


def main(rows: Sequence[str]) -> int:
    """Try some rows, or all of them; the exit code."""
    chosen = [one for one in TABLE if not rows or one.row in rows]
    unknown = set(rows) - {one.row for one in chosen}
    if unknown:
        print(f"not in the table: {', '.join(sorted(unknown))}")
        return 2
    bad = 0
    for one in chosen:
        start = time.monotonic()
        found, told = outcome(one)
        bad += found != "fails"
        seconds = time.monotonic() - start
        print(f"{one.row:12}| {one.off:76} | {found} | {seconds:3.0f} s | {told[:90]}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} controls were missed by their tests")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
