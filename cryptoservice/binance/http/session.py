"""The pooled session of one host: the only room that knows requests and urllib3."""

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
# The read timeout starts anew with every byte; this one does not.
WHOLE_TIMEOUT = 300.0
_CHUNK = 64 * 1024
_LONGEST_LENGTH = 19


class Session:
    """Sends single requests to one host, over kept connections. Safe to use from many threads.

    `responded` is called whenever the host sends something; `stop` ends the reading of a long answer.
    """

    def __init__(
        self, base_url: str, workers: int, headers: Mapping[str, str], *, responded: Callable[[], None], stop: threading.Event
    ) -> None:
        self._base_url = base_url
        self._requests = _session(base_url, workers, headers)
        self._responded = responded
        self._stop = stop

    def close(self) -> None:
        """Give the connections back."""
        self._requests.close()

    def get(self, target: str, headers: Mapping[str, str] | None, max_bytes: int) -> Response:
        """One GET, wholly read. Transient when no whole answer came, Interrupted when told to stop."""
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
            raise Transient("timeout", "no answer in time") from None
        except requests.exceptions.ProxyError:
            # The text of a proxy error holds the proxy's address, and with it a password perhaps.
            raise Transient("proxy_error", "the proxy did not pass the request on") from None
        except requests.exceptions.SSLError:
            raise Transient("tls_error", "no secure connection could be made") from None
        except requests.exceptions.ConnectionError as error:
            raise Transient("connection_error", _plain(error)) from None
        except (requests.exceptions.RequestException, UrllibError, OSError, ValueError, TypeError) as error:
            # ValueError and TypeError come out of requests for headers and proxy addresses that make no sense.
            raise Transient("connection_error", f"the request or its answer broke off ({type(error).__name__})") from None
        return Response(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)

    def _read(self, response: requests.Response, max_bytes: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        deadline = _time.monotonic() + WHOLE_TIMEOUT
        for chunk in _arriving(response):
            raise_if_stopped(self._stop)
            # A large object that still flows is an answer, too.
            self._responded()
            if _time.monotonic() > deadline:
                raise Transient("timeout", "the answer trickled in too slowly")
            size += len(chunk)
            if size > max_bytes:
                raise Transient("answer_too_large", f"the answer is larger than {max_bytes} bytes")
            chunks.append(chunk)
        # requests leaves it to the urllib3 version at hand whether a short body is an error: look for ourselves.
        declared = response.headers.get("Content-Length", "")
        if declared.isdecimal() and len(declared) < _LONGEST_LENGTH and response.raw.tell() != int(declared):
            raise Transient("truncated_answer", f"{response.raw.tell()} of {declared} bytes arrived")
        return b"".join(chunks)


def _arriving(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes in: whoever waits for whole blocks waits for ever on a host that drips."""
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        yield chunk


def _plain(error: Exception) -> str:
    text = str(error)
    if "refused" in text:
        return "connection refused"
    if "resolve" in text or "Name or service" in text:
        return "the host name could not be resolved"
    return "the connection broke"


class _WithoutRedirects(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Redirects are answers like all others: even one that is not followed would be resolved, and its body read."""
        return None


def _session(base_url: str, workers: int, headers: Mapping[str, str]) -> requests.Session:
    session = _WithoutRedirects()
    # Proxies and certificates come from the usual environment variables, read once. trust_env itself stays off after
    # that: with it every request would look into ~/.netrc, and send what it finds there.
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
