"""How the tests themselves are run: side by side, none skipped where that is asked for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from fresh_databases import Repeated
from ports import free_port

from pacsbridge.store import migrations
from pacsbridge.store.store import Store

ROOT = Path(__file__).parent.parent
SKIPS_ONE = "import pytest\ndef test_one():\n    pass\ndef test_two():\n    pytest.skip('no peer')\n"
SKIPS_ALL = "import pytest\npytest.skip('no driver', allow_module_level=True)\n"


@pytest.mark.parametrize(
    ("module", "summary"), [(SKIPS_ONE, "1 failed, 1 passed"), (SKIPS_ALL, r"\d errors?")], ids=["one", "all"]
)
def test_forbidden_skips_fail(tmp_path: Path, module: str, summary: str) -> None:
    """In workers too, of a test and of a whole module; the run closes on the summary line of pytest."""
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_peer.py").write_text(module)
    plugins = ["-p", "xdist", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
    options = ["-c", str(ROOT / "pyproject.toml"), "-n2", "--forbid-skips"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *options, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert done.returncode != 0
    assert re.fullmatch(rf"=+ {summary} in .*", done.stdout.splitlines()[-1]), done.stdout
    assert "skipped, which is forbidden here" in done.stdout


def test_workers_are_for_folders(pytestconfig: pytest.Config) -> None:
    """A folder gets a worker for each CPU that we may use and one more; modules and tests are run at once."""
    pytest.importorskip("xdist", reason="no workers: pip install pytest-xdist")

    def workers(*names: str) -> int:
        arguments = [str(Path(__file__).parent / name) for name in names]
        count: int = pytestconfig.hook.pytest_xdist_auto_num_workers(config=SimpleNamespace(args=arguments))
        return count

    assert workers("") == workers("store", "test_cli.py") == min(len(os.sched_getaffinity(0)) + 1, 8)
    assert workers("test_cli.py") == workers("test_cli.py::test_migrate", "test_config.py") == 0


def test_ports_are_nobodys() -> None:
    """They lie below those that Linux gives to whoever asks for any, from 32768 unless told otherwise."""
    assert all(1024 < free_port() < 32_768 for _ in range(100))


def described(store: Store) -> list[str]:
    """The tables of a database as its engine tells them."""
    with store._database.read() as connection:
        look = sa.inspect(connection)
        looks = (look.get_columns, look.get_foreign_keys, look.get_pk_constraint)
        tables = sorted(look.get_table_names())
        indexes = [(one["name"], one["column_names"]) for name in tables for one in look.get_indexes(name)]
        return [*map(str, indexes), *(str(one(name)) for name in tables for one in looks)]


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_fresh_databases_are_migrated_ones(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: str
) -> None:
    """What is repeated makes the very database that the migrations make, and counts as many of them."""
    monkeypatch.setattr(migrations, "migrate", Repeated())
    found = []
    for folder in (tmp_path / "migrated", tmp_path / "repeated"):
        folder.mkdir()
        url = "sqlite" if engine == "sqlite" else emptied(request.getfixturevalue("postgresql_url"))
        store = Store(url, folder)
        found.append((store.migrate(), store.pending_migrations(), described(store)))
        store.close()
    assert found[0] == found[1]
    assert found[0][:2] == (len(migrations.MIGRATIONS), 0)


def emptied(url: str) -> str:
    """A PostgreSQL server without tables."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url
