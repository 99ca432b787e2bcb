"""The registry: what is installed, what a name means, and which parameters an action takes."""

from typing import Any

import pytest

from kubernaut.actions import catalogue
from kubernaut.actions.registry import executor, executors, find, resolve_params, spec, validate_params
from kubernaut.actions.spec import EffectClass, StepFailure
from kubernaut.errors import ErrorClass
from kubernaut.settings import get_settings


@pytest.mark.requirement("BR-WF-EXECUTOR-005")
def test_the_registry_holds_one_executor_for_each_installed_action() -> None:
    assert {name: one.spec.effect for name, one in executors().items()} == {
        "kubernetes.scale": EffectClass.IN_OBJECT,
        "kubernetes.rollout_undo": EffectClass.IN_OBJECT,
        "kubernetes.rollout_restart": EffectClass.IN_OBJECT,
        "monitoring.check": EffectClass.READ_ONLY,
        "notify": EffectClass.EXTERNAL,
        "noop": EffectClass.READ_ONLY,
    }


@pytest.mark.parametrize("name", sorted(executors()))
def test_every_executor_has_an_entry_in_the_catalogue_with_the_same_effect(name: str) -> None:
    assert catalogue.CATALOGUE[name].effect is executors()[name].spec.effect


@pytest.mark.parametrize("name", ["scale_deployment", "scale-deployment", "ScaleDeployment", "kubernetes.scale"])
def test_a_name_in_any_spelling_means_the_installed_action_with_its_aliases(name: str) -> None:
    found = spec(name)
    assert (found.name, found.installed) == ("kubernetes.scale", True)
    assert "scale_deployment" in found.aliases
    assert found.param_aliases["desired_replicas"] == "replicas"


def test_an_action_without_an_executor_is_known_and_not_installed() -> None:
    assert spec("kubernetes.drain").installed is False
    with pytest.raises(StepFailure, match="not installed") as caught:
        executor("kubernetes.drain")
    assert caught.value.error_class is ErrorClass.VALIDATION


def test_a_near_miss_is_no_action() -> None:
    assert find("scale_deploymnt") is None
    with pytest.raises(KeyError):
        spec("scale_deploymnt")


@pytest.mark.parametrize(
    ("name", "params", "faults"),
    [
        ("kubernetes.scale", {"replicas": 5}, []),
        ("kubernetes.scale", {"replicas": {"$cel": "vars.n + 1"}}, []),
        ("kubernetes.scale", {}, [("/replicas", "param_missing")]),
        ("kubernetes.scale", {"replicas": "5"}, [("/replicas", "param_invalid")]),
        ("kubernetes.scale", {"replicas": True}, [("/replicas", "param_invalid")]),
        ("kubernetes.scale", {"replicas": 5.5}, [("/replicas", "param_invalid")]),
        ("kubernetes.scale", {"replicas": -1}, [("/replicas", "param_invalid")]),
        ("kubernetes.scale", {"replicas": {"cel": "1"}}, [("/replicas", "param_invalid")]),
        ("kubernetes.scale", {"replicas": {"$cel": "1", "x": 1}}, [("/replicas", "param_invalid")]),
        ("kubernetes.scale", {"replicas": 5, "wait": {"$cel": "true"}}, [("/wait", "param_unknown")]),
        ("kubernetes.scale", {"a/b": 1}, [("/replicas", "param_missing"), ("/a~1b", "param_unknown")]),
        ("kubernetes.rollout_undo", {}, []),
        ("kubernetes.rollout_undo", {"revision": "previous"}, []),
        ("kubernetes.rollout_undo", {"revision": "latest"}, [("/revision", "param_invalid")]),
        ("kubernetes.rollout_undo", {"revision": 0}, [("/revision", "param_invalid")]),
        ("kubernetes.rollout_restart", {"force": True}, [("/force", "param_unknown")]),
        ("monitoring.check", {"expression": ""}, [("/expression", "param_invalid")]),
        ("noop", {"seconds": 61}, [("/seconds", "param_invalid")]),
        ("noop", {"seconds": 1}, []),
        ("notify", {"message": "m"}, []),
        ("notify", {"message": "m", "channel": "email"}, [("/channel", "param_invalid")]),
        ("notify", {"message": "m", "channel": "webhook"}, [("", "param_invalid")]),
        (
            "notify",
            {"message": "m", "channel": "webhook", "url": "http://169.254.169.254/"},
            [("/url", "param_invalid")],
        ),
        ("kubernetes.drain", {"anything": {"is": "kept"}}, []),
    ],
)
def test_faults_name_the_parameter(name: str, params: dict[str, Any], faults: list[tuple[str, str]]) -> None:
    get_settings.cache_clear()
    assert [(fault.pointer, fault.code) for fault in validate_params(name, params)] == faults


def test_a_fault_says_what_to_do() -> None:
    (missing,) = validate_params("kubernetes.scale", {})
    assert "integer (at least 0" in missing.remedy
    _, unknown = validate_params("kubernetes.scale", {"replica": 5})
    assert unknown.remedy == "Did you mean 'replicas'?"
    (wrong,) = validate_params("kubernetes.rollout_undo", {"revision": "latest"})
    assert '"previous"' in wrong.remedy


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/", "http://metadata.google.internal/", "https://u:p@chat.test/", "https://other.test/"],
)
def test_the_remedy_for_a_receiver_names_the_setting_and_its_hosts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNAUT_WEBHOOK_HOSTS", '["chat.test"]')
    get_settings.cache_clear()
    (fault,) = validate_params("notify", {"message": "m", "channel": "webhook", "url": url})
    get_settings.cache_clear()
    assert fault.pointer == "/url"
    assert "whose host is listed in the setting webhook_hosts (chat.test)" in fault.remedy


def test_parameters_that_do_not_fit_together_say_which_do() -> None:
    (fault,) = validate_params("notify", {"message": "m", "channel": "webhook"})
    assert fault.remedy == "Give channel 'webhook' with a url, or channel 'log' without one."


def test_a_wrong_type_is_no_matter_of_hosts() -> None:
    (fault,) = validate_params("notify", {"message": "m", "channel": "webhook", "url": 7})
    assert fault.remedy == "Give 'url' as string."


def test_a_computed_value_is_judged_when_it_is_known() -> None:
    assert resolve_params("kubernetes.scale", {"replicas": 5}).model_dump() == {"replicas": 5}
    with pytest.raises(StepFailure, match="replicas") as caught:
        resolve_params("kubernetes.scale", {"replicas": "many"})
    assert caught.value.error_class is ErrorClass.VALIDATION
