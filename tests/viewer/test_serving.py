import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from pacsbridge.viewer.forwarding import Forwarding, session
from pacsbridge.viewer.pages import Pages
from pacsbridge.viewer.serving import application, invitation

INDEX = b"<html><script>window.PUBLIC_URL='/'</script></html>"
BASE = "/behind/dicomweb"
Client = TestClient[web.Request, web.Application]


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    """A folder of a few pages."""
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in ("app.bundle.0123456789abcdef.js", "sw.js", "app-config.js", "plain.css"):
        (folder / name).write_text(f"theirs: {name}")
    (folder / "index.html").write_bytes(INDEX)
    (tmp_path / "secret").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret")
    return Pages(folder)


async def upstream(request: web.Request) -> web.StreamResponse:
    """What was asked, as text; some paths do as they say."""
    if request.path.endswith("/cut"):
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x")
        assert request.transport is not None
        request.transport.abort()
        return response
    if request.path.endswith("/moved"):
        raise web.HTTPFound("http://elsewhere.invalid/")
    names = ("Accept", "Authorization", "Range", "Cookie")
    told = "\n".join([request.method, request.raw_path, *(request.headers.get(name, "-") for name in names)])
    return web.Response(
        text=told, headers={"ETag": '"1"', "Set-Cookie": "a=b", "Warning": '299 x "y"', "X-Inner": "z"}
    )


def tried(pages: Pages, work: Callable[[Client], Awaitable[None]]) -> None:
    """Does something with a viewer in front of a DICOMweb service."""

    async def run() -> None:
        inner = web.Application()
        inner.router.add_route("*", "/{path:.*}", upstream)
        async with TestServer(inner) as behind, session() as client:
            app = application(pages, Forwarding(str(behind.make_url(BASE)), client))
            async with TestClient(TestServer(app)) as viewer:
                await work(viewer)

    asyncio.run(run())


def test_pages_and_how_long_they_are_kept(pages: Pages) -> None:
    """Hashed names for ever, others not; routes of the viewer get its first page."""

    async def work(viewer: Client) -> None:
        for path, text, kept in (
            ("/app.bundle.0123456789abcdef.js", "theirs", "immutable"),
            ("/plain.css", "theirs", "no-cache"),
            ("/", "PUBLIC_URL", "no-cache"),
            ("/viewer?StudyInstanceUIDs=1.2.3", "PUBLIC_URL", "no-cache"),
        ):
            answer = await viewer.get(path)
            assert answer.status == 200
            assert text in await answer.text()
            assert kept in answer.headers["Cache-Control"]

    tried(pages, work)


def test_our_files_stand_in_for_theirs(pages: Pages) -> None:
    """The configuration knows this origin alone, and there is no service worker."""

    async def work(viewer: Client) -> None:
        text = await (await viewer.get("/app-config.js")).text()
        assert re.findall(r"sourcesModule|dataSourcesModule\.\w+", text) == ["dataSourcesModule.dicomweb"]
        assert "theirs" not in text
        assert "://" not in text
        assert await (await viewer.get("/sw.js")).text() == ""

    tried(pages, work)


def test_pages_may_ask_nobody_else(pages: Pages) -> None:
    """Every answer carries the policy and isolation; only script files, thus workers, may make functions."""

    async def work(viewer: Client) -> None:
        for path in ("/", "/nothing.here", "/dicomweb/studies", "/app-config.js"):
            headers = (await viewer.get(path)).headers
            policy = headers["Content-Security-Policy"]
            assert "connect-src 'self' blob: data:;" in policy
            assert "http" not in policy
            assert "'unsafe-eval'" not in policy
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            assert headers["Server"] == "pacsbridge"
        script = await viewer.get("/app.bundle.0123456789abcdef.js")
        assert "'unsafe-eval'" in script.headers["Content-Security-Policy"]
        assert "'sha256-" in (await viewer.get("/")).headers["Content-Security-Policy"]

    tried(pages, work)


@pytest.mark.parametrize(
    "path", ["/nothing.js", "/link.txt", "/../secret.txt", "/%2e%2e/secret.txt", "/assets/../../secret.txt"]
)
def test_what_is_no_page_is_not_there(pages: Pages, path: str) -> None:
    """Links and paths upwards lead to nothing."""

    async def work(viewer: Client) -> None:
        answer = await viewer.get(URL(path, encoded=True))
        assert answer.status == 404
        assert "secret" not in await answer.text()

    tried(pages, work)


def test_reads_are_handed_on(pages: Pages) -> None:
    """Path, query and the fields that matter, to and fro; no cookies and nothing else."""
    asked = {
        "Accept": "application/dicom+json",
        "Authorization": "Bearer t",
        "Range": "bytes=0-",
        "Cookie": "c=d",
    }

    async def work(viewer: Client) -> None:
        path = "/studies/1.2/series?includefield=00080021%2C00080031&PatientName=a%26b"
        answer = await viewer.get(URL(f"/dicomweb{path}", encoded=True), headers=asked)
        lines = (await answer.text()).split("\n")
        assert lines[0] == "GET"
        assert lines[1].startswith(f"{BASE}/studies/1.2/series?")
        assert URL(lines[1]).query == URL(path).query
        assert lines[2:] == ["application/dicom+json", "Bearer t", "bytes=0-", "-"]
        assert answer.headers["ETag"] == '"1"'
        assert answer.headers["Warning"] == '299 x "y"'
        assert "Set-Cookie" not in answer.headers
        assert "X-Inner" not in answer.headers

    tried(pages, work)


@pytest.mark.parametrize(
    "path", ["../fhir/Patient", "studies/../../fhir", "studies/%2e%2e/x", "studies/a%2f..%2fb", "", "fhir"]
)
def test_only_dicomweb_is_handed_on(pages: Pages, path: str) -> None:
    """No path leads to anything else that the same server has."""

    async def work(viewer: Client) -> None:
        answer = await viewer.get(URL(f"/dicomweb/{path}", encoded=True))
        assert "GET" not in await answer.text()

    tried(pages, work)


def test_writes_are_refused(pages: Pages) -> None:
    """The viewer only looks."""

    async def work(viewer: Client) -> None:
        assert (await viewer.post("/dicomweb/studies", data=b"x")).status == 405
        assert (await viewer.delete("/dicomweb/studies/1.2")).status == 405

    tried(pages, work)


def test_redirects_are_not_followed(pages: Pages) -> None:
    """And where they lead is not told."""

    async def work(viewer: Client) -> None:
        answer = await viewer.get("/dicomweb/studies/moved", allow_redirects=False)
        assert answer.status == 302
        assert "Location" not in answer.headers

    tried(pages, work)


def test_an_answer_that_is_cut_off_stays_so(pages: Pages) -> None:
    """The browser sees a broken answer, not a short one."""

    async def work(viewer: Client) -> None:
        with pytest.raises(aiohttp.ClientError):
            await (await viewer.get("/dicomweb/studies/cut")).read()

    tried(pages, work)


def test_a_bridge_that_is_away_is_told(pages: Pages, free_port: Callable[[], int]) -> None:
    """By 502, in words."""

    async def run() -> None:
        async with session() as client:
            app = application(pages, Forwarding(f"http://127.0.0.1:{free_port()}/dicomweb", client))
            async with TestClient(TestServer(app)) as viewer:
                answer = await viewer.get("/dicomweb/studies")
                assert answer.status == 502
                assert "cannot be reached" in await answer.text()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("study", "said"), [("1.2.3", "StudyInstanceUIDs=1.2.3"), ("", "<Study"), (None, "does not answer")]
)
def test_the_invitation_has_a_link(study: str | None, said: str) -> None:
    """To a study where there is one, and says when the bridge does not answer."""
    text = invitation("http://127.0.0.1:3000", "http://127.0.0.1:8080/dicomweb", study)
    assert said in text
    assert ("does not answer" in text) == (study is None)
