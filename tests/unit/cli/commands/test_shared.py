"""How a run that lacks something ends."""

from __future__ import annotations

import json

import pytest

from cryptoservice.errors import SourceRefused
from tests.unit.cli.commands.conftest import REPORT, Library
from tests.unit.cli.test_parser import DOWNLOAD, VERIFY


def test_what_is_missing_is_an_error_line_and_exit_code_3(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cryptoservice.cli.summaries.download_shortfall", lambda _: "days are missing")
    monkeypatch.setattr("cryptoservice.cli.summaries.verify_shortfall", lambda _: "rows differ")
    for line, told in ((DOWNLOAD, "days are missing"), (VERIFY, "rows differ")):
        assert library.called(line)[0] == 3
        assert [(record.levelname, record.getMessage(), record.__dict__["fields"]) for record in caplog.records] == [
            ("ERROR", told, {"exit_code": 3})
        ]
        caplog.clear()
        assert json.loads(capsys.readouterr().out) == REPORT
        # A refusal says more than a count of what is missing; the report comes first all the same.
        library.result.refused = SourceRefused("HTTP 451")
        with pytest.raises(SourceRefused):
            library.called(line)
        library.result.refused = None
        library.calls.clear()
        assert json.loads(capsys.readouterr().out) == REPORT
