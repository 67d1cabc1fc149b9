"""The viewer's files as browsers get them, with our configuration, under a policy that asks nobody else."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from aiohttp import web

from pacsbridge.viewer.forwarding import DICOMWEB
from pacsbridge.viewer.login import Login

_INDEX = "/index.html"
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_HASHED_NAME = re.compile(r"(?:^|\.)[0-9a-f]{16}\.[a-z0-9]+$")

_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"

_SOURCE: Mapping[str, object] = {
    "friendlyName": "pacsbridge",
    "name": "pacsbridge",
    "imageRendering": "wadors",
    "thumbnailRendering": "wadors",
    "enableStudyLazyLoad": True,
    "supportsFuzzyMatching": True,
    "supportsWildcard": True,
    "qidoSupportsIncludeField": True,
    "dicomUploadEnabled": False,
    "omitQuotationForMultipartRequest": False,
    "singlepart": "bulkdata,video",
}

_SETTINGS: Mapping[str, object] = {
    "name": "pacsbridge",
    "routerBasename": None,
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "showStudyList": True,
    "maxNumberOfWebWorkers": 3,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 10},
    "defaultDataSourceName": "pacsbridge",
}

_CONFIGURATION = """const root = location.origin + %(path)s;
window.config = %(settings)s;
const login = %(login)s;
if (login) {
  const pages = {
    redirect_uri: "/callback",
    silent_redirect_uri: "/silent-refresh.html",
    post_logout_redirect_uri: "/",
  };
  for (const name in pages) pages[name] = location.origin + pages[name];
  window.config.oidc = [{ ...login, ...pages }];
}
window.config.dataSources = [
  {
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
    sourceName: "pacsbridge",
    configuration: {
      ...%(source)s,
      qidoRoot: root,
      wadoRoot: root,
      wadoUriRoot: root,
      bulkDataURI: {
        enabled: true,
        relativeResolution: "studies",
        transform: url => url.replace(/^.*?(?=[/]studies[/])/, root),
      },
    },
  },
];
"""
"""One source of studies, and none of those that a link could point elsewhere (`?url=`)."""


def configuration(login: Login | None = None) -> str:
    """`app-config.js`; with `login` people sign in before they see anything."""
    return _CONFIGURATION % {
        "login": json.dumps(login and login.settings),
        "path": json.dumps(DICOMWEB),
        "settings": json.dumps(_SETTINGS, indent=2),
        "source": json.dumps(_SOURCE),
    }


_SILENT: Mapping[str, str] = {
    "/init-service-worker.js": "",
    "/sw.js": "",
    "/google.js": "",
}
"""Answered in the place of the package's own: its service workers ask others, as its configuration does."""


def policy(*scripts: str, others: Iterable[str] = ()) -> str:
    """A Content-Security-Policy that lets the viewer work and asks nobody but this origin and `others`.

    `scripts`: sources of scripts besides the files of this origin and WebAssembly (CSP 3, 2.3.1).
    """
    return "; ".join(
        (
            "default-src 'self'",
            " ".join(("script-src 'self' 'wasm-unsafe-eval'", *scripts)),
            "worker-src 'self' blob:",
            " ".join(("connect-src 'self' blob: data:", *others)),
            "img-src 'self' blob: data:",
            "media-src 'self' blob:",
            "font-src 'self' data:",
            "style-src 'self' 'unsafe-inline'",
            "object-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def inline_scripts(index: bytes) -> tuple[str, ...]:
    """The scripts that stand in a page, as sources: by their digests."""
    digests = (hashlib.sha256(one).digest() for one in _INLINE_SCRIPT.findall(index))
    return tuple(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests)


WORKERS = policy("'unsafe-eval'")
"""The policy of script files, heeded where they run as workers: the decoders make functions of text."""


def headers(index: bytes, others: Iterable[str] = ()) -> Mapping[str, str]:
    """Header fields of every page: the policy, and isolation, which shared memory for decoders needs."""
    return {
        "Content-Security-Policy": policy(*inline_scripts(index), others=others),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


class Pages:
    """The plain files of a folder by their paths, read once: what is no file of the package is not there."""

    def __init__(self, folder: Path, login: Login | None = None) -> None:
        self._ours = {"/app-config.js": configuration(login), **_SILENT}
        self._files = {
            f"/{path.relative_to(folder).as_posix()}": path
            for path in folder.rglob("*")
            if path.is_file() and not path.is_symlink()
        }
        self.headers = headers(self._files[_INDEX].read_bytes(), login.origins if login else ())

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The file under a path; the first page for paths that are the viewer's own routes; else 404."""
        path = request.path
        if path in self._ours:
            return web.Response(
                text=self._ours[path], content_type="text/javascript", headers={"Cache-Control": _ASK_AGAIN}
            )
        if path not in self._files:
            if "." in path.rpartition("/")[2]:
                raise web.HTTPNotFound
            path = _INDEX
        return web.FileResponse(self._files[path], headers=_fields(path.rpartition("/")[2]))


def _fields(name: str) -> Mapping[str, str]:
    """What a file's name says of how it is kept and what it may do."""
    caching = {"Cache-Control": _FOREVER if _HASHED_NAME.search(name) else _ASK_AGAIN}
    return caching | ({"Content-Security-Policy": WORKERS} if name.endswith(".js") else {})
