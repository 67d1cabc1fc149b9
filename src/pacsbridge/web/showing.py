"""Pages out of templates, and the files that go with them: everything in a page is escaped."""

import hashlib
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any, NamedTuple

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pacsbridge.access.guard import access_of
from pacsbridge.access.rights import OPERATOR
from pacsbridge.access.sessions import name_of
from pacsbridge.web import wording
from pacsbridge.web.service import SERVICE

SEAL = "csrf"
"""The field of a form that shows it to be ours."""

SIGNED_IN = web.RequestKey("pacsbridge_signed_in", bool)
"""There where a session's cookie stood for the caller."""

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """A file that pages name: its type, its bytes, and the digest that stands in its URL."""

    type: str
    body: bytes
    digest: str


def _assets() -> Mapping[str, Asset]:
    found = {}
    for file in files("pacsbridge.web").joinpath("static").iterdir():
        ending = file.name[file.name.rfind(".") :]
        if ending in _TYPES:
            body = file.read_bytes()
            found[file.name] = Asset(_TYPES[ending], body, hashlib.sha256(body).hexdigest()[:16])
    return found


ASSETS = _assets()


def asset(name: str) -> str:
    """The path of a file of `static`; it changes with the file."""
    return f"/static/{ASSETS[name].digest}/{name}"


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("pacsbridge.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["asset"] = asset
    made.filters.update(wording.FILTERS)
    return made


ENVIRONMENT = _environment()


def page(
    request: web.Request,
    template: str,
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    **shown: Any,
) -> web.Response:
    """A page of a template with what it shows; any thread may make one."""
    text = ENVIRONMENT.get_template(template).render({**_frame(request), **shown})
    return web.Response(text=text, status=status, headers=headers, content_type="text/html")


def _frame(request: web.Request) -> Mapping[str, Any]:
    """What every template finds: the path, a form's seal, what the navigation may offer."""
    service = request.app[SERVICE]
    access = access_of(request)
    known = service.gate is None or access is not None
    return {
        "path": request.path,
        "version": service.settings.version,
        "csrf_field": partial(csrf_field, request),
        "signed_in": SIGNED_IN in request,
        "may_see": known,
        "operator": known and (access is None or OPERATOR in access.everywhere),
    }


def csrf_field(request: web.Request) -> Markup:
    """The hidden field that every form of ours has."""
    seal = request.app[SERVICE].sessions.seal(name_of(request))
    return Markup('<input type="hidden" name="{}" value="{}">').format(SEAL, seal)


def see_other(path: str) -> web.Response:
    """After a post: look there. `path` is one of ours."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": path})


async def static(request: web.Request) -> web.StreamResponse:
    """A file of `static`, to be kept for good: other bytes have another URL."""
    found = ASSETS.get(request.match_info["name"])
    if found is None or found.digest != request.match_info["digest"]:
        raise web.HTTPNotFound
    tag = f'"{found.digest}"'
    headers = {"ETag": tag, "Cache-Control": "public, max-age=31536000, immutable"}
    if any(one.value in (found.digest, "*") for one in request.if_none_match or ()):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return web.Response(body=found.body, content_type=found.type, charset="utf-8", headers=headers)
