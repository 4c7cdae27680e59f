"""What every test shares: a home of its own, Hypothesis profiles, and no skips in CI."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import servers
from hypothesis import HealthCheck, settings

# The same examples on every run and machine. A slow machine is no failure: deadlines are off.
settings.register_profile(
    "ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# OPTIMEM_EXAMPLES=5000 make test: new examples, and as many as that, for every property.
EXAMPLES = os.environ.get("OPTIMEM_EXAMPLES")
settings.register_profile(
    "long", settings.get_profile("ci"), derandomize=False, max_examples=int(EXAMPLES or 1000)
)
settings.load_profile("long" if EXAMPLES else "ci")


@pytest.fixture(autouse=True)
def _own_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """No test reads or writes the user's folders; `tmp_path` stays empty."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.delenv("OPTIMEM_STORE", raising=False)
    monkeypatch.delenv("OPTIMEM_KEY", raising=False)
    yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models are quicker with one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Real servers, each started by the first test that asks for its URL.


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.standalone(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_tls_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.with_tls(tmp_path_factory.mktemp("tls")) as url:
        yield url


@pytest.fixture(scope="session")
def redis_sentinel_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.sentinel(tmp_path_factory.mktemp("sentinel")) as (url, _, _):
        yield url


@pytest.fixture(scope="session")
def redis_cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.cluster(tmp_path_factory.mktemp("cluster")) as (url, _):
        yield url


def _skips(config: pytest.Config) -> list[str]:
    """Each skipped test and module that is not marked `gpu`, in CI only; xdist workers
    have no terminal reporter, so what they skipped is seen once, on the controller."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or reporter is None:
        return []
    skipped = reporter.stats.get("skipped", [])
    return sorted({r.nodeid for r in skipped if "gpu" not in getattr(r, "keywords", ())})


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and _skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    names = _skips(config)
    if names:
        terminalreporter.section("skipped, which fails a run in CI", red=True)
        for name in names:
            terminalreporter.line(name)
