"""What an HTTP response means."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice import errors
from cryptoservice.binance.http.responses import Response, Throttled, Transient, api_response_parser, archive_response_parser
from cryptoservice.errors import HistoryEnded, SourceError, SourceRefused, SymbolRefused
from tests.unit.fakes import RECORDINGS, FakeClock

# 2026-02-02 02:40:00 UTC, a whole minute.
EPOCH = 1_770_000_000.0
CLOCK = FakeClock(EPOCH)
API, ARCHIVE = api_response_parser(CLOCK), archive_response_parser(CLOCK)
FIREWALL = b"<!DOCTYPE HTML PUBLIC><HTML><TITLE>ERROR: The request could not be satisfied</TITLE><H1>403 ERROR</H1></HTML>"
RESTRICTED = b'{\n  "code": 0,\n  "msg": "Service unavailable from a restricted location according to \'b. Eligibility\'"\n}'


def response(status: int, body: object = b"", **headers: str) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def error(code: object, msg: str = "words") -> dict[str, Any]:
    return {"code": code, "msg": msg}


def throttled(found: Response, parse: Any = API) -> Throttled:
    with pytest.raises(Throttled) as caught:
        parse(found)
    return caught.value


# -- good responses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [[], [[1, "2"]], {}, {"symbols": []}, 7, None, "text"])
def test_the_parsed_json_of_a_good_response(record: object) -> None:
    assert API(response(200, record)) == record


def test_an_archive_file_is_passed_on_whole_and_an_absent_one_is_none() -> None:
    found = response(200, b"PK\x03\x04")
    assert ARCHIVE(found) is found
    assert ARCHIVE(response(404, b"<Error><Code>NoSuchKey</Code></Error>")) is None


# -- worth another attempt ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (response(200, b'[[1769904000000,"0.1038","0.10'), "invalid_json"),
        (response(200, b""), "invalid_json"),
        (response(200, b"<html>Please sign in</html>"), "invalid_json"),
        (response(200, b"\xff\xfe\x00"), "invalid_json"),
        (response(200, b"[" * 100_000), "invalid_json"),
        (response(202, b""), "http_202"),
        (response(202, b"<html>A challenge of the firewall</html>"), "http_202"),
        (response(202, []), "http_202"),
        (response(408), "http_408"),
        (response(500), "http_500"),
        (response(502, b"<html>Bad Gateway</html>"), "http_502"),
        (response(503, error(0, "Service Unavailable.")), "http_503"),
        (response(504), "http_504"),
        (response(599), "http_599"),
        (response(500, error(-1000, "An unknown error occured")), "api_error_-1000"),
        (response(400, error(-1001, "Internal error; unable to process your request. Please try again.")), "api_error_-1001"),
        (response(200, error(-1006)), "api_error_-1006"),
        (response(400, error(-1007)), "api_error_-1007"),
        (response(503, error(-1008, "Request throttled by system-level protection.")), "api_error_-1008"),
    ],
)
def test_passing_troubles_are_transient(found: Response, reason: str) -> None:
    with pytest.raises(Transient) as caught:
        API(found)
    assert caught.value.reason == reason


def test_an_overloaded_system_wants_more_patience_than_a_lost_packet() -> None:
    with pytest.raises(Transient) as overloaded:
        API(response(503, error(-1008)))
    with pytest.raises(Transient) as lost:
        API(response(503, error(-1001)))
    assert overloaded.value.patience > lost.value.patience == 1.0


@pytest.mark.parametrize("status", [202, 408, 500, 502, 503, 504])
def test_the_archive_is_asked_again_after_a_server_error(status: int) -> None:
    with pytest.raises(Transient) as caught:
        ARCHIVE(response(status, b"<Error/>"))
    assert caught.value.reason == f"http_{status}"


@pytest.mark.parametrize("parse", [API, ARCHIVE])
@pytest.mark.parametrize(
    ("header", "until"),
    [
        ("17", EPOCH + 17), (" 17 ", EPOCH + 17), ("Mon, 02 Feb 2026 02:41:30 GMT", EPOCH + 90),
        ("999999999", EPOCH + 3650 * 86_400),
        ("0", None), ("-5", None), ("soon", None), ("", None), ("1.5", None), ("Mon, 02 Feb 2026 02:39:59 GMT", None),
        ("9" * 50, None),
    ],
)  # fmt: skip
def test_an_unavailable_host_may_name_the_time_of_the_next_attempt(parse: Any, header: str, until: float | None) -> None:
    for status, body in ((503, error(0, "Service Unavailable.")), (503, b"<html>"), (502, b"")):
        with pytest.raises(Transient) as caught:
            parse(response(status, body, retry_after=header))
        assert (caught.value.reason, caught.value.until) == (f"http_{status}", until)


def test_an_overloaded_system_may_name_the_time_too() -> None:
    with pytest.raises(Transient) as caught:
        API(response(503, error(-1008), retry_after="20"))
    assert (caught.value.reason, caught.value.until, caught.value.patience) == ("api_error_-1008", EPOCH + 20, 4.0)


# -- the outcome of one symbol or one request --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["error_-1121.http400.json", "error_-1122.http400.json"])
def test_recorded_refusals_of_a_symbol(name: str) -> None:
    body = (RECORDINGS / "errors" / name).read_bytes()
    with pytest.raises(SymbolRefused) as caught:
        API(response(400, body))
    assert caught.value.reason == f"api_error_{json.loads(body)['code']}"


@pytest.mark.parametrize("code", [-4141, -4144])
def test_closed_symbols_and_invalid_pairs_are_refusals_of_a_symbol(code: int) -> None:
    with pytest.raises(SymbolRefused):
        API(response(400, error(code)))


def test_data_too_old_is_the_end_of_history() -> None:
    with pytest.raises(HistoryEnded):
        API(response(400, {"msg": "parameter 'startTime' is invalid.", "code": -1130}))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (response(400, error(-1023, "Start time is greater than end time.")), "api_error_-1023"),
        (response(400, error(-1120)), "api_error_-1120"),
        (response(200, error(-1016)), "api_error_-1016"),
        (response(200, {"status": "ERROR", "type": "VALID", "code": "000002", "errorData": {"limit": "x"}}), "api_error_000002"),
        (response(400, error(True)), "api_error_unreadable"),
        (response(400, error([1])), "api_error_unreadable"),
        (response(400, b"nonsense"), "http_400"),
        (response(404, b"<html>"), "http_404"),
        (response(302, b"", location="https://elsewhere"), "http_302"),
    ],
)
def test_everything_else_is_an_error_that_is_not_tried_again(found: Response, reason: str) -> None:
    with pytest.raises(SourceError) as caught:
        API(found)
    assert caught.value.reason == reason
    assert not isinstance(caught.value, (SymbolRefused, HistoryEnded, SourceRefused))


@pytest.mark.parametrize(("code", "msg"), [(-2014, "API-key format invalid."), (-2015, "Invalid API-key, IP, or permissions.")])
def test_a_refused_key_is_an_error_that_no_retry_can_mend(code: int, msg: str) -> None:
    with pytest.raises(errors.NetworkSetupError) as caught:
        API(response(401, error(code, msg)))
    assert caught.value.message == f"the API refuses the API key (error {code}: {msg})"
    assert caught.value.remedy is errors.Remedy.CHECK_API_KEY
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("parse", [API, ARCHIVE])
def test_a_redirect_is_explained(parse: Any) -> None:
    with pytest.raises(SourceError) as caught:
        parse(response(302, b"", location="https://elsewhere"))
    assert caught.value.hint == "redirects are not followed: check the base URL"


def test_an_error_text_cannot_forge_a_log_line_or_flood_it() -> None:
    with pytest.raises(SourceError) as caught:
        API(response(400, error(-1100, "bad\nerror: forged\x1b[31m" + "x" * 5000)))
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 300


# -- refused for good --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parse", [API, ARCHIVE])
@pytest.mark.parametrize(("status", "body"), [(403, FIREWALL), (403, b'{"code": -1003}'), (451, RESTRICTED), (451, b"")])
def test_a_firewall_and_a_restricted_location_are_refusals(parse: Any, status: int, body: bytes) -> None:
    with pytest.raises(SourceRefused) as caught:
        parse(response(status, body))
    assert caught.value.reason == f"http_{status}"
    assert caught.value.exit_code == 4
    assert caught.value.hint


# -- slow down ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parse", [API, ARCHIVE])
def test_429_with_a_time_pauses_that_long(parse: Any) -> None:
    found = throttled(response(429, error(-1003, "Too many requests"), retry_after="17"), parse)
    assert (found.until, found.has_deadline, found.ban) == (EPOCH + 17, True, False)


@pytest.mark.parametrize(
    "header", [{}, {"retry_after": ""}, {"retry_after": "soon"}, {"retry_after": "0"}, {"retry_after": "-5"}]
)
def test_429_without_a_usable_time_pauses_into_the_next_minute(header: dict[str, str]) -> None:
    found = throttled(response(429, error(-1003, "Too many requests; current limit of IP(1.2.3.4) is 2400"), **header))
    assert (found.until, found.has_deadline, found.ban) == (EPOCH + 61, False, False)


def test_the_next_minute_begins_on_the_wall_clock() -> None:
    parse = api_response_parser(FakeClock(EPOCH + 42.5))
    assert throttled(response(429), parse).until == EPOCH + 61


def test_retry_after_can_be_a_date() -> None:
    assert throttled(response(429, retry_after="Mon, 02 Feb 2026 02:41:30 GMT")).until == EPOCH + 90


def test_418_names_its_end_in_the_text() -> None:
    body = (RECORDINGS / "errors" / "error_-1003.http418.json").read_bytes()
    found = throttled(response(418, body))
    assert (found.until, found.has_deadline, found.ban) == (1_790_931_239.698, True, True)


@pytest.mark.parametrize(
    "text",
    [
        "Way too many requests; IP(1.2.3.4) banned until 1770000600000.",
        "Way too much request weight used; IP banned until 1770000600000. Please use the websocket",
        "IP banned until 1770000600000",
    ],
)
@pytest.mark.parametrize("status", [400, 418, 429])
def test_all_wordings_of_a_ban_are_read_whatever_the_status(text: str, status: int) -> None:
    found = throttled(response(status, error(-1003, text)))
    assert (found.until, found.ban) == (EPOCH + 600, True)


def test_of_two_times_the_later_counts() -> None:
    text = "banned until 1770000600000"
    assert throttled(response(418, error(-1003, text), retry_after="900")).until == EPOCH + 900
    assert throttled(response(418, error(-1003, text), retry_after="30")).until == EPOCH + 600


@pytest.mark.parametrize("body", [b"", b"{}", b"banned until 99999999999999999", b"banned until 1600000000000"])
def test_a_ban_without_a_usable_time_lasts_two_minutes(body: bytes) -> None:
    found = throttled(response(418, body))
    assert (found.until, found.has_deadline, found.ban) == (EPOCH + 120, False, True)


def test_a_200_that_says_too_many_requests_is_a_pause() -> None:
    assert throttled(response(200, error(-1003, "Too many requests"))).until == EPOCH + 61


# -- whatever comes ----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "msg", "errorData", "x"]), inner),
    max_leaves=8,
)


@given(st.integers(100, 599), st.binary(max_size=30) | JSON.map(lambda record: json.dumps(record).encode()), st.text(max_size=40))
def test_no_response_raises_anything_outside_the_four_kinds(status: int, body: bytes, retry_after: str) -> None:
    for parse in (API, ARCHIVE):
        try:
            parse(response(status, body, retry_after=retry_after))
        except (Transient, SourceError, errors.NetworkSetupError):
            pass
        except Throttled as found:
            assert EPOCH < found.until < EPOCH + 10**12


@pytest.mark.parametrize(
    ("headers", "used"),
    [
        ({"x-mbx-used-weight-1m": "503"}, 503), ({"x-mbx-used-weight-1m": "-1"}, -1), ({}, -1),
        ({"x-mbx-used-weight-1m": ""}, -1),
        ({"x-mbx-used-weight-1m": "12a"}, -1), ({"x-mbx-used-weight-1m": "9" * 50}, -1), ({"x-mbx-used-weight-1m": "²"}, -1),
    ],
)  # fmt: skip
def test_used_weight_of_an_response(headers: dict[str, str], used: int) -> None:
    assert Response(200, headers, b"").used_weight == used


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Fri, 03 Jul 2026 17:08:28 GMT", 1_783_098_508.0),
        ("", None),
        ("yesterday", None),
        ("Fri, 99 Jul 2026 17:08:28 GMT", None),
    ],
)
def test_server_time_of_an_response(text: str, seconds: float | None) -> None:
    assert Response(200, {"date": text}, b"").server_time == seconds
    assert Response(200, {}, b"").server_time is None
