"""The pooled session of one host: the only module that knows requests and urllib3."""

from __future__ import annotations

import threading
import time as _time
from collections.abc import Callable, Iterator, Mapping

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError as UrllibError
from urllib3.exceptions import TimeoutError as UrllibTimeout

from cryptoservice._version import __version__
from cryptoservice.binance.http.responses import Response, Transient
from cryptoservice.clock import raise_if_stopped
from cryptoservice.errors import UsageError

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0
# Seconds for a whole response: the read timeout alone starts anew with every byte.
WHOLE_TIMEOUT = 300.0
_CHUNK = 64 * 1024
# Digits of a Content-Length that can be believed.
_LONGEST_LENGTH = 19


class Session:
    """Sends single requests to one host, over kept connections. Safe to use from many threads.

    `responded` is called whenever the host sends something; `stop` ends the reading of a long response.
    """

    def __init__(
        self, base_url: str, workers: int, headers: Mapping[str, str], *, responded: Callable[[], None], stop: threading.Event
    ) -> None:
        self._base_url = base_url
        self._requests = _session(base_url, workers, headers)
        self._responded = responded
        self._stop = stop

    def close(self) -> None:
        """Close the connections."""
        self._requests.close()

    def get(self, target: str, headers: Mapping[str, str] | None, max_bytes: int) -> Response:
        """One GET, with its whole body unpacked. Raises Transient when no whole response came, and Interrupted on `stop`."""
        try:
            response = self._requests.get(
                self._base_url + target,
                headers=dict(headers or {}),
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
                stream=True,
            )
            self._responded()
            with response:
                body = self._read(response, max_bytes)
        except (requests.exceptions.Timeout, UrllibTimeout):
            raise Transient("timeout", "no response in time") from None
        except requests.exceptions.ProxyError:
            # The text of a proxy error holds the address of the proxy, which may hold a password.
            raise Transient("proxy_error", "the proxy did not pass the request on") from None
        except requests.exceptions.SSLError:
            raise Transient("tls_error", "no secure connection could be made") from None
        except requests.exceptions.ConnectionError as error:
            raise Transient("connection_error", _plain_words(error)) from None
        except (requests.exceptions.RequestException, UrllibError, OSError, ValueError, TypeError) as error:
            # requests raises ValueError and TypeError for headers and proxy addresses that it cannot use.
            raise Transient("connection_error", f"the request or its response broke off ({type(error).__name__})") from None
        return Response(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)

    def _read(self, response: requests.Response, max_bytes: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        deadline = _time.monotonic() + WHOLE_TIMEOUT
        for chunk in _chunks(response):
            raise_if_stopped(self._stop)
            # A long body that still arrives shows that the host is alive.
            self._responded()
            if _time.monotonic() > deadline:
                raise Transient("timeout", "the response arrives too slowly")
            size += len(chunk)
            if size > max_bytes:
                raise Transient("answer_too_large", f"the response is larger than {max_bytes} bytes")
            chunks.append(chunk)
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


class _WithoutRedirects(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: a redirect is a response like any other. requests would read its body even without following it."""
        return None


def _session(base_url: str, workers: int, headers: Mapping[str, str]) -> requests.Session:
    session = _WithoutRedirects()
    # Proxies and certificates come from the usual environment variables, read once. After that trust_env is off: with it
    # every request would send the password that ~/.netrc holds for the host.
    try:
        settings = session.merge_environment_settings(base_url, {}, False, None, None)
    except ValueError:
        raise UsageError("the proxy in the environment has no usable address", hint="check HTTP_PROXY and HTTPS_PROXY") from None
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
