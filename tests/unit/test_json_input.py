"""Reading foreign JSON: what is refused before anything else sees it, and how the defect is named."""

import json
import time

import pytest

from kubernaut.errors import Fault, InvalidInput
from kubernaut.json_input import read_json


def read(data: bytes | str, *, max_bytes: int = 10_000, max_nesting: int = 20) -> object:
    return read_json(data, max_bytes=max_bytes, max_nesting=max_nesting)


def faults(data: bytes | str, **limits: int) -> list[Fault]:
    with pytest.raises(InvalidInput) as caught:
        read(data, **limits)
    return list(caught.value.faults)


@pytest.mark.parametrize("text", ['{"a": [1, -2.5, true, null, "ü😀"]}', "[]", '"x"', "7", ' \n{"a":{}} \n'])
def test_json_is_read_as_it_is(text: str) -> None:
    assert read(text) == json.loads(text)
    assert read(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1,}', "trailing comma"),
        ('{"a": [1, 2,]}', "trailing comma"),
        ("{a: 1}", "key 'a' is not quoted"),
        ("{'a': 1}", "single quotes"),
        ('Here is the plan: {"a": 1}', "text before"),
        ('{"a": 1} I hope this helps', "something follows"),
        ('```json\n{"a": 1}\n```', "code fence"),
        ('{"a": 1}\n```', "code fence"),
        ('{"a": {"b": 1}', "ends inside the JSON"),
        ('{"a": [1, 2', "ends inside the JSON"),
        ('{"a": "cut off he', "no closing quote"),
        ('{"a": 1 "b": 2}', "a comma or a closing"),
        ('{"a": None}', "'None' is no JSON value"),
        ('{"a": 1, // why\n"b": 2}', "comment"),
        ('{"a": "line\nbreak"}', "raw line break"),
        ('{"a": }', "expecting value"),
    ],
)
def test_a_defect_is_named_and_never_repaired(text: str, says: str) -> None:
    (fault,) = faults(text)
    assert fault.code == "json_syntax"
    assert says in fault.message
    assert "line " in fault.message
    assert "column " in fault.message
    assert fault.remedy


@pytest.mark.parametrize("data", ["", "  \n", b""])
def test_nothing_is_no_json(data: bytes | str) -> None:
    assert faults(data)[0].code == "json_empty"


def test_too_many_bytes_are_refused_before_they_are_parsed() -> None:
    started = time.perf_counter()
    assert faults(b"{" * 10_000_000)[0].code == "json_too_large"
    assert time.perf_counter() - started < 0.5


def test_the_size_is_counted_in_bytes_not_characters() -> None:
    assert faults('"' + "ü" * 60 + '"', max_bytes=100)[0].code == "json_too_large"


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_nesting_is_refused_without_recursion(opening: str) -> None:
    assert faults(opening * 200)[0].code == "json_too_deep"
    assert faults(opening * 1_500_000, max_bytes=20_000_000)[0].code == "json_too_deep"


def test_the_deepest_nesting_that_is_allowed_is_read() -> None:
    assert read("[" * 20 + "]" * 20) is not None
    assert faults("[" * 21 + "]" * 21)[0].code == "json_too_deep"


def test_brackets_in_strings_are_text() -> None:
    text = json.dumps({"a": "[" * 100 + '\\"{' * 100 + "\\"})
    assert read(text) == json.loads(text)


def test_many_escaped_quotes_take_linear_time() -> None:
    started = time.perf_counter()
    assert faults('"' + '\\"' * 400_000, max_bytes=1_000_000)[0].code == "json_syntax"
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("text", "code", "pointer"),
    [
        ('{"a": {"b": 1, "b": 2}}', "json_duplicate_key", "/a/b"),
        ('{"a": [0, NaN]}', "json_not_finite", "/a/1"),
        ('{"a": -Infinity}', "json_not_finite", "/a"),
        ('{"a": 1e999}', "json_not_finite", "/a"),
        ('{"a": "x\\u0000y"}', "json_control_character", "/a"),
        ('{"a": "\\ud800"}', "json_lone_surrogate", "/a"),
        ('{"a": 9223372036854775808}', "json_number_out_of_range", "/a"),
        ('{"a": ' + "9" * 6_000 + "}", "json_number_out_of_range", "/a"),
        ('{"a/b": {"c~d": NaN}}', "json_not_finite", "/a~1b/c~0d"),
    ],
)
def test_what_cannot_be_stored_is_refused_at_its_place(text: str, code: str, pointer: str) -> None:
    (fault,) = faults(text)
    assert (fault.code, fault.pointer) == (code, pointer)


def test_a_key_that_cannot_be_stored_is_refused_and_can_be_shown() -> None:
    for fault in faults('{"a\\u0000": 1, "\\udfff": 2}'):
        assert fault.code in ("json_control_character", "json_lone_surrogate")
        fault.pointer.encode()
        assert "\0" not in fault.pointer


def test_all_such_faults_come_at_once() -> None:
    assert len(faults('{"a": NaN, "a": 1, "b": "\\u0000", "c": Infinity}')) == 3


@pytest.mark.parametrize("data", [b'{"a": "\xff"}', '{"a": 1}'.encode("utf-16"), b'\xef\xbb\xbf{"a": 1}'])
def test_other_encodings_are_refused(data: bytes) -> None:
    assert faults(data)[0].code == "json_encoding"
