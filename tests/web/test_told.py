"""A study that only an archive has, as its pages tell it; the archive is another bridge."""

import time
from contextlib import ExitStack
from pathlib import Path

from page_site import CT, site, words


def test_a_study_that_an_archive_has(tmp_path: Path) -> None:
    """Who told it, where it can be fetched, what comes of trying; and without pictures of our own."""
    with ExitStack() as there:
        archive = there.enter_context(site(tmp_path / "archive"))
        config = f'[[source]]\nname = "main-pacs"\nurl = "{archive.root}/dicomweb"\npoll_seconds = 1\n'
        with site(tmp_path / "bridge", samples=False, config=config) as running:
            deadline = time.monotonic() + 60
            while running.get(f"/studies/{CT}").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            page = running.get(f"/studies/{CT}")
            assert "main-pacs lists it" in words(page)
            assert f"{archive.root}/dicomweb" in words(page)
            assert "thumbnail" not in page.text
            assert "main-pacs" in words(running.get("/"))
            reference = page.text.split('name="endpoint" value="')[1].split('"')[0]
            form = {"endpoint": reference}
            tried = running.post(f"/studies/{CT}/try", form, f"/studies/{CT}")
            assert "it answers with 5 series of the study" in words(tried)
            there.close()
            away = running.post(f"/studies/{CT}/try", form, f"/studies/{CT}")
            assert away.status_code == 200
            assert 'class="alert"' in away.text
