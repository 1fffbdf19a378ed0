"""The pooled session of one host: the only module that knows requests and urllib3."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
import ssl
import threading
import time as _time
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import prepend_scheme_if_needed, select_proxy
from urllib3.exceptions import HTTPError as UrllibError
from urllib3.exceptions import TimeoutError as UrllibTimeout

from cryptoservice._version import __version__
from cryptoservice.binance.http.responses import Response, Transient
from cryptoservice.clock import raise_if_stopped
from cryptoservice.errors import Interrupted, NetworkSetupError, UsageError

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0
# Seconds for a whole response: the read timeout alone starts anew with every byte.
WHOLE_TIMEOUT = 300.0
# What setup.cfg asks for too: a checkout runs without an installer that would see to it.
NEEDED_VERSIONS = {"requests": (2, 31), "urllib3": (2, 2)}
_CHUNK = 64 * 1024
# The status of these says what matters, so a body that breaks off is no reason to ask such a host again.
_REFUSALS = frozenset((403, 418, 429, 451))
_REFUSAL_BYTES = 64 * 1024
_PROXY_SCHEMES = frozenset(("http", "https", "socks4", "socks4a", "socks5", "socks5h"))
# Digits of a Content-Length that can be believed.
_LONGEST_LENGTH = 19


class Session:
    """Sends single requests to one host, over kept connections. Safe to use from many threads.

    `responded` is called whenever the host sends something; `stop` ends the reading of a long response.
    """

    def __init__(
        self, base_url: str, workers: int, headers: Mapping[str, str], *, responded: Callable[[], None], stop: threading.Event
    ) -> None:
        require_versions({"requests": requests.__version__, "urllib3": urllib3.__version__})  # type: ignore[attr-defined]
        self._base_url = base_url
        self._requests = _session(base_url, workers, headers)
        self._template: requests.PreparedRequest | None = None
        self._responded = responded
        self._stop = stop

    def close(self) -> None:
        """Close the connections."""
        self._requests.close()

    def get(self, target: str, headers: Mapping[str, str] | None, max_bytes: int, max_seconds: float = math.inf) -> Response:
        """One GET, with its whole body unpacked; of a refusal as much of the body as arrived.

        No pause of the host may take longer than `max_seconds`, and the body as a whole neither. Headers that arrive byte by byte
        can take longer: a caller that cannot wait for them asks in a thread of its own.
        Raises Transient when no whole response came, NetworkSetupError for a certificate that is refused, Interrupted on `stop`.
        """
        try:
            response = self._send(target, headers, (min(CONNECT_TIMEOUT, max_seconds), min(READ_TIMEOUT, max_seconds)))
            self._responded()
            with response:
                body = self._body(response, max_bytes, max_seconds)
        except (requests.exceptions.Timeout, UrllibTimeout):
            raise Transient("timeout", "no response in time") from None
        except requests.exceptions.ProxyError as error:
            self._raise_if_certificate(error, "the proxy")
            # The text of a proxy error holds the address of the proxy, which may hold a password.
            raise Transient("proxy_error", "the proxy did not pass the request on") from None
        except requests.exceptions.SSLError as error:
            self._raise_if_certificate(error, _host_of(self._base_url))
            raise Transient("tls_error", "no secure connection could be made") from None
        except requests.exceptions.ConnectionError as error:
            raise Transient("connection_error", _plain_words(error)) from None
        except (requests.exceptions.RequestException, UrllibError, OSError, ValueError, TypeError) as error:
            # requests raises ValueError and TypeError for headers and proxy addresses that it cannot use.
            raise Transient("connection_error", f"the request or its response broke off ({type(error).__name__})") from None
        return Response(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)

    def _send(self, target: str, headers: Mapping[str, str] | None, timeouts: tuple[float, float]) -> requests.Response:
        """What arrives first of the response to a GET. Redirects are responses like any other, and cookies are not kept.

        Session.get would prepare every request anew and look for redirects and cookies, which takes as long as all the rest.
        """
        session = self._requests
        if self._template is None:
            self._template = session.prepare_request(requests.Request("GET", self._base_url + "/"))
        request = copy(self._template)
        # The target is percent-encoded, so it needs no preparation.
        request.url = f"{str(request.url)[:-1]}{target}"
        if headers:
            request.headers = CaseInsensitiveDict({**request.headers, **headers})
        adapter = session.get_adapter(self._base_url)
        how: dict[str, Any] = {"verify": session.verify, "cert": session.cert, "proxies": session.proxies}
        return adapter.send(request, stream=True, timeout=timeouts, **how)

    @staticmethod
    def _raise_if_certificate(error: Exception, whose: str) -> None:
        words = _certificate_words(error)
        if words is not None:
            raise NetworkSetupError(
                f"the certificate of {whose} is refused: {words}",
                hint="if the network has a certificate authority of its own, name its file in REQUESTS_CA_BUNDLE",
            ) from None

    def _body(self, response: requests.Response, max_bytes: int, max_seconds: float) -> bytes:
        is_refusal = response.status_code in _REFUSALS
        return self._refusal(response, max_seconds) if is_refusal else self._read(response, max_bytes, max_seconds)

    def _refusal(self, response: requests.Response, max_seconds: float) -> bytes:
        arrived: list[bytes] = []
        # Also a request to stop ends only the reading: this may be a ban, and then it must be noted.
        with contextlib.suppress(Transient, Interrupted, requests.exceptions.RequestException, UrllibError, OSError, ValueError):
            self._read(response, _REFUSAL_BYTES, max_seconds, arrived)
        return b"".join(arrived)

    def _read(self, response: requests.Response, max_bytes: int, max_seconds: float, arrived: list[bytes] | None = None) -> bytes:
        """The whole body; `arrived` is given each piece at once."""
        chunks: list[bytes] = [] if arrived is None else arrived
        size = 0
        deadline = _time.monotonic() + min(WHOLE_TIMEOUT, max_seconds)
        for chunk in _chunks(response):
            chunks.append(chunk)
            raise_if_stopped(self._stop)
            # A long body that still arrives shows that the host is alive.
            self._responded()
            if _time.monotonic() > deadline:
                raise Transient("timeout", "the response arrives too slowly")
            size += len(chunk)
            if size > max_bytes:
                raise Transient("answer_too_large", f"the response is larger than {max_bytes} bytes")
        # Whether a short body is an error depends on the version of urllib3, so the length is checked here.
        declared = response.headers.get("Content-Length", "")
        if declared.isdecimal() and len(declared) < _LONGEST_LENGTH and response.raw.tell() != int(declared):
            raise Transient("truncated_answer", f"{response.raw.tell()} of {declared} bytes arrived")
        return b"".join(chunks)


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """The body as it arrives. Waiting for whole blocks would hide a host that sends a byte at a time from the deadline."""
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        yield chunk


def _plain_words(error: Exception) -> str:
    text = str(error)
    if "refused" in text:
        return "connection refused"
    if "resolve" in text or "Name or service" in text:
        return "the host name could not be resolved"
    return "the connection broke"


def _session(base_url: str, workers: int, headers: Mapping[str, str]) -> requests.Session:
    session = requests.Session()
    # Proxies and certificates come from the usual environment variables, read once. After that trust_env is off: with it
    # every request would send the password that ~/.netrc holds for the host.
    try:
        settings = session.merge_environment_settings(base_url, {}, False, None, None)
    except ValueError:
        raise _unusable_proxy() from None
    _check_proxy(select_proxy(base_url, settings["proxies"]))
    if base_url.lower().startswith("https:") and isinstance(settings["verify"], str):
        _check_authorities(settings["verify"])
    session.trust_env = False
    session.proxies = dict(settings["proxies"])
    session.verify = settings["verify"]
    session.cert = settings["cert"]
    session.headers["User-Agent"] = f"cryptoservice/{__version__}"
    session.headers["Accept-Encoding"] = "gzip"
    session.headers.update(headers)
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=workers, max_retries=0, pool_block=False)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def require_versions(versions: Mapping[str, str]) -> None:
    """Raise NetworkSetupError for packages that are older than what this module is written for; all of them are named."""
    old = {}
    for name, needed in NEEDED_VERSIONS.items():
        numbers = re.match(r"(\d+)\.(\d+)", versions[name])
        if numbers and (int(numbers[1]), int(numbers[2])) < needed:
            old[name] = ".".join(map(str, needed))
    if old:
        raise NetworkSetupError(
            "; ".join(f"{name} {versions[name]} is too old: version {wanted} or later is needed" for name, wanted in old.items()),
            hint="install with: pip install " + " ".join(f"'{name}>={wanted}'" for name, wanted in old.items()),
        )


def _unusable_proxy() -> UsageError:
    # The address is not shown, because it may hold a password.
    return UsageError("the proxy in the environment has no usable address", hint="check HTTP_PROXY and HTTPS_PROXY")


def _check_proxy(address: str | None) -> None:
    """Raise an error for a proxy through which no request could ever go."""
    if not address:
        return
    try:
        parts = urlsplit(prepend_scheme_if_needed(address, "http"))  # type: ignore[no-untyped-call]
        usable = parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except (ValueError, TypeError, UrllibError):
        raise _unusable_proxy() from None
    if not usable:
        raise _unusable_proxy()
    if parts.scheme.startswith("socks") and importlib.util.find_spec("socks") is None:
        raise NetworkSetupError(
            "the environment names a SOCKS proxy, and the package PySocks, which such a proxy needs, is not installed",
            hint="install it with: pip install 'requests[socks]', or use another proxy",
        )


def _check_authorities(place: str) -> None:
    """Raise NetworkSetupError when the file or folder of certificate authorities that the environment names cannot be used."""
    variable = "REQUESTS_CA_BUNDLE" if os.environ.get("REQUESTS_CA_BUNDLE") else "CURL_CA_BUNDLE"
    hint = f"correct {variable}, or leave it out"
    if not os.path.exists(place):  # noqa: PTH110 - a path from the environment, shown as it is
        raise NetworkSetupError(f"the certificate file {place} does not exist", hint=hint)
    try:
        if not os.path.isdir(place):  # noqa: PTH112
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(place)
    except OSError as error:
        raise NetworkSetupError(f"the certificate file {place} cannot be used: {error.strerror or error}", hint=hint) from None


def _certificate_words(error: BaseException) -> str | None:
    """Why a certificate is refused, when that is what lies behind the error; else None."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, ssl.SSLCertVerificationError):
            return str(found.verify_message or found.strerror or "it cannot be verified")
        # urllib3 raises it for a name that the certificate does not hold. Its versions keep this class in different places.
        if type(found).__name__ == "CertificateError":
            return str(found)
        waiting += [*found.args, getattr(found, "reason", None), found.__cause__, found.__context__]
    return None


def _host_of(base_url: str) -> str:
    return urlsplit(base_url).netloc
