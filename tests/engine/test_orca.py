"""Load reports as headers: written as the protocol defines them, and read from whoever writes them."""

import json
from math import isfinite
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from xds.data.orca.v3.orca_load_report_pb2 import OrcaLoadReport

from balancemw.orca import HEADERS, LONGEST, REPORT, WRITERS, LoadReport, as_json, found, read, text

FIELDS = ("cpu_utilization", "mem_utilization", "application_utilization", "rps_fractional", "eps")
WHOLE = LoadReport(0.7, 0.9, 0.8, 1000.0, 2.0, {"foo": 123.0, "bar": 0.2})

NUMBERS = st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)
SIGNED = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=",:="), min_size=1, max_size=20)


def reports(names: st.SearchStrategy[str]) -> st.SearchStrategy[LoadReport]:
    return st.builds(LoadReport, *[NUMBERS] * 5, st.dictionaries(names, SIGNED, max_size=5))


# -- written


def test_a_text_and_json():
    report = LoadReport(cpu_utilization=0.3, rps_fractional=10.0, named_metrics={"in_flight": 3.0})
    assert text(report) == "TEXT cpu_utilization=0.3, rps_fractional=10.0, eps=0.0, named_metrics.in_flight=3.0"
    form, _, said = as_json(report).partition(" ")
    assert form == "JSON"
    named = {"in_flight": 3.0}
    assert json.loads(said) == {"cpu_utilization": 0.3, "rps_fractional": 10.0, "eps": 0.0, "named_metrics": named}


@pytest.mark.parametrize("write", WRITERS.values())
@given(report=reports(PLAIN))
def test_what_is_written_is_read_as_it_was(write: Any, report: LoadReport):
    assert read(write(report)) == report


@given(report=reports(st.text(min_size=1, max_size=20)))
def test_no_name_breaks_a_header(report: LoadReport):
    for write in WRITERS.values():
        said = write(report)
        assert said.isascii()
        assert said.isprintable()
    assert read(as_json(report)) == report
    reread = read(text(report))
    assert reread is not None
    assert reread.named_metrics.items() <= report.named_metrics.items()


# -- as cncf/xds defines it


def test_the_fields_are_the_protocols():
    known = {each.name for each in OrcaLoadReport.DESCRIPTOR.fields}
    assert {*FIELDS, "named_metrics"} <= known
    assert set(LoadReport.__dataclass_fields__) == {*FIELDS, "named_metrics"}
    assert known - {*FIELDS, "named_metrics"} == {"rps", "request_cost", "utilization"}  # which are passed over


@given(report=reports(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)))
def test_protobuf_reads_our_json_and_we_read_its(report: LoadReport):
    message: Any = json_format.Parse(as_json(report).partition(" ")[2], OrcaLoadReport())
    assert [getattr(message, name) for name in FIELDS] == [getattr(report, name) for name in FIELDS]
    assert dict(message.named_metrics) == report.named_metrics
    for keeps in (True, False):  # its own are ``cpuUtilization`` and so on
        said = json_format.MessageToJson(message, indent=None, preserving_proto_field_name=keeps)
        if json.loads(said):
            assert read(f"JSON {said}") == report


def test_what_the_protocol_has_beside_that_is_passed_over():
    message = OrcaLoadReport(cpu_utilization=0.5, rps=7, utilization={"total": 0.5}, request_cost={"bytes": 3.0})
    assert read("JSON " + json_format.MessageToJson(message, indent=None)) == LoadReport(0.5)
    assert read("TEXT cpu_utilization=0.5,rps=7,utilization.total=0.5,request_cost.bytes=3") == LoadReport(0.5)


# -- as others write it


@pytest.mark.parametrize(
    "said",
    [
        # envoyproxy/envoy, test/common/orca/orca_parser_test.cc
        "TEXT cpu_utilization=0.7,application_utilization=0.8,mem_utilization=0.9,rps_fractional=1000,eps=2,"
        "named_metrics.foo=123,named_metrics.bar=0.2",
        "TEXT cpu_utilization:0.7,application_utilization:0.8,mem_utilization:0.9,rps_fractional:1000,eps:2,"
        "named_metrics.foo:123,named_metrics.bar:0.2",
        'JSON {"cpu_utilization": 0.7, "application_utilization": 0.8, "mem_utilization": 0.9, '
        '"rps_fractional": 1000, "eps": 2, "named_metrics": {"foo": 123,"bar": 0.2}}',
        # as numbers may be written
        " TEXT  cpu_utilization = 7e-1 , application_utilization=.8,mem_utilization=+0.9, rps_fractional=1E3,eps=2., "
        "named_metrics.foo=123, named_metrics.bar=00.2,",
        'JSON {"cpuUtilization": "0.7", "applicationUtilization": 8e-1, "memUtilization": 0.90, "rpsFractional": "1e3",'
        '"eps": 2, "namedMetrics": {"foo": "123","bar": 0.2}}',
        # without its format
        "cpu_utilization=0.7, application_utilization=0.8, mem_utilization=0.9, rps_fractional=1000, eps=2, "
        "named_metrics.foo=123, named_metrics.bar=0.2",
        '{"cpu_utilization": 0.7, "application_utilization": 0.8, "mem_utilization": 0.9, '
        '"rps_fractional": 1000, "eps": 2, "named_metrics": {"foo": 123,"bar": 0.2}}',
        # with what nobody knows
        "TEXT cpu_utilization=0.7, application_utilization=0.8, mem_utilization=0.9, rps_fractional=1000, eps=2, "
        "named_metrics.foo=123, named_metrics.bar=0.2, host=a, x=nan, lone",
        'JSON {"cpu_utilization": 0.7, "application_utilization": 0.8, "mem_utilization": 0.9, "host": ["a", {}], '
        '"rps_fractional": 1000, "eps": 2, "named_metrics": {"foo": 123,"bar": 0.2}, "": null}',
    ],
)
def test_every_way_to_say_it_says_the_same(said: str):
    assert read(said) == WHOLE


@pytest.mark.parametrize(
    ("said", "named"),
    [  # vLLM, vllm/entrypoints/openai/orca_metrics.py
        ("TEXT named_metrics.kv_cache_utilization=0.4", {"kv_cache_utilization": 0.4}),
        ('JSON {"named_metrics": {"custom-metric-util": 0.4}}', {"custom-metric-util": 0.4}),
    ],
)
def test_a_report_of_named_metrics_alone(said: str, named: dict[str, float]):
    assert read(said) == LoadReport(named_metrics=named)


def test_a_named_metric_means_what_the_node_likes():
    assert read("TEXT eps=1, named_metrics.celsius=-4.5") == LoadReport(eps=1.0, named_metrics={"celsius": -4.5})
    assert read('JSON {"named_metrics": {"a": -1, "b": "-2e0"}}') == LoadReport(named_metrics={"a": -1.0, "b": -2.0})


@pytest.mark.parametrize(
    "said",
    [
        "",
        "TEXT",
        "TEXT ",
        "TEXT ,,",
        "BAD random-value",
        "BIN CZqZmZmZmbk/MQAAAAAAAABA",
        "text cpu_utilization=0.7, x",  # formats are in capitals
        "TEXT unknown=1",
        "TEXT not-a-list-of-key-value-pairs",
        'TEXT cpu_utilization="0.7"',
        "TEXT cpu_utilization=",
        "TEXT cpu_utilization",
        "TEXT cpu_utilization=nan",
        "TEXT cpu_utilization=inf",
        "TEXT cpu_utilization=1e999",
        "TEXT cpu_utilization=-0.1",
        "TEXT cpu_utilization=1_0",
        "TEXT cpu_utilization=0x1",
        "TEXT cpu_utilization=\N{ARABIC-INDIC DIGIT ONE}",
        "TEXT eps=-1, named_metrics.a=1",
        "TEXT eps=1, named_metrics.a=--1",
        "TEXT eps=1, named_metrics.a=-inf",
        "TEXT eps=1, named_metrics.=1",
        "TEXT cpu_utilization=0.7,cpu_utilization=0.8",
        "TEXT named_metrics.a=1,named_metrics.b=1,named_metrics.a=1",
        "JSON",
        "JSON {}",
        "JSON not-json",
        "JSON [1]",
        "JSON 1",
        "JSON null",
        'JSON {"cpu_utilization": "x"}',
        'JSON {"cpu_utilization": true}',
        'JSON {"cpu_utilization": null}',
        'JSON {"cpu_utilization": [1]}',
        'JSON {"cpu_utilization": NaN}',
        'JSON {"cpu_utilization": Infinity}',
        'JSON {"cpu_utilization": 1e999}',
        'JSON {"cpu_utilization": -1}',
        'JSON {"cpu_utilization": ' + "9" * 400 + "}",
        'JSON {"cpu_utilization": 1, "cpuUtilization": 1}',
        'JSON {"eps": 1, "named_metrics": [1]}',
        'JSON {"eps": 1, "named_metrics": {"": 1}}',
        'JSON {"eps": 1, "named_metrics": {"a": {"b": 1}}}',
        "JSON " + "[" * (LONGEST - 5),
        '{"a":' * 800,
    ],
)
def test_what_is_no_report(said: str):
    assert read(said) is None


def test_what_is_too_long_is_not_read():
    said = "TEXT eps=1, x=" + "1" * LONGEST
    assert read(said[:LONGEST]) == LoadReport(eps=1.0)
    assert read(said) is None


PIECES = ["TEXT ", "JSON ", "BIN ", *'=:,{}[]"é ', "\0", ", ", "1", "-1", "nan", "1e9"]
PIECES += [*FIELDS, "named_metrics", "named_metrics.a", '"named_metrics": {"a": 1}', '"eps": 1']


@given(st.one_of(st.text(max_size=100), st.lists(st.sampled_from(PIECES), max_size=30).map("".join)))
def test_nothing_that_is_said_raises(said: str):
    report = read(said)
    assert report is None or all(isfinite(value) for value in report.named_metrics.values())
    assert report is None or all(0.0 <= getattr(report, name) < float("inf") for name in FIELDS)


# -- found


@pytest.mark.parametrize("name", HEADERS)
def test_it_is_found_in_any_of_the_headers(name: str):
    assert found({name: 'JSON {"eps": 1}'}.get) == LoadReport(eps=1.0)


def test_of_several_the_protocols_own_counts():
    assert found({HEADERS[1]: '{"eps": 1}', REPORT: "TEXT eps=2"}.get) == LoadReport(eps=2.0)


@pytest.mark.parametrize("headers", [{}, {REPORT: b"TEXT eps=1"}, {REPORT: ["TEXT eps=1"]}, {REPORT: 5}, {REPORT: ""}])
def test_where_there_is_none(headers: dict[str, object]):
    assert found(headers.get) is None
