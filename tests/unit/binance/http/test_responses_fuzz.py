"""Any response is one of the documented outcomes."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from cryptoservice.binance.http.responses import Response, Throttled, Transient, api_response_parser, archive_response_parser
from cryptoservice.errors import HistoryEnded, NetworkSetupError, SourceError, SourceRefused, SymbolRefused
from tests.e2e import hostile_strategies as odd
from tests.unit.fakes import FakeClock
from tests.unit.fuzzing import Fuzz, Test

fuzzed = Fuzz()


@fuzzed(
    st.one_of(st.sampled_from([200, 302, 400, 403, 404, 408, 418, 429, 451, 500, 503]), st.integers(100, 999)),
    st.dictionaries(st.sampled_from(["retry-after", "date", "x-mbx-used-weight-1m", "content-type"]), odd.header_texts),
    odd.bodies,
    examples=300,
)
def test_any_response_is_one_of_the_documented_outcomes(status: int, headers: dict[str, str], body: bytes) -> None:
    response = Response(status, headers, body)
    assert response.server_time is None or isinstance(response.server_time, float)
    assert response.used_weight >= -1
    for parse in (api_response_parser(FakeClock()), archive_response_parser(FakeClock())):
        try:
            parse(response)
        except (SymbolRefused, HistoryEnded, SourceRefused, SourceError) as error:
            odd.assert_plain(error.reason, 60)
            odd.assert_plain(error.message, 400)
        except NetworkSetupError as refused_key:
            odd.assert_plain(refused_key.message, 400)
        except Transient as trouble:
            odd.assert_plain(trouble.reason, 60)
            odd.assert_plain(str(trouble), 400)
        except Throttled as throttled:
            assert throttled.until > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("test", fuzzed.deep)
def test_deeper(test: Test) -> None:
    test()
