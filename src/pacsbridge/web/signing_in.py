"""Signing in with a browser, and out again; each is on record in the audit log, whatever comes of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from urllib.parse import quote, unquote

from aiohttp import web

from pacsbridge.access.gate import Gate
from pacsbridge.access.rights import Access, Right
from pacsbridge.access.sessions import ASKED, REPLACED, SECONDS, cookie_of, name_of, set_cookie
from pacsbridge.errors import Denied, Forbidden, NotUnderstood, PacsbridgeError, Unauthenticated
from pacsbridge.kernel.audit import Who
from pacsbridge.kernel.audit_resource import instant
from pacsbridge.web import oauth
from pacsbridge.web.auditing import SIGN_IN, SignIn
from pacsbridge.web.faults import local
from pacsbridge.web.forms import Pairs, of_form, of_url, value
from pacsbridge.web.guarding import check_rights
from pacsbridge.web.oauth import CodeFlow
from pacsbridge.web.routes import PAGES, Route
from pacsbridge.web.service import SERVICE, Web
from pacsbridge.web.showing import page, see_other

_UNDER_WAY = "-login"
"""What the name of the cookie has more that a sign-in has until it is done."""

_BEHIND = "!"
"""In that cookie, between the state and where to go on: neither has it."""

_LONGEST = 3_000
"""Characters of where to go on, of the 4,096 bytes that browsers keep of a cookie."""

_WORDS = frozenset(
    """
    invalid_request unauthorized_client access_denied unsupported_response_type invalid_scope server_error
    temporarily_unavailable interaction_required login_required account_selection_required consent_required
    """.split()
)
"""How issuers refuse (RFC 6749 4.1.2.1, OpenID Connect Core 3.1.2.6); whatever else comes is not repeated."""


async def ask(request: web.Request) -> web.StreamResponse:
    """The page that asks for a token, or sends to the issuer."""
    service = request.app[SERVICE]
    if service.gate is None:
        return see_other("/")
    return _form(request, service, of_url(request))


def _form(request: web.Request, service: Web, pairs: Pairs, fault: Denied | None = None) -> web.Response:
    """The page; `fault` is why the sign-in before has failed."""
    refused = HTTPStatus.FORBIDDEN if isinstance(fault, Forbidden) else HTTPStatus.UNAUTHORIZED
    return page(
        request,
        "login.html",
        HTTPStatus.OK if fault is None else refused,
        goes_to=local(value(pairs, "next") or "/"),
        fault="" if fault is None else str(fault),
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
        with _on_record(request, "token"):
            access = await _known(request, service.gate, token)
    except Denied as exc:
        return _form(request, service, pairs, exc)
    return _begun(request, service, token, access, see_other(local(value(pairs, "next") or "/")))


@contextmanager
def _on_record(request: web.Request, by: str) -> Iterator[None]:
    """A sign-in is tried: by what, and why it fails if it does."""
    request[SIGN_IN] = SignIn(by, Who(request.remote or ""), reason="broken off")
    try:
        yield
    except PacsbridgeError as exc:
        request[SIGN_IN] = request[SIGN_IN]._replace(reason=str(exc))
        raise


async def _known(request: web.Request, gate: Gate, token: str) -> Access:
    """What the bearer of a token may have. Raises Unauthenticated, Unavailable; Forbidden if no page."""
    access = await gate.access(token)
    request[SIGN_IN] = request[SIGN_IN]._replace(who=access.who.at(request.remote or ""))
    if not any(_opens(access, rights) for rights in PAGES):
        raise Forbidden("the token has none of the scopes that pages need")
    return access


def _opens(access: Access, rights: tuple[Right, ...]) -> bool:
    try:
        check_rights(access, rights)
    except Forbidden:
        return False
    return True


def _begun(
    request: web.Request, service: Web, token: str, access: Access, response: web.Response
) -> web.Response:
    """A session under a new name, whatever name the browser came with."""
    now = time.time()
    seconds = min(access.until - now, SECONDS)
    service.sessions.end(name_of(request), REPLACED, request.remote or "")
    who = access.who.at(request.remote or "")
    set_cookie(request, response, service.sessions.begin(token, who, seconds))
    until = instant(int((now + seconds) * 1e6))
    request[SIGN_IN] = request[SIGN_IN]._replace(until=until, reason="")
    return response


async def start(request: web.Request) -> web.StreamResponse:
    """To the issuer; the cookie ties what comes back to this browser (RFC 9700 4.7).

    A session that there is ends here: on the way back its cookie is not sent along.
    """
    service = request.app[SERVICE]
    if service.flow is None or service.gate is None:
        raise web.HTTPNotFound
    goes_to = quote(local(value(of_url(request), "next") or "/"), safe="")
    begun = await service.gate.ask(service.flow.begin)
    response = see_other(begun.url)
    if name_of(request):
        service.sessions.end(name_of(request), REPLACED, request.remote or "")
        set_cookie(request, response, "")
    response.set_cookie(
        cookie_of(request, _UNDER_WAY),
        f"{begun.state}{_BEHIND}{goes_to if len(goes_to) <= _LONGEST else ''}",
        max_age=oauth.SECONDS,
        path="/",
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
    begun, _, place = request.cookies.get(cookie_of(request, _UNDER_WAY), "").partition(_BEHIND)
    goes_to = local(unquote(place))
    try:
        with _on_record(request, "code"):
            token = await _exchanged(request, service.flow, service.gate, begun)
            access = await _known(request, service.gate, token)
        response = _begun(request, service, token, access, page(request, "signed_in.html", goes_to=goes_to))
    except Denied as exc:
        response = _form(request, service, (("next", goes_to),), exc)
    response.del_cookie(cookie_of(request, _UNDER_WAY), path="/", secure=request.secure)
    return response


async def _exchanged(request: web.Request, flow: CodeFlow, gate: Gate, begun: str) -> str:
    """The token for the code of a sign-in that this browser has `begun`.

    Raises NotUnderstood, Unauthenticated, Unavailable.
    """
    pairs = of_url(request)
    state, code = value(pairs, "state"), value(pairs, "code")
    if not state or begun != state:
        raise NotUnderstood("this sign-in was not begun in this browser: sign in again")
    flow.check(state)
    if not code:
        told = value(pairs, "error")
        why = told if told in _WORDS else "it sent no code"
        raise Unauthenticated(f"the issuer has refused: {why}", invalid=False)
    return await gate.ask(partial(flow.finish, state, code))


async def leave(request: web.Request) -> web.StreamResponse:
    """The session ends; its token is forgotten, and what was searched for with it."""
    service, name = request.app[SERVICE], name_of(request)
    service.sessions.end(name, ASKED, request.remote or "")
    if name:
        service.kept.forget(name)
    response = see_other("/login")
    set_cookie(request, response, "")
    return response


ROUTES = (
    Route("GET", "/login", ask, everybody=True),
    Route("POST", "/login", take, everybody=True),
    Route("GET", "/login/start", start, everybody=True),
    Route("GET", oauth.PATH, done, everybody=True),
    Route("POST", "/logout", leave, everybody=True),
)
