"""The settings: read when used, set from Python, and what makes no sense is said so."""

import pytest

from gradc.runtime.binding import get_num_threads, set_num_threads
from gradc.tracer.config import config, default_threads
from gradc.tracer.errors import ArgumentError


def test_python_wins_over_the_environment_and_none_goes_back(monkeypatch):
    monkeypatch.setenv("GRADC_CC_TIMEOUT", "7")
    assert config.cc_timeout == 7.0
    config.cc_timeout = 3
    assert config.cc_timeout == 3.0
    config.cc_timeout = None
    assert config.cc_timeout == 7.0


@pytest.mark.parametrize(
    ("variable", "name", "text", "expected"),
    [
        ("GRADC_CC", "cc", "clang 'a b' -c", ("clang", "a b", "-c")),
        ("GRADC_CACHE_SIZE", "cache_size", "500M", 500 << 20),
        ("GRADC_CACHE_SIZE", "cache_size", "2gb", 2 << 30),
        ("GRADC_CACHE_DISABLE", "cache_disable", "yes", True),
        ("GRADC_NUM_THREADS", "num_threads", "3", 3),
        ("GRADC_LOG", "log", "all", ("recompiles", "compiler", "cache")),
    ],
)
def test_values(monkeypatch, variable, name, text, expected):
    monkeypatch.setenv(variable, text)
    assert getattr(config, name) == expected


@pytest.mark.parametrize(
    ("variable", "name", "text"),
    [
        ("GRADC_CC", "cc", "'open"),
        ("GRADC_CC_TIMEOUT", "cc_timeout", "-1"),
        ("GRADC_CC_TIMEOUT", "cc_timeout", "nan"),
        ("GRADC_NUM_THREADS", "num_threads", "0"),
        ("GRADC_NUM_THREADS", "num_threads", "two"),
        ("GRADC_CACHE_SIZE", "cache_size", "lots"),
        ("GRADC_CACHE_VERIFY", "cache_verify", "maybe"),
        ("GRADC_LOG", "log", "everything"),
    ],
)
def test_nonsense_is_an_error_naming_the_variable(monkeypatch, variable, name, text):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ArgumentError, match=f"{variable}={text!r}: expected"):
        getattr(config, name)


def test_unknown_settings_are_refused():
    with pytest.raises(ArgumentError, match="no setting 'thread'"):
        config.thread = 3


def test_every_setting_is_documented():
    for name, variable, _, source, doc in config.table():
        assert variable.startswith("GRADC_") and doc.endswith(".") and source, name


def test_threads_come_from_settings_then_openmp(monkeypatch):
    monkeypatch.delenv("GRADC_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert default_threads() == 3
    monkeypatch.setenv("GRADC_NUM_THREADS", "5")
    assert default_threads() == 5


def test_set_num_threads():
    before = get_num_threads()
    try:
        set_num_threads(2)
        assert get_num_threads() == 2 and config.num_threads == 2
        for bad in (0, -1, 1.5, True):
            with pytest.raises(ArgumentError):
                set_num_threads(bad)
    finally:
        set_num_threads(before)
