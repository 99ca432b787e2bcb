"""Each executor reads, and says exactly which fields are to be set, or why not."""

from typing import Any

import pytest

from kubernaut.actions.kubernetes.rollout_restart import RolloutRestart
from kubernaut.actions.kubernetes.rollout_undo import RolloutUndo, RolloutUndoParams
from kubernaut.actions.kubernetes.scale import Scale, ScaleParams
from kubernaut.actions.monitoring import CheckParams, MonitoringCheck
from kubernaut.actions.noop import Noop, NoopParams
from kubernaut.actions.notify import Notify, NotifyParams
from kubernaut.actions.spec import ABSENT, ExternalCall, FieldChange, NoParams, ObjectPatch, StepFailure
from kubernaut.errors import ErrorClass
from kubernaut.plan.model import NamedCondition, Target
from kubernaut.settings import get_settings
from tests.unit.actions.conftest import CHECKOUT, FakeContext, deployment, replica_set, template


async def failing(work: Any) -> StepFailure:
    with pytest.raises(StepFailure) as caught:
        await work
    return caught.value


def only_patch(changes: Any) -> ObjectPatch:
    (patch,) = changes
    assert isinstance(patch, ObjectPatch)
    return patch


# --- kubernetes.scale


async def test_scale_sets_the_replicas_and_nothing_else(context: FakeContext) -> None:
    plan = await Scale().plan(context.holds(deployment(1, "app:1")), ScaleParams(replicas=5))
    patch = only_patch(plan.changes)
    assert patch.fields == (FieldChange(pointer="/spec/replicas", before=2, after=5),)
    assert (str(patch.target), patch.uid, patch.resource_version) == ("Deployment shop/checkout", "u-1", "7")
    assert plan.outputs == {"replicas": {"before": 2, "after": 5}}
    assert plan.summary == "replicas 2 → 5"


async def test_scale_to_what_is_there_changes_nothing(context: FakeContext) -> None:
    plan = await Scale().plan(context.holds(deployment(1, "app:1", replicas=5)), ScaleParams(replicas=5))
    assert plan.changes == ()
    assert plan.outputs == {"replicas": {"before": 5, "after": 5}}


async def test_scale_adds_replicas_where_the_object_has_none(context: FakeContext) -> None:
    found = deployment(1, "app:1")
    del found["spec"]["replicas"]
    plan = await Scale().plan(context.holds(found), ScaleParams(replicas=3))
    assert only_patch(plan.changes).fields[0].before == ABSENT
    assert plan.outputs == {"replicas": {"before": 1, "after": 3}}


def test_scale_is_proved_by_a_rollout_of_that_size() -> None:
    check = Scale().default_check(CHECKOUT, {"replicas": 5})
    assert isinstance(check, NamedCondition)
    assert (check.check, check.params, check.target) == ("rollout_complete", {"replicas": 5}, CHECKOUT)


def test_scale_by_a_computed_number_is_proved_without_the_number() -> None:
    check = Scale().default_check(CHECKOUT, {"replicas": {"$cel": "vars.n"}})
    assert isinstance(check, NamedCondition)
    assert check.params == {}


# --- kubernetes.rollout_undo


async def test_undo_sets_the_template_of_the_previous_revision(context: FakeContext) -> None:
    context.holds(deployment(3, "app:3"), *(replica_set(n, f"app:{n}") for n in (1, 2, 3)))
    plan = await RolloutUndo().plan(context, RolloutUndoParams())
    patch = only_patch(plan.changes)
    assert patch.fields == (FieldChange(pointer="/spec/template", before=template("app:3"), after=template("app:2")),)
    assert plan.outputs == {
        "revision": {"before": 3, "restored": 2},
        "images": {"before": {"app": "app:3"}, "after": {"app": "app:2"}},
    }
    assert plan.summary == "template of revision 3 → that of revision 2 (app app:3 → app:2)"


async def test_undo_to_a_given_revision(context: FakeContext) -> None:
    context.holds(deployment(3, "app:3"), *(replica_set(n, f"app:{n}") for n in (1, 2, 3)))
    plan = await RolloutUndo().plan(context, RolloutUndoParams(revision=1))
    assert only_patch(plan.changes).fields[0].after == template("app:1")


async def test_previous_before_the_controller_has_seen_the_latest_template(context: FakeContext) -> None:
    """The newest ReplicaSet is then the revision to go back to, not the one to leave."""
    context.holds(deployment(2, "app:new"), replica_set(1, "app:1"), replica_set(2, "app:2"))
    plan = await RolloutUndo().plan(context, RolloutUndoParams())
    assert plan.outputs["revision"] == {"before": 2, "restored": 2}


async def test_undo_ignores_replica_sets_of_another_owner(context: FakeContext) -> None:
    foreign = replica_set(2, "evil:1", owner="u-2")
    context.holds(deployment(3, "app:3"), replica_set(1, "app:1"), foreign, replica_set(3, "app:3"))
    plan = await RolloutUndo().plan(context, RolloutUndoParams())
    assert plan.outputs["revision"] == {"before": 3, "restored": 1}


async def test_undo_to_a_missing_revision_lists_those_that_exist(context: FakeContext) -> None:
    context.holds(deployment(3, "app:3"), replica_set(2, "app:2"), replica_set(3, "app:3"))
    failure = await failing(RolloutUndo().plan(context, RolloutUndoParams(revision=1)))
    assert failure.error_class is ErrorClass.PRECONDITION
    assert "has no revision 1; there are 2, 3" in failure.message


async def test_undo_without_a_history_is_refused(context: FakeContext) -> None:
    context.holds(deployment(1, "app:1"), replica_set(1, "app:1"))
    failure = await failing(RolloutUndo().plan(context, RolloutUndoParams()))
    assert failure.error_class is ErrorClass.PRECONDITION
    assert "no earlier revision" in failure.message


async def test_undo_to_the_template_that_runs_changes_nothing(context: FakeContext) -> None:
    context.holds(deployment(2, "app:2"), replica_set(1, "app:1"), replica_set(2, "app:2"))
    plan = await RolloutUndo().plan(context, RolloutUndoParams(revision=2))
    assert plan.changes == ()


# --- kubernetes.rollout_restart


async def test_restart_sets_kubectls_annotation_to_the_time_of_planning(context: FakeContext) -> None:
    plan = await RolloutRestart().plan(context.holds(deployment(1, "app:1")), NoParams())
    (change,) = only_patch(plan.changes).fields
    assert change.pointer == "/spec/template/metadata/annotations"
    assert change.after == {"kubectl.kubernetes.io/restartedAt": "2026-03-01T12:00:00Z"}
    assert plan.outputs == {"restarted_at": "2026-03-01T12:00:00Z"}


async def test_restart_leaves_other_annotations_alone(context: FakeContext) -> None:
    found = deployment(1, "app:1")
    found["spec"]["template"]["metadata"]["annotations"] = {"team": "payments"}
    plan = await RolloutRestart().plan(context.holds(found), NoParams())
    (change,) = only_patch(plan.changes).fields
    assert change.pointer == "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt"
    assert change.before == ABSENT


def test_restart_says_why_it_cannot_be_undone() -> None:
    assert RolloutRestart.spec.undo_reason


# --- what all of them refuse

CHANGING = [(Scale(), ScaleParams(replicas=5)), (RolloutUndo(), RolloutUndoParams()), (RolloutRestart(), NoParams())]


@pytest.mark.parametrize(("executor", "params"), CHANGING)
async def test_an_object_that_is_being_deleted_is_left_alone(context: FakeContext, executor: Any, params: Any) -> None:
    found = deployment(1, "app:1")
    found["metadata"]["deletionTimestamp"] = "2026-03-01T11:59:00Z"
    assert (await failing(executor.plan(context.holds(found), params))).error_class is ErrorClass.PRECONDITION


@pytest.mark.parametrize(("executor", "params"), CHANGING[1:])
async def test_a_paused_deployment_would_not_roll_out(context: FakeContext, executor: Any, params: Any) -> None:
    context.holds(deployment(2, "app:2", paused=True), replica_set(1, "app:1"), replica_set(2, "app:2"))
    failure = await failing(executor.plan(context, params))
    assert failure.error_class is ErrorClass.PRECONDITION
    assert "kubectl rollout resume" in failure.message


@pytest.mark.parametrize(("executor", "params"), CHANGING)
@pytest.mark.parametrize("target", [Target(), Target(kind="StatefulSet", namespace="shop", name="x")])
async def test_another_target_than_one_deployment_is_refused(executor: Any, params: Any, target: Target) -> None:
    failure = await failing(executor.plan(FakeContext(target=target), params))
    assert failure.error_class is ErrorClass.VALIDATION


@pytest.mark.parametrize(("executor", "params"), CHANGING)
async def test_a_missing_object_is_not_found(context: FakeContext, executor: Any, params: Any) -> None:
    assert (await failing(executor.plan(context, params))).error_class is ErrorClass.NOT_FOUND


# --- monitoring.check


@pytest.mark.parametrize(
    ("value", "error_class"),
    [(False, ErrorClass.POST_CONDITION), (1, ErrorClass.VALIDATION), (None, ErrorClass.VALIDATION)],
)
async def test_a_check_that_is_not_true_fails_the_step(
    context: FakeContext, value: Any, error_class: ErrorClass
) -> None:
    context.holds(deployment(1, "app:1")).answers["object.ok"] = value
    assert (
        await failing(MonitoringCheck().plan(context, CheckParams(expression="object.ok")))
    ).error_class is error_class


async def test_a_check_that_is_true_changes_nothing_and_says_what_it_read(context: FakeContext) -> None:
    context.holds(deployment(1, "app:1")).answers["object.ok"] = True
    plan = await MonitoringCheck().plan(context, CheckParams(expression="object.ok"))
    assert plan.changes == ()
    assert plan.outputs == {"holds": True, "object": "Deployment shop/checkout", "resource_version": "7"}


async def test_a_check_never_reads_a_secret() -> None:
    context = FakeContext(target=Target(kind="Secret", namespace="shop", name="password"))
    failure = await failing(MonitoringCheck().plan(context, CheckParams(expression="true")))
    assert failure.error_class is ErrorClass.VALIDATION


# --- notify


@pytest.fixture
def _hooks_allowed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KUBERNAUT_WEBHOOK_HOSTS", '["hooks.example.com"]')
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


async def test_a_message_for_the_log_is_one_line_and_no_call(context: FakeContext) -> None:
    plan = await Notify().plan(context, NotifyParams(message="down\nINFO all is well\x1b[2J"))
    assert plan.changes == ()
    assert context.lines == ["notify: down INFO all is well [2J"]


@pytest.mark.usefixtures("_hooks_allowed")
async def test_a_webhook_gets_the_message_as_data_with_the_tracking_id(context: FakeContext) -> None:
    params = NotifyParams(message='say "{{ x }}"', channel="webhook", url="https://hooks.example.com/T0/s3cret")
    plan = await Notify().plan(context, params)
    (call,) = plan.changes
    assert isinstance(call, ExternalCall)
    assert (call.method, call.url, call.idempotent) == ("POST", "https://hooks.example.com/T0/s3cret", False)
    assert call.body == {
        "text": 'say "{{ x }}"',
        "tracking_id": "trk-1",
        "execution_id": "ex-1",
        "step_id": "fix",
    }
    assert "s3cret" not in f"{plan.summary} {plan.outputs} {call.summary}"


# --- noop


async def test_noop_does_nothing(context: FakeContext) -> None:
    plan = await Noop().plan(context, NoopParams())
    assert (plan.changes, plan.outputs) == ((), {})


@pytest.mark.parametrize("executor", [MonitoringCheck(), Notify(), Noop()])
def test_what_changes_nothing_in_the_cluster_needs_no_proof(executor: Any) -> None:
    assert executor.default_check(CHECKOUT, {}) is None
