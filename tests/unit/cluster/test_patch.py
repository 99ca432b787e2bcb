"""Setting fields, comparing them, taking them back: what the journal and the undo rest on."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.actions.spec import ABSENT, FieldChange, ObjectPatch
from kubernaut.cluster.objects import ObjectRef, resolve
from kubernaut.cluster.patch import (
    Comparison,
    UndoRefusal,
    WrittenField,
    compare,
    is_equal,
    patch_operations,
    set_field,
    stored_values,
    undo_patch,
    writers,
)
from kubernaut.cluster.practice.patching import json_patch

REF = ObjectRef.of("Deployment", "shop", "checkout")


def deployment(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "u-1", "resourceVersion": "7", "annotations": {}}, "spec": {"replicas": 2, **spec}}


def patch_of(*fields: FieldChange) -> ObjectPatch:
    return ObjectPatch(target=REF, uid="u-1", resource_version="7", fields=fields, summary="")


def test_a_patch_tests_uid_and_the_first_read_value_before_it_changes_anything() -> None:
    change = FieldChange(pointer="/spec/replicas", before=2, after=5)
    assert patch_operations(patch_of(change)) == [
        {"op": "test", "path": "/metadata/uid", "value": "u-1"},
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 5},
    ]


def test_absence_cannot_be_tested_so_the_resource_version_is() -> None:
    change = FieldChange(pointer="/spec/paused", before=ABSENT, after=True)
    operations = patch_operations(patch_of(change))
    assert {"op": "test", "path": "/metadata/resourceVersion", "value": "7"} in operations
    assert operations[-1] == {"op": "add", "path": "/spec/paused", "value": True}


def test_a_field_that_goes_is_removed() -> None:
    change = FieldChange(pointer="/spec/paused", before=True, after=ABSENT)
    assert patch_operations(patch_of(change))[-1] == {"op": "remove", "path": "/spec/paused"}


def test_the_execution_is_named_for_people_in_an_annotation() -> None:
    change = FieldChange(pointer="/spec/replicas", before=2, after=5)
    assert patch_operations(patch_of(change), execution_id="ex-1")[-1] == {
        "op": "add",
        "path": "/metadata/annotations/kubernaut.ai~1execution",
        "value": "ex-1",
    }


def test_setting_below_a_missing_parent_creates_the_topmost_missing_one() -> None:
    change = set_field(deployment(template={}), "/spec/template/metadata/annotations/a~1b", "x")
    assert change == FieldChange(pointer="/spec/template/metadata", before=ABSENT, after={"annotations": {"a/b": "x"}})


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [(5, Comparison.EQUAL_AFTER), (2, Comparison.EQUAL_BEFORE), (3, Comparison.OTHER), (True, Comparison.OTHER)],
)
def test_an_object_is_as_wanted_as_before_or_somebody_elses(replicas: Any, expected: Comparison) -> None:
    change = FieldChange(pointer="/spec/replicas", before=2, after=5)
    assert compare(deployment(replicas=replicas), [change]) is expected


def test_half_of_a_change_is_neither_before_nor_after() -> None:
    fields = [
        FieldChange(pointer="/spec/replicas", before=2, after=5),
        FieldChange(pointer="/spec/paused", before=ABSENT, after=True),
    ]
    assert compare(deployment(replicas=5), fields) is Comparison.OTHER


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, True, False),
        (0, False, False),
        (1, 1.0, True),
        ({"a": None}, {}, True),
        ({"a": {"b": None}}, {"a": {}}, True),
        ([1, None], [1], False),
        (None, ABSENT, False),
        ("1", 1, False),
        ({}, None, False),
    ],
)
def test_equality_is_that_of_the_api(one: Any, other: Any, equal: bool) -> None:
    assert is_equal(one, other) is equal
    assert is_equal(other, one) is equal


def written(before: Any = 2, after: Any = 5, stored: Any = 5) -> WrittenField:
    return WrittenField(pointer="/spec/replicas", before=before, after=after, stored=stored)


def test_undo_puts_back_the_value_of_before() -> None:
    undo = undo_patch(REF, "u-1", [written()], deployment(replicas=5))
    assert isinstance(undo, ObjectPatch)
    assert undo.fields == (FieldChange(pointer="/spec/replicas", before=5, after=2),)
    assert undo.summary == "spec.replicas 5 → 2"


def test_undo_compares_with_what_the_server_stored_not_with_what_was_sent() -> None:
    undo = undo_patch(REF, "u-1", [written(before="1", after="1000m", stored="1.0")], deployment(replicas="1.0"))
    assert isinstance(undo, ObjectPatch)
    assert undo.fields[0].after == "1"


def test_undo_refuses_a_field_that_somebody_else_has_written_and_names_them() -> None:
    current = deployment(replicas=7)
    current["metadata"]["managedFields"] = [
        {
            "manager": "kubernaut",
            "operation": "Update",
            "time": "2026-01-01T10:00:00Z",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        },
        {
            "manager": "kube-controller-manager",
            "operation": "Update",
            "subresource": "scale",
            "time": "2026-01-01T10:05:00Z",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        },
        {
            "manager": "helm",
            "operation": "Apply",
            "time": "2026-01-01T10:09:00Z",
            "fieldsV1": {"f:spec": {"f:template": {}}},
        },
    ]
    refused = undo_patch(REF, "u-1", [written()], current)
    assert isinstance(refused, UndoRefusal)
    assert "spec.replicas of Deployment shop/checkout is 7, not 5" in refused.message
    assert "kube-controller-manager through scale at 2026-01-01T10:05:00Z" in refused.message
    assert "helm" not in refused.message


def test_undo_says_so_where_managed_fields_name_nobody() -> None:
    refused = undo_patch(REF, "u-1", [written()], deployment(replicas=7))
    assert isinstance(refused, UndoRefusal)
    assert "managedFields do not name" in refused.message


def test_undo_refuses_an_object_that_was_created_anew_under_the_same_name() -> None:
    current = deployment(replicas=5)
    current["metadata"]["uid"] = "u-2"
    refused = undo_patch(REF, "u-1", [written()], current)
    assert isinstance(refused, UndoRefusal)
    assert "created anew" in refused.message


def test_undo_ignores_changes_of_other_fields() -> None:
    assert isinstance(undo_patch(REF, "u-1", [written()], deployment(replicas=5, paused=True)), ObjectPatch)


def test_undo_of_what_is_back_already_changes_nothing() -> None:
    undo = undo_patch(REF, "u-1", [written()], deployment(replicas=2))
    assert isinstance(undo, ObjectPatch)
    assert undo.fields == ()


def test_the_owner_of_a_list_owns_its_items() -> None:
    entry = {"manager": "kubectl", "fieldsV1": {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:image": {}}}}}}
    document = {"metadata": {"managedFields": [entry]}}
    assert writers(document, "/spec/containers/0/image") == ["kubectl"]
    assert writers(document, "/spec/replicas") == []


# --- do, then undo, on any object

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab~/", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("ab~/", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.text("ab~/", min_size=1, max_size=2)


@st.composite
def documents_and_changes(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """An object, and new values (ABSENT: to be removed) for some of the fields of its spec, there or not."""
    document = {
        "metadata": {"uid": "u-1", "resourceVersion": "7", "annotations": draw(st.just({}) | st.just({"x": "y"}))},
        "spec": draw(st.dictionaries(keys, json_values, max_size=4)),
        "status": draw(json_values),
    }
    names = draw(st.lists(keys, min_size=1, max_size=3, unique=True))
    return document, [(name, draw(json_values | st.just(ABSENT))) for name in names]


def pointer_of(name: str) -> str:
    return "/spec/" + name.replace("~", "~0").replace("/", "~1")


@given(documents_and_changes())
def test_undo_after_do_gives_back_exactly_the_fields(drawn: tuple[dict[str, Any], list[tuple[str, Any]]]) -> None:
    document, wanted = drawn
    original = copy.deepcopy(document)
    changes = [
        FieldChange(pointer=pointer_of(n), before=resolve(document, pointer_of(n), ABSENT), after=v) for n, v in wanted
    ]
    changes = [change for change in changes if not is_equal(change.before, change.after)]

    changed = json_patch(document, patch_operations(patch_of(*changes)))
    for change in changes:
        assert is_equal(resolve(changed, change.pointer, ABSENT), change.after)

    changed["metadata"]["resourceVersion"] = "8"
    undo = undo_patch(REF, "u-1", stored_values(changes, changed), changed)
    assert isinstance(undo, ObjectPatch)
    restored = json_patch(changed, patch_operations(undo))
    restored["metadata"]["resourceVersion"] = "7"
    assert restored == original


@given(documents_and_changes(), json_values)
def test_undo_never_touches_a_field_that_was_written_since(
    drawn: tuple[dict[str, Any], list[tuple[str, Any]]], foreign: Any
) -> None:
    document, wanted = drawn
    name, after = wanted[0]
    change = FieldChange(pointer=pointer_of(name), before=resolve(document, pointer_of(name), ABSENT), after=after)
    changed = json_patch(document, patch_operations(patch_of(change)))
    fields = stored_values([change], changed)
    changed["spec"][name] = foreign

    undo = undo_patch(REF, "u-1", fields, changed)
    if is_equal(foreign, change.before):
        assert isinstance(undo, ObjectPatch)
        assert undo.fields == ()
    elif is_equal(foreign, fields[0].stored):
        assert isinstance(undo, ObjectPatch)
    else:
        assert isinstance(undo, UndoRefusal)
