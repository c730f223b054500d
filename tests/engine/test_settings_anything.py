"""Whatever is thrown at the settings: it is either loaded or told, and nothing else happens."""

import copy
import pickle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from balancemw.errors import SettingsError
from balancemw.settings import Settings, advice
from balancemw.settings.report import KNOWN

KEYS = st.sampled_from([key for keys in KNOWN.values() for key in keys] + ["name", "call", "a.b", "inventory"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -1, 0, 1, 200, 0.5, "http", "tcp", "GET", "/", "http://a", "http://u:p@h", "math:pi"]),
    st.text(max_size=8),
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(KEYS, KEYS, KEYS, st.text(max_size=5), st.integers()), inner, max_size=5),
    ),
    max_leaves=12,
)


@given(st.one_of(JUNK, st.dictionaries(KEYS, JUNK), st.fixed_dictionaries({"services": st.dictionaries(KEYS, JUNK)})))
def test_anything_is_either_loaded_or_told(source: Any):
    if isinstance(source, str | None):
        return  # a path, and there is no telling what is there
    before = copy.deepcopy(source)
    try:
        loaded: Settings | SettingsError = Settings.load(source)
    except SettingsError as error:
        loaded = error
    if isinstance(loaded, SettingsError):
        assert loaded.problems
        assert len(set(loaded.problems)) == len(loaded.problems)
        assert all(problem.isprintable() for problem in loaded.problems)
    assert repr(source) == repr(before)


def positive(top: float = 1e6) -> st.SearchStrategy[float]:
    return st.floats(0, top, exclude_min=True)


SHARE = st.floats(0, 1)
COUNT = st.integers(1, 100)
NODES = st.lists(st.integers(1, 65535), unique=True, max_size=4).flatmap(
    lambda ports: st.tuples(
        *[
            st.one_of(
                st.just(f"http://h:{port}"),
                st.fixed_dictionaries(
                    {"url": st.just(f"http://h:{port}/")},
                    optional={
                        "weight": positive(),
                        "zone": st.text(st.characters(codec="utf-8")),
                        "priority": st.integers(-9, 9),
                        "metadata": st.dictionaries(st.text(st.characters(codec="utf-8")), JUNK, max_size=2),
                    },
                ),
            )
            for port in ports
        ]
    )
)
EXPECT = st.lists(
    st.one_of(st.integers(100, 599), st.lists(st.integers(100, 599), min_size=2, max_size=2).map(sorted)), min_size=1
)
COMMON = {
    "strategy": st.sampled_from(["random", "consistent_hash", {"name": "least_requests"}]),
    "timeout": st.none() | positive(),
    "attempt_timeout": st.none() | positive(),
    "retry": st.fixed_dictionaries(
        {},
        optional={
            "attempts": COUNT,
            "backoff": st.floats(0, 9),
            "backoff_max": st.floats(0, 9),
            "statuses": st.lists(st.integers(100, 599)),
            "retry_after_max": st.floats(0, 9),
            "budget": SHARE,
            "budget_floor": st.floats(0, 9),
        },
    ),
    "ejection": st.fixed_dictionaries(
        {},
        optional={
            "consecutive": st.integers(0, 9),
            "success_rate": SHARE,
            "min_calls": COUNT,
            "window": positive(),
            "base": positive(9),
            "max": st.floats(9, 1e9),
            "keep": SHARE,
            "slow": st.just(0) | st.floats(1.5, 9),
        },
    ),
    "probe": st.none()
    | st.booleans()
    | st.fixed_dictionaries(
        {"kind": st.sampled_from(["http", "tcp", "builtins:bool"])},
        optional={
            "path": st.sampled_from(["/", "/up?x=1"]),
            "method": st.sampled_from(["GET", "head"]),
            "expect": EXPECT,
            "interval": positive(),
            "timeout": positive(),
            "fall": COUNT,
            "rise": COUNT,
            "jitter": SHARE,
            "fast_interval": positive(),
            "down_interval": positive(),
        },
    ),
    "slow_start": st.fixed_dictionaries({}, optional={"window": st.floats(0, 9), "min_weight": positive(1)}),
    "zone": st.text(st.characters(codec="utf-8")),
    "subset": st.none() | COUNT,
}
VALID = st.fixed_dictionaries(
    {
        "services": st.dictionaries(
            st.from_regex("[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True),
            st.fixed_dictionaries({"nodes": NODES}, optional=COMMON),
            max_size=3,
        )
    },
    optional={
        "defaults": st.fixed_dictionaries({}, optional=COMMON),
        "inbound": st.fixed_dictionaries(
            {},
            optional={
                "deadline_headers": st.lists(st.sampled_from(["a", "B-c"]), unique=True),
                "timeout": st.none() | positive(),
                "chain_stop": st.booleans(),
                "report_load": st.booleans(),
                "health_path": st.none() | st.just("/healthz"),
                "drain_seconds": st.floats(0, 99),
            },
        ),
    },
)


@given(VALID)
def test_whatever_is_in_range_is_loaded_and_advised_upon(source: dict[str, Any]):
    settings = Settings.load(source)
    assert list(settings.services) == list(source["services"])
    assert all(line.startswith("services.") for line in advice(settings))
    assert pickle.loads(pickle.dumps(settings)).inbound == settings.inbound
