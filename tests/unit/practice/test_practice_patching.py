"""JSON Patch and JSON Merge Patch: the RFCs' own examples, and that a patch made from a difference gives its target."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.cluster.practice.patching import (
    MalformedPatch,
    PatchFailed,
    json_equal,
    json_patch,
    merge_patch,
    parse_pointer,
)

# RFC 6902 appendix A, with A.14 (escapes) and A.16 (adding an array value)
RFC_6902 = {
    "A.1 add a member": (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux"}],
        {"baz": "qux", "foo": "bar"},
    ),
    "A.2 add an element": (
        {"foo": ["bar", "baz"]},
        [{"op": "add", "path": "/foo/1", "value": "qux"}],
        {"foo": ["bar", "qux", "baz"]},
    ),
    "A.3 remove a member": ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    "A.4 remove an element": (
        {"foo": ["bar", "qux", "baz"]},
        [{"op": "remove", "path": "/foo/1"}],
        {"foo": ["bar", "baz"]},
    ),
    "A.5 replace": (
        {"baz": "qux", "foo": "bar"},
        [{"op": "replace", "path": "/baz", "value": "boo"}],
        {"baz": "boo", "foo": "bar"},
    ),
    "A.6 move a value": (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    "A.7 move an element": (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    "A.8 test that holds": (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    "A.10 add a nested object": (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    "A.11 unknown members are ignored": (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}],
        {"foo": "bar", "baz": "qux"},
    ),
    "A.14 escapes": (
        {"/": 9, "~1": 10},
        [{"op": "test", "path": "/~01", "value": 10}],
        {"/": 9, "~1": 10},
    ),
    "A.16 append": (
        {"foo": ["bar"]},
        [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
        {"foo": ["bar", ["abc", "def"]]},
    ),
    "copy": (
        {"a": {"b": [1]}},
        [{"op": "copy", "from": "/a", "path": "/c"}, {"op": "add", "path": "/c/b/0", "value": 0}],
        {"a": {"b": [1]}, "c": {"b": [0, 1]}},
    ),
    "the whole document": ({"a": 1}, [{"op": "replace", "path": "", "value": [2]}], [2]),
    "the empty member name": ({"": 1}, [{"op": "test", "path": "/", "value": 1}], {"": 1}),
    "a value moved onto itself": ({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
    "test of numbers by value": ({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}),
}

RFC_6902_FAILURES = {
    "A.9 test that does not hold": ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}]),
    "A.12 add below nothing": ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}]),
    "A.15 string is not number": ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}]),
    "true is not one": ({"a": 1}, [{"op": "test", "path": "/a", "value": True}]),
    "remove what is not there": ({}, [{"op": "remove", "path": "/a"}]),
    "replace what is not there": ({}, [{"op": "replace", "path": "/a", "value": 1}]),
    "index out of bounds": ({"a": [1]}, [{"op": "add", "path": "/a/2", "value": 1}]),
    "index with leading zero": ({"a": [1, 2]}, [{"op": "test", "path": "/a/01", "value": 2}]),
    "negative index": ({"a": [1, 2]}, [{"op": "remove", "path": "/a/-1"}]),
    "remove at the end marker": ({"a": [1]}, [{"op": "remove", "path": "/a/-"}]),
    "move into itself": ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/b"}]),
    "copy from nowhere": ({}, [{"op": "copy", "from": "/a", "path": "/b"}]),
    "test of a missing member": ({}, [{"op": "test", "path": "/a", "value": None}]),
    "into a scalar": ({"a": 1}, [{"op": "add", "path": "/a/b", "value": 1}]),
}

MALFORMED = {
    "not an array": {"op": "add", "path": "/a", "value": 1},
    "unknown operation": [{"op": "spam", "path": "/a"}],
    "no path": [{"op": "remove"}],
    "no value": [{"op": "add", "path": "/a"}],
    "no from": [{"op": "move", "path": "/a"}],
    "pointer without slash": [{"op": "remove", "path": "a"}],
    "bad escape": [{"op": "remove", "path": "/a~2"}],
    "operation that is no object": ["remove"],
}

# RFC 7386 appendix A, in its order
RFC_7386: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("document", "patch", "expected"), RFC_6902.values(), ids=RFC_6902)
def test_json_patch_examples(document: Any, patch: Any, expected: Any) -> None:
    assert json_equal(json_patch(document, patch), expected)


@pytest.mark.parametrize(("document", "patch"), RFC_6902_FAILURES.values(), ids=RFC_6902_FAILURES)
def test_a_json_patch_that_does_not_apply(document: Any, patch: Any) -> None:
    with pytest.raises(PatchFailed):
        json_patch(document, patch)


@pytest.mark.parametrize("patch", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_json_patch(patch: Any) -> None:
    with pytest.raises(MalformedPatch):
        json_patch({"a": 1}, patch)


def test_a_failing_operation_undoes_those_before_it() -> None:
    document = {"a": [1]}
    with pytest.raises(PatchFailed):
        json_patch(document, [{"op": "add", "path": "/a/-", "value": 2}, {"op": "test", "path": "/a/0", "value": 9}])
    assert document == {"a": [1]}


def test_absence_counts_as_null_only_where_the_caller_says_so() -> None:
    patch = [{"op": "test", "path": "/a", "value": None}]
    assert json_patch({}, patch, absent_is_null=True) == {}
    with pytest.raises(PatchFailed):
        json_patch({"a": 0}, patch, absent_is_null=True)


@pytest.mark.parametrize(("document", "patch", "expected"), RFC_7386)
def test_merge_patch_examples(document: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(document, patch) == expected


_SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text("a/~0-", max_size=3)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a/~0-", max_size=3), inner, max_size=3),
    max_leaves=12,
)


def _escaped(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")


def _difference(old: Any, new: Any, path: str = "") -> list[dict[str, Any]]:
    """A JSON patch from `old` to `new`, written without the code under test."""
    if json_equal(old, new):
        return [{"op": "test", "path": path, "value": old}]
    if isinstance(old, dict) and isinstance(new, dict):
        operations: list[dict[str, Any]] = []
        for key in old:
            where = f"{path}/{_escaped(key)}"
            operations += _difference(old[key], new[key], where) if key in new else [{"op": "remove", "path": where}]
        return operations + [
            {"op": "add", "path": f"{path}/{_escaped(key)}", "value": new[key]} for key in new if key not in old
        ]
    if isinstance(old, list) and isinstance(new, list):
        operations = [{"op": "remove", "path": f"{path}/{index}"} for index in reversed(range(len(new), len(old)))]
        for index, item in enumerate(new):
            if index < len(old):
                operations += _difference(old[index], item, f"{path}/{index}")
            else:
                operations.append({"op": "add", "path": f"{path}/-", "value": item})
        return operations
    return [{"op": "replace", "path": path, "value": new}]


def _merge_difference(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch = {key: None for key in old if key not in new}
    return patch | {
        key: _merge_difference(old.get(key), value) for key, value in new.items() if key not in old or old[key] != value
    }


def _without_nulls(value: Any) -> Any:
    """A merge patch cannot say null, so targets have none in objects."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


@given(_JSON, _JSON)
def test_a_json_patch_from_a_difference_gives_the_target(old: Any, new: Any) -> None:
    assert json_equal(json_patch(old, _difference(old, new)), new)


@given(_JSON, _JSON)
def test_a_merge_patch_from_a_difference_gives_the_target(old: Any, new: Any) -> None:
    target = _without_nulls(new)
    assert json_equal(merge_patch(old, _merge_difference(old, target)), target)


@given(_JSON, _JSON)
def test_patching_leaves_its_arguments_alone(old: Any, new: Any) -> None:
    before, patch = repr(old), _difference(old, new)
    json_patch(old, patch)
    merge_patch(old, new)
    assert repr(old) == before


@given(st.lists(st.text("a/~01-", max_size=4), max_size=4))
def test_pointers_give_back_what_was_escaped(tokens: list[str]) -> None:
    assert parse_pointer("".join(f"/{_escaped(token)}" for token in tokens)) == tuple(tokens)
