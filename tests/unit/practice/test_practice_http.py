"""The HTTP shell: authentication, discovery, lists and watches, media types, the request log and disturbances."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from practice_simulation import container, deployment

from kubernaut.cluster.practice.requests import Injection
from kubernaut.cluster.practice.resources import CONFIG_MAPS, Json
from kubernaut.cluster.practice.server import PracticeServer

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CONFIG_MAPS_PATH = "/api/v1/namespaces/default/configmaps"
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> Json:
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


def events_of(response: httpx.Response) -> list[tuple[str, Json]]:
    return [(event["type"], event["object"]) for event in map(json.loads, response.iter_lines())]


def watch(http: httpx.Client, path: str, **query: Any) -> list[tuple[str, Json]]:
    """Everything that a watch says until its time is over."""
    with http.stream("GET", path, params={"watch": "1", "timeoutSeconds": 1} | query) as response:
        return events_of(response)


# -- getting in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}])
def test_without_the_token_nothing_is_told(server: PracticeServer, header: dict[str, str]) -> None:
    for path in ("/api", DEPLOYMENTS, "/practice/requests", "/nowhere"):
        response = httpx.get(server.url + path, headers=header)
        assert response.status_code == 401
        assert response.json() == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "Unauthorized",
            "reason": "Unauthorized",
            "code": 401,
        }


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health_needs_no_token(server: PracticeServer, path: str) -> None:
    assert httpx.get(server.url + path).text == "ok"


def test_it_says_that_it_is_no_real_cluster(server: PracticeServer) -> None:
    version = httpx.get(server.url + "/version").json()
    assert version["gitVersion"] == "v1.31.0-practice"
    assert (version["major"], version["minor"]) == ("1", "31")
    assert version["gitTreeState"] == version["platform"] == "practice"


def test_discovery_names_what_is_there(http: httpx.Client) -> None:
    assert http.get("/api").json()["versions"] == ["v1"]
    groups = http.get("/apis").json()
    assert (groups["kind"], [group["name"] for group in groups["groups"]]) == ("APIGroupList", ["apps"])
    core = http.get("/api/v1").json()
    apps = http.get("/apis/apps/v1").json()
    assert core["kind"] == apps["kind"] == "APIResourceList"
    assert {item["name"] for item in core["resources"]} == {
        "configmaps",
        "events",
        "namespaces",
        "namespaces/status",
        "pods",
        "pods/status",
        "services",
    }
    assert {item["name"] for item in apps["resources"]} == {
        f"{kind}{sub}" for kind in ("deployments", "replicasets") for sub in ("", "/scale", "/status")
    }


NOT_MODELLED = [
    ("GET", "/api/v1/nodes"),
    ("GET", "/apis/batch/v1/namespaces/default/jobs"),
    ("GET", "/api/v1/namespaces/default/secrets/x"),
    ("GET", "/api/v1/namespaces/default/pods/x/log"),
    ("POST", "/api/v1/namespaces/default/pods/x/eviction"),
    ("GET", "/openapi/v2"),
    ("GET", "/apis/apps/v1beta1/deployments"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(("method", "path"), NOT_MODELLED)
def test_what_it_does_not_know_is_a_501(http: httpx.Client, method: str, path: str) -> None:
    response = http.request(method, path, json={} if method == "POST" else None)
    status = response.json()
    assert (response.status_code, status["kind"], status["status"], status["code"]) == (501, "Status", "Failure", 501)
    assert "the practice cluster does not model" in status["message"]


@pytest.mark.parametrize(
    "media_type", ["application/strategic-merge-patch+json", "application/apply-patch+yaml", "text/plain"]
)
def test_other_patches_are_a_415(http: httpx.Client, media_type: str) -> None:
    http.post(DEPLOYMENTS, json=deployment())
    response = http.patch(f"{DEPLOYMENTS}/web", content="{}", headers={"Content-Type": media_type})
    assert response.status_code == 415
    assert response.json()["reason"] == "UnsupportedMediaType"
    assert "application/json-patch+json, application/merge-patch+json" in response.json()["message"]


BAD_REQUESTS: dict[str, tuple[Callable[[httpx.Client], httpx.Response], int, str]] = {
    "a body that is no JSON": (lambda http: http.post(DEPLOYMENTS, content="{", headers=_JSON), 400, "BadRequest"),
    "a body of another kind": (
        lambda http: http.post(DEPLOYMENTS, json={"kind": "Pod", "metadata": {"name": "x"}}),
        400,
        "BadRequest",
    ),
    "another namespace in the body": (
        lambda http: http.post(CONFIG_MAPS_PATH, json={"metadata": {"name": "x", "namespace": "kube-system"}}),
        400,
        "BadRequest",
    ),
    "another name in the body": (
        lambda http: http.put(f"{CONFIG_MAPS_PATH}/there", json=config_map("other")),
        400,
        "BadRequest",
    ),
    "a YAML body": (
        lambda http: http.post(DEPLOYMENTS, content="a: 1", headers={"Content-Type": "application/yaml"}),
        415,
        "UnsupportedMediaType",
    ),
    "only protobuf wanted": (
        lambda http: http.get(DEPLOYMENTS, headers={"Accept": "application/vnd.kubernetes.protobuf"}),
        406,
        "NotAcceptable",
    ),
    "a JSON patch that is none": (
        lambda http: http.patch(f"{CONFIG_MAPS_PATH}/there", json={"op": "add"}, headers=JSON_PATCH),
        400,
        "BadRequest",
    ),
    "a selector that does not parse": (
        lambda http: http.get(DEPLOYMENTS, params={"labelSelector": "a in b"}),
        400,
        "BadRequest",
    ),
    "a field that cannot be selected": (
        lambda http: http.get(DEPLOYMENTS, params={"fieldSelector": "spec.replicas=1"}),
        400,
        "BadRequest",
    ),
    "an object that is not there": (lambda http: http.get(f"{DEPLOYMENTS}/nope"), 404, "NotFound"),
    "a version that is yet to come": (
        lambda http: http.get(DEPLOYMENTS, params={"resourceVersion": "999999"}),
        504,
        "Timeout",
    ),
    "a POST to an object": (lambda http: http.post(f"{CONFIG_MAPS_PATH}/there", json={}), 405, "MethodNotAllowed"),
    "a body of four megabytes": (
        lambda http: http.post(CONFIG_MAPS_PATH, json=config_map("big", data="x" * 4 * 1024 * 1024)),
        413,
        "RequestEntityTooLarge",
    ),
}
_JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(("ask", "code", "reason"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_bad_request_is_answered_with_a_status(
    http: httpx.Client, ask: Callable[[httpx.Client], httpx.Response], code: int, reason: str
) -> None:
    http.post(CONFIG_MAPS_PATH, json=config_map("there"))
    response = ask(http)
    status = response.json()
    assert (response.status_code, status["code"], status["reason"]) == (code, code, reason)
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert status["message"]


# -- lists -------------------------------------------------------------------------------------------------------


def test_a_list_is_a_list_object(http: httpx.Client) -> None:
    http.post(DEPLOYMENTS, json=deployment())
    answer = http.get(DEPLOYMENTS).json()
    assert (answer["kind"], answer["apiVersion"]) == ("DeploymentList", "apps/v1")
    assert answer["metadata"].keys() == {"resourceVersion"}
    assert not answer["items"][0].keys() & {"kind", "apiVersion"}, "items of typed lists carry neither"
    assert http.get("/apis/apps/v1/deployments").json()["items"] == answer["items"]
    assert http.get("/apis/apps/v1/namespaces/other/deployments").json()["items"] == []


SELECTORS = {
    "app=web": {"a", "b"},
    "app==web,tier=front": {"a"},
    "app!=web": {"c", "d"},
    "tier in (front, back)": {"a", "b"},
    "tier notin (front)": {"b", "c", "d"},
    "tier": {"a", "b"},
    "!tier": {"c", "d"},
    "app in (web),tier notin (back)": {"a"},
    "example.com/size>3": {"c"},
    "example.com/size<3": {"d"},
}


@pytest.mark.parametrize(("selector", "expected"), SELECTORS.items())
def test_label_selectors(http: httpx.Client, selector: str, expected: set[str]) -> None:
    for name, labels in {
        "a": {"app": "web", "tier": "front"},
        "b": {"app": "web", "tier": "back"},
        "c": {"app": "db", "example.com/size": "4"},
        "d": {"example.com/size": "2"},
    }.items():
        http.post(CONFIG_MAPS_PATH, json=config_map(name, labels))
    items = http.get(CONFIG_MAPS_PATH, params={"labelSelector": selector}).json()["items"]
    assert {item["metadata"]["name"] for item in items} == expected


def test_field_selectors(http: httpx.Client) -> None:
    for name in ("a", "b"):
        http.post(CONFIG_MAPS_PATH, json=config_map(name))

    def names(path: str, selector: str) -> list[str]:
        items = http.get(path, params={"fieldSelector": selector}).json()["items"]
        return [item["metadata"]["name"] for item in items]

    assert names(CONFIG_MAPS_PATH, "metadata.name=b") == ["b"]
    assert names("/api/v1/configmaps", "metadata.namespace=default,metadata.name!=b") == ["a"]
    assert "default" in names("/api/v1/namespaces", "status.phase=Active")


def test_pages_are_of_one_moment(http: httpx.Client) -> None:
    for name in "abcde":
        http.post(CONFIG_MAPS_PATH, json=config_map(name))
    first = http.get(CONFIG_MAPS_PATH, params={"limit": 2}).json()
    assert first["metadata"]["remainingItemCount"] == 3
    http.delete(f"{CONFIG_MAPS_PATH}/c")
    http.post(CONFIG_MAPS_PATH, json=config_map("bb"))
    names = [item["metadata"]["name"] for item in first["items"]]
    token = first["metadata"]["continue"]
    while token:
        page = http.get(CONFIG_MAPS_PATH, params={"limit": 2, "continue": token}).json()
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue")
    assert names == list("abcde")


def test_a_page_of_a_forgotten_moment_is_gone(http: httpx.Client, server: PracticeServer) -> None:
    for name in "abc":
        http.post(CONFIG_MAPS_PATH, json=config_map(name))
    token = http.get(CONFIG_MAPS_PATH, params={"limit": 1}).json()["metadata"]["continue"]
    http.post(CONFIG_MAPS_PATH, json=config_map("d"))
    server.run(lambda cluster: cluster.store.compact())
    response = http.get(CONFIG_MAPS_PATH, params={"limit": 1, "continue": token})
    assert (response.status_code, response.json()["reason"]) == (410, "Expired")


# -- watches -----------------------------------------------------------------------------------------------------


def test_a_watch_tells_what_happens_after_its_version(http: httpx.Client) -> None:
    created = http.post(CONFIG_MAPS_PATH, json=config_map("a", x="1")).json()
    http.patch(f"{CONFIG_MAPS_PATH}/a", json={"data": {"x": "2"}}, headers=MERGE)
    http.delete(f"{CONFIG_MAPS_PATH}/a")
    http.post(CONFIG_MAPS_PATH, json=config_map("b"))
    seen = watch(http, CONFIG_MAPS_PATH, resourceVersion=created["metadata"]["resourceVersion"])
    assert [(kind, obj["metadata"]["name"]) for kind, obj in seen] == [
        ("MODIFIED", "a"),
        ("DELETED", "a"),
        ("ADDED", "b"),
    ]
    versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in seen]
    assert versions == sorted(set(versions))
    assert {(obj["kind"], obj["apiVersion"]) for _, obj in seen} == {("ConfigMap", "v1")}


def test_a_watch_without_a_version_begins_with_what_is_there(http: httpx.Client) -> None:
    http.post(CONFIG_MAPS_PATH, json=config_map("a"))
    assert [kind for kind, _ in watch(http, "/api/v1/configmaps")] == ["ADDED"]
    assert watch(http, "/api/v1/namespaces/other/configmaps") == []
    assert [obj["metadata"]["name"] for _, obj in watch(http, f"{CONFIG_MAPS_PATH}/a")] == ["a"]


def test_what_enters_or_leaves_a_selection_is_added_or_deleted(http: httpx.Client) -> None:
    version = http.post(CONFIG_MAPS_PATH, json=config_map("a")).json()["metadata"]["resourceVersion"]
    for labels in ({"app": "web"}, {"app": "web", "x": "y"}, {"app": None}):
        http.patch(f"{CONFIG_MAPS_PATH}/a", json={"metadata": {"labels": labels}}, headers=MERGE)
    seen = watch(http, CONFIG_MAPS_PATH, resourceVersion=version, labelSelector="app=web")
    assert [kind for kind, _ in seen] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_running_watch_hears_at_once(http: httpx.Client, server: PracticeServer) -> None:
    with http.stream("GET", CONFIG_MAPS_PATH, params={"watch": "true"}) as response:
        server.run(lambda cluster: cluster.api.create(CONFIG_MAPS, "default", config_map("a")))
        assert json.loads(next(response.iter_lines()))["type"] == "ADDED"


def test_bookmarks_carry_the_version_and_nothing_else(http: httpx.Client) -> None:
    version = http.get(CONFIG_MAPS_PATH).json()["metadata"]["resourceVersion"]
    seen = watch(http, CONFIG_MAPS_PATH, resourceVersion=version, allowWatchBookmarks="true")
    assert {kind for kind, _ in seen} == {"BOOKMARK"}
    assert seen[0][1] == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": version, "creationTimestamp": None},
    }


def test_a_watch_from_a_forgotten_version_ends_with_an_expired_error(
    http: httpx.Client, server: PracticeServer
) -> None:
    version = http.post(CONFIG_MAPS_PATH, json=config_map("a")).json()["metadata"]["resourceVersion"]
    http.post(CONFIG_MAPS_PATH, json=config_map("b"))
    server.run(lambda cluster: cluster.store.compact())
    ((kind, status),) = watch(http, CONFIG_MAPS_PATH, resourceVersion=version)
    assert (kind, status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")


def test_a_killed_watch_breaks_off(http: httpx.Client) -> None:
    with http.stream("GET", CONFIG_MAPS_PATH, params={"watch": "1"}) as response:
        assert http.post("/practice/inject", json={"kill_watches": True}).status_code == 201
        with pytest.raises(httpx.RemoteProtocolError):
            list(response.iter_lines())


# -- the log of requests, and disturbances -----------------------------------------------------------------------


def test_every_mutating_request_is_recorded(http: httpx.Client, server: PracticeServer) -> None:
    http.post(CONFIG_MAPS_PATH, json=config_map("a"), params={"fieldManager": "kubernaut"})
    http.get(CONFIG_MAPS_PATH)
    http.patch(f"{CONFIG_MAPS_PATH}/nope", json={}, headers=MERGE)
    http.delete(f"{CONFIG_MAPS_PATH}/a")
    seen = http.get("/practice/requests").json()["requests"]
    assert [(item["method"], item["path"], item["status"]) for item in seen] == [
        ("POST", CONFIG_MAPS_PATH, 201),
        ("PATCH", f"{CONFIG_MAPS_PATH}/nope", 404),
        ("DELETE", f"{CONFIG_MAPS_PATH}/a", 200),
    ]
    assert seen[0]["body"] == config_map("a")
    assert (seen[0]["user_agent"], seen[0]["query"]) == ("tests/1.0", {"fieldManager": "kubernaut"})
    assert [record.number for record in server.requests] == [1, 2, 3]


def test_the_field_manager_is_named_or_read_from_the_user_agent(http: httpx.Client) -> None:
    http.post(CONFIG_MAPS_PATH, json=config_map("a", x="1"))
    changed = http.patch(
        f"{CONFIG_MAPS_PATH}/a", json={"data": {"y": "2"}}, headers=MERGE, params={"fieldManager": "kubernaut"}
    ).json()
    managers = {entry["manager"]: entry["fieldsV1"] for entry in changed["metadata"]["managedFields"]}
    assert managers == {"tests": {"f:data": {".": {}, "f:x": {}}}, "kubernaut": {"f:data": {"f:y": {}}}}


@pytest.mark.parametrize(("status", "reason"), [(409, "Conflict"), (429, "TooManyRequests"), (500, "InternalError")])
def test_an_injected_answer_comes_as_often_as_asked(
    http: httpx.Client, server: PracticeServer, status: int, reason: str
) -> None:
    server.inject(Injection(count=2, method="POST", path="configmaps", status=status, retry_after=7))  # type: ignore[arg-type]
    answers = [http.post(CONFIG_MAPS_PATH, json=config_map("a")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 201]
    assert answers[0].json()["reason"] == reason
    assert answers[0].headers.get("Retry-After") == ("7" if status == 429 else None)
    assert [record.injected for record in server.requests] == [True, True, False]


@pytest.mark.parametrize(("moment", "exists"), [("before", 404), ("after", 200)])
def test_a_closed_connection_leaves_the_client_in_doubt(http: httpx.Client, moment: str, exists: int) -> None:
    http.post("/practice/inject", json={"method": "POST", "close": moment})
    with pytest.raises(httpx.TransportError):
        http.post(CONFIG_MAPS_PATH, json=config_map("a"))
    assert http.get(f"{CONFIG_MAPS_PATH}/a").status_code == exists
    assert http.get("/practice/requests").json()["requests"][0]["status"] is None


def test_a_delayed_answer(http: httpx.Client, server: PracticeServer) -> None:
    server.inject(Injection(delay=0.3))
    with pytest.raises(httpx.ReadTimeout):
        http.get(CONFIG_MAPS_PATH, timeout=0.1)
    assert http.get(CONFIG_MAPS_PATH).status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"status": 418}, {"close": "later"}, {"delay": 1, "path": "("}, {"colour": "red"}]
)
def test_an_injection_that_is_none(http: httpx.Client, body: Json) -> None:
    response = http.post("/practice/inject", json=body)
    assert (response.status_code, response.json()["reason"]) == (400, "BadRequest")


# -- the rest ----------------------------------------------------------------------------------------------------


def test_a_rollout_in_real_time(http: httpx.Client) -> None:
    version = http.get(DEPLOYMENTS).json()["metadata"]["resourceVersion"]
    http.post(DEPLOYMENTS, json=deployment(containers=[container()]))
    with http.stream("GET", DEPLOYMENTS, params={"watch": "1", "resourceVersion": version}) as response:
        for line in response.iter_lines():
            if json.loads(line)["object"]["status"].get("availableReplicas") == 2:
                break


@pytest.mark.parametrize("where", ["body", "query"])
def test_delete_options_in_body_or_query(http: httpx.Client, where: str) -> None:
    http.post(DEPLOYMENTS, json=deployment())
    options = {"propagationPolicy": "Foreground"}
    if where == "body":
        answer = http.request("DELETE", f"{DEPLOYMENTS}/web", json={"kind": "DeleteOptions", **options})
    else:
        answer = http.delete(f"{DEPLOYMENTS}/web", params=options)
    assert answer.json()["metadata"]["finalizers"] == ["foregroundDeletion"]


def test_preconditions_over_http(http: httpx.Client) -> None:
    http.post(DEPLOYMENTS, json=deployment())
    answer = http.request("DELETE", f"{DEPLOYMENTS}/web", json={"preconditions": {"uid": "other"}})
    assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")


def test_a_collection_is_deleted_by_selector(http: httpx.Client) -> None:
    for name, app in (("a", "x"), ("b", "x"), ("c", "y")):
        http.post(CONFIG_MAPS_PATH, json=config_map(name, {"app": app}))
    answer = http.delete(CONFIG_MAPS_PATH, params={"labelSelector": "app=x"}).json()
    assert (answer["kind"], len(answer["items"])) == ("ConfigMapList", 2)
    assert [item["metadata"]["name"] for item in http.get(CONFIG_MAPS_PATH).json()["items"]] == ["c"]


def test_dry_run_and_warnings_over_http(http: httpx.Client) -> None:
    answer = http.post(DEPLOYMENTS, json=deployment(colour="red"), params={"dryRun": "All"})
    assert answer.status_code == 201
    assert answer.headers["Warning"] == '299 - "unknown field \\"spec.colour\\""'
    assert http.get(f"{DEPLOYMENTS}/web").status_code == 404
    assert http.post(DEPLOYMENTS, json=deployment(), params={"dryRun": "Some"}).status_code == 400


def test_stopping_ends_watches_and_the_thread() -> None:
    before = set(threading.enumerate())  # the session's own cluster may be among them
    server = PracticeServer().start()
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.stream("GET", f"{server.url}{CONFIG_MAPS_PATH}?watch=1", headers=headers) as response:
        server.stop()
        with pytest.raises(httpx.TransportError):
            response.read()
    assert [thread.name for thread in threading.enumerate() if thread not in before] == []


def test_a_port_that_is_taken_is_an_error(server: PracticeServer) -> None:
    with pytest.raises(OSError, match="address already in use"):
        PracticeServer(port=int(server.url.rsplit(":", 1)[1])).start()
