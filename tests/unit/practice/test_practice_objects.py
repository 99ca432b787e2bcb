"""Objects through the API: what is filled in, what is refused and how, who wrote what, versions, deletion."""

from __future__ import annotations

from typing import Any

import pytest
from practice_simulation import Simulation, container, deployment

from kubernaut.cluster.practice import ApiError, SimulatedClock
from kubernaut.cluster.practice.admission import WriteOptions
from kubernaut.cluster.practice.api import DeleteOptions, PatchType, Preconditions
from kubernaut.cluster.practice.cluster import PracticeCluster
from kubernaut.cluster.practice.decoding import schema
from kubernaut.cluster.practice.derive_schema import derive
from kubernaut.cluster.practice.fields import owner_of
from kubernaut.cluster.practice.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Json,
)


def patch(simulation: Simulation, body: Any, kind: PatchType = PatchType.MERGE, **options: Any) -> Json:
    return simulation.api.patch(DEPLOYMENTS, "default", "web", body, kind, **options)


def refused(error: pytest.ExceptionInfo[ApiError]) -> Json:
    return error.value.status()


# -- filled in ---------------------------------------------------------------------------------------------------


def test_a_deployment_gets_the_servers_defaults(simulation: Simulation) -> None:
    manifest = deployment()
    del manifest["spec"]["replicas"]
    spec = simulation.put(manifest)["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["template"] == {
        "metadata": {"creationTimestamp": None, "labels": {"app": "web"}},
        "spec": {
            "containers": [
                {
                    "name": "web",
                    "image": "web:1",
                    "resources": {},
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                    "imagePullPolicy": "IfNotPresent",
                }
            ],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
    }


@pytest.mark.parametrize(
    ("image", "policy"), [("web", "Always"), ("web:latest", "Always"), ("web:1", "IfNotPresent"), ("a:5/web", "Always")]
)
def test_the_pull_policy_follows_the_tag(simulation: Simulation, image: str, policy: str) -> None:
    stored = simulation.put(deployment(containers=[container(image=image)]))
    assert stored["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_unknown_fields_are_dropped_with_a_warning(simulation: Simulation) -> None:
    simulation.put(deployment())
    options = WriteOptions()
    assert "colour" not in patch(simulation, {"spec": {"colour": "red"}}, options=options)["spec"]
    assert options.warnings == ['unknown field "spec.colour"']


def test_empty_optional_values_vanish_as_in_go(simulation: Simulation) -> None:
    stored = simulation.put(
        deployment(containers=[container(env=[{"name": "A", "value": ""}], command=[])], paused=False)
    )
    template = stored["spec"]["template"]["spec"]["containers"][0]
    assert template["env"] == [{"name": "A"}]
    assert "command" not in template
    assert "paused" not in stored["spec"]


def test_the_stored_schema_is_that_of_the_client() -> None:
    assert schema() == derive()


def test_uids_and_names_repeat_with_the_seed() -> None:
    def story(seed: int) -> list[Json]:
        simulation = Simulation(seed=seed)
        simulation.put(deployment())
        simulation.run(10)
        return simulation.pods()

    assert story(7) == story(7)
    assert story(7) != story(8)


# -- refused -----------------------------------------------------------------------------------------------------

MANY_REASONS: dict[str, tuple[Json, str, str]] = {
    "a negative number of replicas": (
        deployment(replicas=-1),
        "spec.replicas",
        "Invalid value: -1: must be greater than or equal to 0",
    ),
    "a selector that the template does not match": (
        deployment(selector={"matchLabels": {"app": "other"}}),
        "spec.template.metadata.labels",
        'Invalid value: {"app":"web"}: `selector` does not match template `labels`',
    ),
    "no containers": (
        deployment() | {"spec": deployment()["spec"] | {"template": {"metadata": {"labels": {"app": "web"}}}}},
        "spec.template.spec.containers",
        "Required value",
    ),
    "no image": (
        deployment(containers=[{"name": "web"}]),
        "spec.template.spec.containers[0].image",
        "Required value",
    ),
    "two containers of one name": (
        deployment(containers=[container(), container()]),
        "spec.template.spec.containers[1].name",
        'Duplicate value: "web"',
    ),
    "an unknown strategy": (
        deployment(strategy={"type": "BlueGreen"}),
        "spec.strategy.type",
        'Unsupported value: "BlueGreen": supported values: "Recreate", "RollingUpdate"',
    ),
    "neither surge nor unavailability": (
        deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
        "spec.strategy.rollingUpdate.maxUnavailable",
        "Invalid value: 0: may not be 0 when `maxSurge` is 0",
    ),
    "a quantity that is none": (
        deployment(containers=[container(resources={"limits": {"memory": "64 megs"}})]),
        "spec.template.spec.containers[0].resources.limits[memory]",
        'Invalid value: "64 megs": quantities must match the regular expression '
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
    "a request above its limit": (
        deployment(containers=[container(resources={"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}})]),
        "spec.template.spec.containers[0].resources.requests",
        'Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi',
    ),
    "a volume mount without a volume": (
        deployment(containers=[container(volumeMounts=[{"name": "v", "mountPath": "/v"}])]),
        "spec.template.spec.containers[0].volumeMounts[0].name",
        'Not found: "v"',
    ),
    "a deadline within minReadySeconds": (
        deployment(minReadySeconds=700),
        "spec.progressDeadlineSeconds",
        "Invalid value: 600: must be greater than minReadySeconds",
    ),
}


@pytest.mark.parametrize(("manifest", "field", "message"), MANY_REASONS.values(), ids=MANY_REASONS)
def test_an_invalid_object_is_a_422_that_names_the_field(
    simulation: Simulation, manifest: Json, field: str, message: str
) -> None:
    with pytest.raises(ApiError) as error:
        simulation.put(manifest)
    status = refused(error)
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert {"field": field, "message": message} in [
        {"field": cause["field"], "message": cause["message"]} for cause in status["details"]["causes"]
    ]
    assert status["details"]["kind"] == "Deployment"
    assert status["message"].startswith('Deployment.apps "web" is invalid: ')


def test_all_faults_are_named_at_once(simulation: Simulation) -> None:
    manifest = deployment("Not_A_Name", replicas=-1, containers=[container(name="")])
    with pytest.raises(ApiError) as error:
        simulation.put(manifest)
    fields = {cause["field"] for cause in refused(error)["details"]["causes"]}
    assert fields >= {"metadata.name", "spec.replicas", "spec.template.spec.containers[0].name"}


def test_the_selector_is_immutable(simulation: Simulation) -> None:
    simulation.put(deployment())
    labels = {"app": "web", "tier": "x"}
    with pytest.raises(ApiError) as error:
        patch(
            simulation,
            {"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}},
        )
    assert [cause["field"] for cause in refused(error)["details"]["causes"]] == ["spec.selector"]
    assert "field is immutable" in refused(error)["message"]


def test_a_wrong_type_is_refused_with_the_decoders_words(simulation: Simulation) -> None:
    text = "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    with pytest.raises(ApiError) as created:
        simulation.put(deployment(replicas="two"))  # type: ignore[arg-type]
    assert (created.value.code, created.value.reason) == (400, "BadRequest")
    assert created.value.message.endswith(text)
    simulation.put(deployment())
    with pytest.raises(ApiError) as patched:
        patch(simulation, {"spec": {"replicas": "two"}})
    assert (patched.value.code, patched.value.reason) == (422, "Invalid")
    assert patched.value.message.endswith(text)


def test_a_number_that_does_not_fit_is_refused_like_one(simulation: Simulation) -> None:
    with pytest.raises(ApiError, match="cannot unmarshal number 2147483648 into Go struct field") as error:
        simulation.put(deployment(replicas=2**31))
    assert error.value.code == 400


@pytest.mark.parametrize("subresource", ["", "scale"])
def test_more_replicas_than_it_can_simulate_are_a_501(simulation: Simulation, subresource: str) -> None:
    simulation.put(deployment())
    with pytest.raises(ApiError, match="does not model more than 1000 replicas") as error:
        patch(simulation, {"spec": {"replicas": 1001}}, subresource=subresource)
    assert error.value.code == 501


def test_strict_field_validation_refuses_unknown_fields(simulation: Simulation) -> None:
    with pytest.raises(ApiError) as error:
        simulation.api.create(DEPLOYMENTS, "default", deployment(colour="red"), WriteOptions(field_validation="Strict"))
    assert error.value.code == 400
    assert error.value.message.endswith('strict decoding error: unknown field "spec.colour"')


@pytest.mark.parametrize(
    ("manifest", "code", "words"),
    [
        ({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}}, 501, "does not model batch/v1/Job"),
        (deployment() | {"metadata": {"name": "web", "namespace": "nowhere"}}, 404, 'namespaces "nowhere" not found'),
        (
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "x"},
                "spec": {"containers": [container()], "initContainers": [container()]},
            },
            501,
            "init containers",
        ),
    ],
)
def test_what_is_not_modelled_or_has_no_place(simulation: Simulation, manifest: Json, code: int, words: str) -> None:
    with pytest.raises(ApiError, match=words) as error:
        simulation.put(manifest)
    assert error.value.code == code


def test_a_second_object_of_one_name(simulation: Simulation) -> None:
    simulation.put(deployment())
    with pytest.raises(ApiError) as error:
        simulation.api.create(DEPLOYMENTS, "default", deployment())
    assert refused(error) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "web" already exists',
        "reason": "AlreadyExists",
        "details": {"name": "web", "group": "apps", "kind": "deployments"},
        "code": 409,
    }


def test_a_pod_keeps_its_spec_apart_from_the_image(simulation: Simulation) -> None:
    simulation.put(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container()]}}
    )
    with pytest.raises(ApiError, match="pod updates may not change fields other than"):
        simulation.api.patch(PODS, "default", "p", {"spec": {"restartPolicy": "Never"}}, PatchType.MERGE)
    operations = [{"op": "replace", "path": "/spec/containers/0/image", "value": "web:2"}]
    changed = simulation.api.patch(PODS, "default", "p", operations, PatchType.JSON)
    assert changed["spec"]["containers"][0]["image"] == "web:2"


# -- versions ----------------------------------------------------------------------------------------------------


def write_with_version(simulation: Simulation, way: str, old: Json) -> None:
    version = old["metadata"]["resourceVersion"]
    if way == "put":
        simulation.api.replace(DEPLOYMENTS, "default", "web", old)
    elif way == "merge patch":
        patch(simulation, {"metadata": {"resourceVersion": version}, "spec": {"replicas": 4}})
    else:
        operations = [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}]
        patch(simulation, operations, PatchType.JSON)


@pytest.mark.parametrize("way", ["put", "merge patch", "json patch"])
def test_a_write_with_an_old_version_is_a_conflict(simulation: Simulation, way: str) -> None:
    old = simulation.put(deployment())
    patch(simulation, {"spec": {"replicas": 3}})
    with pytest.raises(ApiError) as error:
        write_with_version(simulation, way, old)
    assert refused(error)["message"] == (
        'Operation cannot be fulfilled on deployments.apps "web": the object has been modified; please apply your '
        "changes to the latest version and try again"
    )
    assert (error.value.code, error.value.reason) == (409, "Conflict")
    assert simulation.deployment()["spec"]["replicas"] == 3


def test_a_failed_test_is_a_422_and_changes_nothing(simulation: Simulation) -> None:
    before = simulation.put(deployment())
    operations = [
        {"op": "test", "path": "/metadata/uid", "value": "another"},
        {"op": "replace", "path": "/spec/replicas", "value": 9},
    ]
    with pytest.raises(ApiError) as error:
        patch(simulation, operations, PatchType.JSON)
    assert refused(error) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "the server rejected our request due to an error in our request",
        "reason": "Invalid",
        "details": {},
        "code": 422,
    }
    assert simulation.deployment() == before


def test_another_uid_is_a_conflict(simulation: Simulation) -> None:
    simulation.put(deployment())
    with pytest.raises(ApiError, match="Precondition failed: UID in precondition: other") as error:
        patch(simulation, {"metadata": {"uid": "other"}})
    assert error.value.code == 409


def test_generation_counts_specs_and_not_labels_or_status(simulation: Simulation) -> None:
    assert simulation.put(deployment())["metadata"]["generation"] == 1
    assert patch(simulation, {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 1
    assert patch(simulation, {"status": {"replicas": 1}}, subresource="status")["metadata"]["generation"] == 1
    assert patch(simulation, {"spec": {"replicas": 5}})["metadata"]["generation"] == 2


def test_a_write_that_changes_nothing_keeps_the_version(simulation: Simulation) -> None:
    before = simulation.put(deployment())
    assert patch(simulation, {"spec": {"replicas": 2}}) == before
    assert simulation.api.replace(DEPLOYMENTS, "default", "web", deployment()) == before


def test_a_dry_run_answers_and_stores_nothing(simulation: Simulation) -> None:
    before = simulation.put(deployment())
    dry = WriteOptions(dry_run=True)
    assert patch(simulation, {"spec": {"replicas": 7}}, options=dry)["spec"]["replicas"] == 7
    assert simulation.deployment() == before
    simulation.api.create(CONFIG_MAPS, "default", {"metadata": {"name": "c"}}, dry)
    with pytest.raises(ApiError, match='configmaps "c" not found'):
        simulation.api.get(CONFIG_MAPS, "default", "c")


def test_status_and_spec_are_written_apart(simulation: Simulation) -> None:
    simulation.put(deployment())
    both = {"spec": {"replicas": 8}, "status": {"collisionCount": 4}}
    through_status = patch(simulation, both, subresource="status")
    assert (through_status["spec"]["replicas"], through_status["status"]) == (2, {"collisionCount": 4})
    both["status"] = {"collisionCount": 5}
    through_object = patch(simulation, both)
    assert (through_object["spec"]["replicas"], through_object["status"]) == (8, {"collisionCount": 4})


# -- scale -------------------------------------------------------------------------------------------------------


def test_scale_is_a_view_of_replicas(simulation: Simulation) -> None:
    stored = simulation.put(deployment())
    metadata = stored["metadata"]
    assert simulation.api.get(DEPLOYMENTS, "default", "web", "scale") == {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        },
        "spec": {"replicas": 2},
        "status": {"replicas": 0, "selector": "app=web"},
    }


def test_scaling_by_patch_and_put(simulation: Simulation) -> None:
    simulation.put(deployment())
    operations = [
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 4},
    ]
    scale = patch(simulation, operations, PatchType.JSON, subresource="scale")
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 4})
    scale["spec"] = {"replicas": 0}
    answer = simulation.api.replace(DEPLOYMENTS, "default", "web", scale, subresource="scale")
    assert answer["spec"] == {}, "zero is left out, as a real server does"
    assert simulation.deployment()["spec"]["replicas"] == 0
    with pytest.raises(ApiError) as error:
        simulation.api.replace(DEPLOYMENTS, "default", "web", scale, subresource="scale")
    assert error.value.code == 409, "the scale carries the version that it was read at"


def test_a_negative_scale_is_invalid(simulation: Simulation) -> None:
    simulation.put(deployment())
    with pytest.raises(
        ApiError, match=r'Scale\.autoscaling "web" is invalid: spec.replicas: Invalid value: -2'
    ) as error:
        patch(simulation, {"spec": {"replicas": -2}}, subresource="scale")
    assert error.value.code == 422


# -- who wrote what ----------------------------------------------------------------------------------------------


def test_managed_fields_name_the_last_writer_of_a_field(simulation: Simulation) -> None:
    simulation.api.create(DEPLOYMENTS, "default", deployment(), WriteOptions("kubectl"))
    patch(simulation, {"spec": {"replicas": 3}}, options=WriteOptions("kubernaut"))
    changed = simulation.deployment()
    assert owner_of(changed, "spec", "replicas") == "kubernaut"
    assert owner_of(changed, "spec", "revisionHistoryLimit") == "kubectl"
    scaled = patch(simulation, {"spec": {"replicas": 4}}, options=WriteOptions("autoscaler"), subresource="scale")
    assert scaled["spec"]["replicas"] == 4
    entry = next(e for e in simulation.deployment()["metadata"]["managedFields"] if e["manager"] == "autoscaler")
    assert (entry["subresource"], entry["operation"], entry["fieldsV1"]) == (
        "scale",
        "Update",
        {"f:spec": {"f:replicas": {}}},
    )
    assert "kubernaut" not in [e["manager"] for e in simulation.deployment()["metadata"]["managedFields"]]


def test_a_removed_field_has_no_owner(simulation: Simulation) -> None:
    simulation.put(deployment())
    patch(simulation, {"metadata": {"annotations": {"note": "x"}}}, options=WriteOptions("someone"))
    assert owner_of(simulation.deployment(), "metadata", "annotations", "note") == "someone"
    patch(simulation, {"metadata": {"annotations": {"note": None}}})
    assert owner_of(simulation.deployment(), "metadata", "annotations", "note") is None


# -- deletion ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preconditions", "words"),
    [
        (Preconditions(uid="other"), r"the UID in the precondition \(other\) does not match the UID in record"),
        (
            Preconditions(resource_version="1"),
            r"the ResourceVersion in the precondition \(1\) does not match the ResourceVersion in record",
        ),
    ],
)
def test_a_delete_with_a_precondition_that_does_not_hold(
    simulation: Simulation, preconditions: Preconditions, words: str
) -> None:
    simulation.put(deployment())
    with pytest.raises(ApiError, match=words) as error:
        simulation.api.delete(DEPLOYMENTS, "default", "web", DeleteOptions(preconditions=preconditions))
    assert (error.value.code, error.value.reason) == (409, "Conflict")
    assert simulation.deployment()


def test_a_delete_whose_preconditions_hold(simulation: Simulation) -> None:
    metadata = simulation.put(deployment())["metadata"]
    wanted = Preconditions(metadata["uid"], metadata["resourceVersion"])
    answer = simulation.api.delete(DEPLOYMENTS, "default", "web", DeleteOptions(preconditions=wanted))
    assert answer == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "web", "group": "apps", "kind": "deployments", "uid": metadata["uid"]},
    }
    with pytest.raises(ApiError, match=r'deployments.apps "web" not found'):
        simulation.deployment()


@pytest.mark.parametrize(("propagation", "left"), [("Background", 0), ("Foreground", 0), ("Orphan", 2)])
def test_what_becomes_of_the_dependents(simulation: Simulation, propagation: str, left: int) -> None:
    simulation.put(deployment())
    simulation.run(5)
    simulation.api.delete(DEPLOYMENTS, "default", "web", DeleteOptions(propagation=propagation))
    simulation.run(60)
    assert simulation.cluster.store.all(DEPLOYMENTS) == []
    assert len(simulation.pods()) == left
    assert len(simulation.cluster.store.all(REPLICA_SETS)) == left // 2


def test_a_foreground_deletion_outlives_its_pods(simulation: Simulation) -> None:
    simulation.put(deployment())
    simulation.run(5)
    answer = simulation.api.delete(DEPLOYMENTS, "default", "web", DeleteOptions(propagation="Foreground"))
    assert answer["metadata"]["finalizers"] == ["foregroundDeletion"]
    simulation.run(0)
    assert [pod["metadata"].get("deletionTimestamp") is not None for pod in simulation.pods()] == [True, True]
    assert simulation.deployment()["metadata"]["deletionTimestamp"]


def test_a_deleted_pod_takes_its_time_unless_it_is_forced(simulation: Simulation) -> None:
    for name in ("slow", "fast"):
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"containers": [container()]},
        }
        simulation.put(manifest)
    simulation.run(5)
    answer = simulation.api.delete(PODS, "default", "slow")
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 30
    simulation.api.delete(PODS, "default", "fast", DeleteOptions(grace=0))
    simulation.run(0)
    assert [pod["metadata"]["name"] for pod in simulation.pods()] == ["slow"]
    simulation.run(5)
    assert simulation.pods() == []


def test_a_deleted_namespace_empties_itself_and_takes_nothing_new(simulation: Simulation) -> None:
    simulation.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    manifest = deployment()
    manifest["metadata"]["namespace"] = "shop"
    simulation.put(manifest)
    simulation.run(5)
    assert simulation.api.delete(NAMESPACES, "", "shop")["status"]["phase"] == "Terminating"
    with pytest.raises(ApiError, match="because it is being terminated") as error:
        simulation.api.create(CONFIG_MAPS, "shop", {"metadata": {"name": "late"}})
    assert error.value.code == 403
    simulation.run(60)
    with pytest.raises(ApiError, match='namespaces "shop" not found'):
        simulation.api.get(NAMESPACES, "", "shop")
    assert simulation.pods() == []


def test_services_get_addresses_and_immutable_config_maps_stay(simulation: Simulation) -> None:
    service = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    spec = simulation.api.create(SERVICES, "default", service)["spec"]
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    simulation.api.create(CONFIG_MAPS, "default", {"metadata": {"name": "c"}, "data": {"a": "1"}, "immutable": True})
    with pytest.raises(ApiError, match="field is immutable when `immutable` is set"):
        simulation.api.patch(CONFIG_MAPS, "default", "c", {"data": {"a": "2"}}, PatchType.MERGE)


def test_the_cluster_never_asks_the_machine_for_the_time() -> None:
    clock = SimulatedClock()
    cluster = PracticeCluster(clock)
    cluster.put(deployment())
    assert cluster.step() is not None
    assert cluster.api.get(DEPLOYMENTS, "default", "web")["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
