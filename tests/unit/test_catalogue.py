"""Action names: every name that an AI was seen to use is one action of ours, in any spelling; a near miss is none."""

import re
from pathlib import Path

import pytest

from kubernaut.actions import catalogue
from kubernaut.actions.spec import EffectClass

ROOT = Path(__file__).parents[2]
DIALECTS = ROOT.parent / "shared" / "dialects.md"

NAMES = {
    "kubernetes.scale": "scale_deployment scale_statefulset scale_up scale_out ScaleReplicas",
    "kubernetes.rollout_restart": (
        "restart_pod restart_pods rolling_restart_pods restart_deployment restart_statefulset restart_daemonset "
        "restart_service RestartPod RestartDeployment GracefulRestart"
    ),
    "kubernetes.delete_pod": "delete_pod DeletePod",
    "kubernetes.set_resources": (
        "increase_resources increase_memory increase_memory_limit increase_cpu increase_cpu_limit "
        "patch_resource_limits optimize_resources optimize_deployment IncreaseCPULimits IncreaseMemoryLimits"
    ),
    "kubernetes.rollout_undo": "rollback_deployment RollbackDeployment",
    "kubernetes.patch": "update_deployment patch_resource PatchConfiguration update_configmap patch_service",
    "kubernetes.drain": "drain_node DrainNode",
    "kubernetes.cordon": "cordon_node CordonNode",
    "kubernetes.untaint": "untaint_node RemoveTaint",
    "kubernetes.expand_pvc": "expand_pvc resize_persistent_volume ExpandPVC",
    "kubernetes.update_hpa": "update_hpa PatchHPA",
    "kubernetes.update_pdb": "RelaxPDB",
    "kubernetes.quarantine_pod": "quarantine_pod",
    "kubernetes.collect_diagnostics": "collect_diagnostics get_events investigate_logs",
    "notify": "notify_only notify_oncall notification log",
    "webhook": "webhook",
    "other.failover_database": "failover_database failover-database FailoverDatabase",
    "other.helm_rollback": "HelmRollback helm_rollback",
    "other.wait": "wait",
    "other.migrate_workload": "migrate_workload",
}


@pytest.mark.parametrize(("ours", "theirs"), [(ours, name) for ours, names in NAMES.items() for name in names.split()])
def test_a_name_of_an_ai_is_one_action_of_ours(ours: str, theirs: str) -> None:
    spec = catalogue.find(theirs)
    assert spec is not None
    assert spec.name == ours


@pytest.mark.parametrize("spelling", ["scale_deployment", "scale-deployment", "ScaleDeployment", "kubernetes.scale"])
def test_the_spellings_of_a_name_are_the_same_action(spelling: str) -> None:
    assert catalogue.find(spelling) is catalogue.CATALOGUE["kubernetes.scale"]


def test_every_name_of_the_collected_forms_is_registered_with_an_effect_class() -> None:
    if not DIALECTS.exists():
        pytest.skip(f"{DIALECTS.name} is not beside the repository")
    table = DIALECTS.read_text().split("## Action names seen")[1].split("## ")[0]
    cells = [line.split("|")[2] for line in table.splitlines() if line.startswith("|")][2:]
    names = [name for cell in cells for name in re.findall(r"[A-Za-z_]+", re.sub(r"\([^)]*\)", "", cell))]
    assert len(names) > 90
    assert [name for name in names if catalogue.find(name) is None] == []
    assert all(isinstance(catalogue.find(name).effect, EffectClass) for name in names)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("scale_deploymnt", "scale_deployment"),
        ("ScaleDeploymnt", "scale_deployment"),
        ("rollback-deployement", "rollback_deployment"),
        ("Scale_Deployment", "scale_deployment"),
        ("kubernetes.scal", "kubernetes.scale"),
    ],
)
def test_a_near_miss_is_suggested_and_never_found(wrong: str, meant: str) -> None:
    assert catalogue.find(wrong) is None
    assert catalogue.near_miss(wrong) == meant


@pytest.mark.parametrize(
    "nonsense", ["", "rm -rf /", "make_coffee_for_everybody", "x" * 5_000, "SCALE", "scale deployment now"]
)
def test_what_names_no_action_is_not_found(nonsense: str) -> None:
    assert catalogue.find(nonsense) is None


@pytest.mark.parametrize("alias", [alias for spec in catalogue.CATALOGUE.values() for alias in spec.aliases])
def test_every_alias_is_found_in_three_spellings(alias: str) -> None:
    spellings = [alias, alias.replace("_", "-"), "".join(part.capitalize() for part in alias.split("_"))]
    assert len({id(catalogue.find(spelling)) for spelling in spellings}) == 1
    assert catalogue.find(alias) is not None


def test_a_name_that_says_the_kind_fixes_it() -> None:
    assert catalogue.fixed_kind("scale-statefulset") == "StatefulSet"
    assert catalogue.fixed_kind("RollbackDeployment") == "Deployment"
    assert catalogue.fixed_kind("scale_up") is None
