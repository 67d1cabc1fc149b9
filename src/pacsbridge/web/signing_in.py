"""Signing in with a browser, and out again."""

from functools import partial
from http import HTTPStatus

from aiohttp import web

from pacsbridge.access.sessions import cookie_of, name_of, set_cookie
from pacsbridge.errors import NotUnderstood, Unauthenticated
from pacsbridge.web.faults import local
from pacsbridge.web.forms import Pairs, of_form, of_url, value
from pacsbridge.web.oauth import PATH
from pacsbridge.web.routes import Route
from pacsbridge.web.service import SERVICE, Web
from pacsbridge.web.showing import page, see_other


def _state_of(request: web.Request) -> str:
    """The name of the cookie that a sign-in has until it is done."""
    return f"{cookie_of(request).removeprefix('__Host-')}-login"


async def ask(request: web.Request) -> web.StreamResponse:
    """The page that asks for a token, or sends to the issuer."""
    service = request.app[SERVICE]
    if service.gate is None:
        return see_other("/")
    return _form(request, service, of_url(request), "")


def _form(
    request: web.Request, service: Web, pairs: Pairs, fault: str, status: int = HTTPStatus.OK
) -> web.Response:
    goes_to = local(value(pairs, "next") or "/")
    return page(
        request,
        "login.html",
        status,
        goes_to=goes_to,
        fault=fault,
        issuer=service.flow is not None,
        scopes=service.settings.scopes,
    )


async def take(request: web.Request) -> web.StreamResponse:
    """A session for the token that a form brings."""
    service = request.app[SERVICE]
    pairs = await of_form(request, service.settings.body_seconds)
    if service.gate is None:
        return see_other("/")
    token = value(pairs, "token")
    try:
        await service.gate.access(token)
    except Unauthenticated as exc:
        return _form(request, service, pairs, str(exc), HTTPStatus.UNAUTHORIZED)
    return _begun(request, service, token, see_other(local(value(pairs, "next") or "/")))


def _begun(request: web.Request, service: Web, token: str, response: web.Response) -> web.Response:
    service.sessions.end(name_of(request))
    set_cookie(request, response, service.sessions.begin(token))
    return response


async def start(request: web.Request) -> web.StreamResponse:
    """To the issuer; the cookie ties what comes back to this browser (RFC 9700 4.7)."""
    service = request.app[SERVICE]
    if service.flow is None:
        raise web.HTTPNotFound
    goes_to = local(value(of_url(request), "next") or "/")
    begun = await service.call(partial(service.flow.begin, goes_to))
    response = see_other(begun.url)
    response.set_cookie(
        _state_of(request),
        begun.state,
        max_age=600,
        path=PATH,
        secure=request.secure,
        httponly=True,
        samesite="Lax",
    )
    return response


async def done(request: web.Request) -> web.StreamResponse:
    """Back from the issuer, with a code.

    A strict cookie is not sent along a way that began at another site, so a page of ours goes on from here.
    """
    service = request.app[SERVICE]
    if service.flow is None or service.gate is None:
        raise web.HTTPNotFound
    pairs = of_url(request)
    state, code = value(pairs, "state"), value(pairs, "code")
    if not state or request.cookies.get(_state_of(request)) != state:
        raise NotUnderstood("this sign-in was not begun in this browser: sign in again")
    if not code:
        refused = "the issuer has refused: " + (value(pairs, "error")[:100] or "it sent no code")
        return _form(request, service, (), refused, HTTPStatus.UNAUTHORIZED)
    try:
        token, goes_to = await service.call(partial(service.flow.finish, state, code))
        await service.gate.access(token)
    except Unauthenticated as exc:
        return _form(request, service, (), str(exc), HTTPStatus.UNAUTHORIZED)
    response = _begun(request, service, token, page(request, "signed_in.html", goes_to=goes_to))
    response.del_cookie(_state_of(request), path=PATH)
    return response


async def leave(request: web.Request) -> web.StreamResponse:
    """The session ends; its token is forgotten."""
    request.app[SERVICE].sessions.end(name_of(request))
    response = see_other("/login")
    set_cookie(request, response, "")
    return response


ROUTES = (
    Route("GET", "/login", ask, everybody=True),
    Route("POST", "/login", take, everybody=True),
    Route("GET", "/login/start", start, everybody=True),
    Route("GET", PATH, done, everybody=True),
    Route("POST", "/logout", leave, everybody=True),
)
