"""Whatever a client sends is either refused with a Status or leaves a cluster that still runs."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from practice_simulation import Simulation, container, deployment

from kubernaut.cluster.practice import ApiError
from kubernaut.cluster.practice.api import PatchType
from kubernaut.cluster.practice.cluster import locate
from kubernaut.cluster.practice.resources import DEPLOYMENTS, Json

RICH: list[Json] = [
    deployment(
        containers=[
            container(
                env=[{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "p"}}}],
                command=["a"],
                ports=[{"containerPort": 80}],
                resources={"limits": {"memory": "64Mi"}, "requests": {"cpu": "1"}},
                volumeMounts=[{"name": "v", "mountPath": "/v"}],
                readinessProbe={"httpGet": {"port": 80}, "initialDelaySeconds": 1},
            )
        ],
        selector={
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}],
        },
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "50%"}},
        minReadySeconds=1,
        paused=False,
    ),
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {"ports": [{"port": 80, "targetPort": "http"}], "selector": {"app": "web"}, "type": "ClusterIP"},
    },
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "finalizers": ["a.b/c"], "ownerReferences": []},
        "spec": {"containers": [container()], "restartPolicy": "Never", "volumes": [{"name": "v"}], "nodeName": ""},
    },
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}, "immutable": True},
]

RICH[0]["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]

_ODD = st.sampled_from(
    [None, True, 0, -1, 1.5, 2**40, "", "x", "Not A Name!", "-1%", "\u0000", [], {}, [{}], [None], {"": ""}, {"a": {}}]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any, remove: bool) -> Any:
    if isinstance(value, dict):
        rest = {key: item for key, item in value.items() if key != path[0]}
        if len(path) == 1:
            return rest if remove else value | {path[0]: new}
        return value | {path[0]: replaced(value[path[0]], path[1:], new, remove)}
    head, tail = value[: path[0]], value[path[0] + 1 :]
    if len(path) == 1:
        return [*head, *([] if remove else [new]), *tail]
    return [*head, replaced(value[path[0]], path[1:], new, remove), *tail]


@st.composite
def damaged(draw: st.DrawFn, originals: list[Json]) -> Json:
    """A manifest with one or two places removed or filled with something odd."""
    obj = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from([path for path in places(obj) if path[0] not in ("kind", "apiVersion")]))
        obj = replaced(obj, path, draw(_ODD), draw(st.booleans()))
    return dict(obj)


@settings(max_examples=300, deadline=None)
@given(damaged(RICH))
def test_a_damaged_manifest_is_refused_or_runs(manifest: Json) -> None:
    simulation = Simulation()
    with contextlib.suppress(ApiError):
        resource, namespace = locate(manifest | {"metadata": {}})
        simulation.api.create(resource, namespace, manifest)
    simulation.run(30)


@settings(max_examples=200, deadline=None)
@given(damaged([{key: value for key, value in RICH[0].items() if key in ("metadata", "spec")} | {"status": {}}]))
def test_a_damaged_merge_patch_is_refused_or_runs(patch: Json) -> None:
    simulation = Simulation()
    simulation.put(RICH[0])
    simulation.run(10)
    for subresource in ("", "status", "scale"):
        with contextlib.suppress(ApiError):
            simulation.api.patch(DEPLOYMENTS, "default", "web", patch, PatchType.MERGE, subresource=subresource)
        simulation.run(30)
