"""What holds for all tests: where CI is set, a test that skips itself has failed."""

import os
from collections.abc import Generator
from typing import Any

import pytest

HOW = ("It skipped itself, and in CI nothing may be left untested: install what it asks for (.ci/run installs what "
       "only the system's packages have), or remove the test.")


class SkipsFail:
    """A plugin, so that it sees the doctests of the packages too."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.skipped and not hasattr(report, "wasxfail"):
            fail(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if report.skipped:
            fail(report)
        return report


def fail(report: Any) -> None:
    """Turn a skip into a failure that says why it skipped and what to do."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{reason}\n{HOW}"


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI"):
        config.pluginmanager.register(SkipsFail(), "skips-fail")
