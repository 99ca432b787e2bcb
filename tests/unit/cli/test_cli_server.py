"""Commands that speak to a server: what they ask, what they print, how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Kubernaut, Server
from tests.unit.plan.documents import plan

ROOT = "/kubernaut/api/v1"
ACCEPTED = {
    "execution_id": "ex-1",
    "dag_id": "kn.scale.0",
    "run_id": "ex-1",
    "tracking_id": "kn-1",
    "links": {"run": "http://airflow/dags/kn.scale.0/runs/ex-1"},
}


def execution(phase: str, state: str, **fields: Any) -> dict[str, Any]:
    steps = [{"key": "s01", "id": "scale", "name": "Scale checkout to 3", "state": state}]
    return {"id": "ex-1", "phase": phase, "outcome": None, "steps": steps, **fields}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan()))
    return str(path)


pytestmark = pytest.mark.usefixtures("logged_in")


def test_execute_sends_the_plan_as_it_is(kubernaut: Kubernaut, server: Server, file: str, tmp_path: Path) -> None:
    server.will_answer(202, ACCEPTED)
    signal = tmp_path / "signal.json"
    signal.write_text('{"labels": {"alertname": "X"}}')
    ended = kubernaut(
        "execute", file, "--signal", str(signal), "--priority", "P0", "--approve", "h", "--idempotency-key", "k"
    )
    method, path, body, headers = server.asked[0]
    assert (method, path) == ("POST", f"{ROOT}/executions")
    assert body == {"plan": plan(), "signal": {"labels": {"alertname": "X"}}, "priority": "P0", "approve": "h"}
    assert headers["Authorization"] == "Bearer secret-token"
    assert headers["Idempotency-Key"] == "k"
    assert ended.code == 0
    assert "ex-1" in ended.out
    assert "http://airflow/dags/kn.scale.0/runs/ex-1" in ended.out


def test_execute_with_wait_shows_each_change_once_and_the_verdict(
    kubernaut: Kubernaut, server: Server, file: str
) -> None:
    server.will_answer(202, ACCEPTED)
    for phase, state in (("queued", "pending"), ("running", "running"), ("running", "running")):
        server.will_answer(200, execution(phase, state))
    server.will_answer(
        200, execution("completed", "succeeded", outcome="success", verdict={"proof": "read", "reasons": []})
    )
    ended = kubernaut("execute", file, "--wait")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines() if "Scale checkout" in line] == ["running", "succeeded"]
    assert "completed: success" in ended.out
    assert "proof: read" in ended.out


@pytest.mark.parametrize(("phase", "code"), [("completed", 0), ("failed", 1), ("cancelled", 1)])
def test_waiting_ends_as_the_execution_did(
    kubernaut: Kubernaut, server: Server, file: str, phase: str, code: int
) -> None:
    server.will_answer(202, ACCEPTED)
    server.will_answer(200, execution(phase, "succeeded"))
    ended = kubernaut("execute", file, "--wait", "--json")
    assert (ended.code, ended.json["phase"]) == (code, phase)


def test_waiting_says_once_that_a_halt_is_why_nothing_moves(kubernaut: Kubernaut, server: Server, file: str) -> None:
    halts = [{"cluster": "prod", "reason": "look first"}]
    server.will_answer(202, ACCEPTED)
    server.will_answer(200, execution("queued", "pending", halts=halts))
    server.will_answer(200, execution("queued", "pending", halts=halts))
    server.will_answer(200, execution("completed", "succeeded"))
    assert kubernaut("execute", file, "--wait").out.count("HALTED: prod: look first") == 1


def test_waiting_outlasts_a_server_that_is_away_for_a_moment(kubernaut: Kubernaut, server: Server, file: str) -> None:
    server.will_answer(202, ACCEPTED)
    server.will_answer(200, b"<html>starting</html>")
    server.will_answer(200, execution("completed", "succeeded"))
    assert kubernaut("execute", file, "--wait").code == 0


def problem(status: int, code: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    return status, {"type": f"https://kubernaut.ai/problems/{code}", "title": "t", "status": status, **fields}


REFUSALS = {
    "approval_required": (409, 3),
    "human_required": (409, 3),
    "not_runnable": (409, 1),
    "hash_mismatch": (409, 1),
    "invalid": (422, 1),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_ends_with_its_exit_code(kubernaut: Kubernaut, server: Server, file: str, code: str) -> None:
    status, expected = REFUSALS[code]
    server.will_answer(*problem(status, code, detail="because of this"))
    ended = kubernaut("execute", file)
    assert ended.code == expected
    assert "because of this" in ended.err
    assert "Traceback" not in ended.err


def test_what_needs_an_approval_shows_the_card_and_the_hash(kubernaut: Kubernaut, server: Server, file: str) -> None:
    card = "Scale checkout to 3\n  undo: automatic"
    reasons = [{"code": "policy_ask", "message": "not managed", "pointer": "/steps/0"}]
    server.will_answer(*problem(409, "approval_required", detail="no", hash="abc", card=card, reasons=reasons))
    out = kubernaut("execute", file).out
    assert "undo: automatic" in out
    assert "[policy_ask] not managed" in out
    assert "--approve abc" in out


def test_faults_of_a_problem_document_are_listed(kubernaut: Kubernaut, server: Server, file: str) -> None:
    fault = {"pointer": "/plan/steps/0/action", "code": "unknown_action", "message": "no such", "remedy": "name one"}
    server.will_answer(*problem(422, "invalid", detail="1 fault", faults=[fault]))
    err = kubernaut("execute", file).err
    for expected in ("/plan/steps/0/action", "no such", "name one"):
        assert expected in err


def test_a_file_that_is_no_json_is_not_sent(kubernaut: Kubernaut, server: Server, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{,}")
    ended = kubernaut("execute", str(bad))
    assert (ended.code, server.asked) == (1, [])
    assert "plan file" in ended.err


def test_undo_asks_for_an_execution_of_its_own(kubernaut: Kubernaut, server: Server) -> None:
    server.will_answer(202, {**ACCEPTED, "execution_id": "ex-2"})
    server.will_answer(200, execution("completed", "succeeded"))
    ended = kubernaut("undo", "ex/1", "--wait")
    assert [asked[:2] for asked in server.asked] == [
        ("POST", f"{ROOT}/executions/ex%2F1/undo"),
        ("GET", f"{ROOT}/executions/ex-2"),
    ]
    assert ended.code == 0


def test_executions_are_listed_with_filters_pages_and_halts(kubernaut: Kubernaut, server: Server) -> None:
    row = {
        "id": "ex-1",
        "phase": "running",
        "target": {"kind": "Deployment", "namespace": "shop", "name": "checkout"},
        "created_at": "2026-01-01T00:00:00Z",
    }
    halts = [{"cluster": None, "reason": "database is down"}]
    server.will_answer(200, {"executions": [row], "next_cursor": "c2", "halts": halts})
    out = kubernaut("executions", "list", "--phase", "running", "--namespace", "shop", "--limit", "1").out
    assert server.asked[0][1] == f"{ROOT}/executions?phase=running&namespace=shop&limit=1"
    for expected in ("ex-1", "Deployment shop/checkout", "--cursor c2", "HALTED: all clusters: database is down"):
        assert expected in out


def test_an_execution_is_shown_with_its_changes(kubernaut: Kubernaut, server: Server) -> None:
    journal = [
        {
            "status": "applied",
            "kind": "Deployment",
            "namespace": "shop",
            "name": "checkout",
            "summary": "replicas 2 → 3",
        }
    ]
    found = execution(
        "failed",
        "failed",
        progress={"done": 1, "total": 1},
        journal=journal,
        verdict={"proof": "none", "reasons": ["step 'scale' failed"]},
    )
    server.will_answer(200, found)
    out = kubernaut("executions", "show", "ex-1").out
    for expected in ("1 of 1 steps", "replicas 2 → 3", "step 'scale' failed", "Scale checkout to 3"):
        assert expected in out
    server.will_answer(200, found)
    assert kubernaut("executions", "show", "ex-1", "--json").json == found


def test_an_execution_is_shown_with_who_when_how_often_and_where(kubernaut: Kubernaut, server: Server) -> None:
    found = execution(
        "completed",
        "succeeded",
        round=2,
        priority="P1",
        approved_by="anna",
        links={"self": "/x", "airflow": "http://airflow/dags/kn.scale.0/runs/ex-1"},
        verdict={"proof": "read", "reasons": [], "note": "two criteria"},
    )
    found["steps"][0] |= {"started_at": "2026-11-24T12:00:00Z", "seconds": 3.21, "tries": 2}
    server.will_answer(200, found)
    out = kubernaut("executions", "show", "ex-1").out
    for expected in (
        "round: 2",
        "priority: P1",
        "approved by: anna",
        "http://airflow/dags/kn.scale.0/runs/ex-1",
        "from 2026-11-24T12:00:00Z, 3.2 s, 2 tries",
        "proof: read from the cluster after the last change",
        "note: two criteria",
    ):
        assert expected in out


@pytest.mark.parametrize(
    ("journal", "proof"),
    [([], "proof: none, nothing was changed"), ([{"status": "applied"}], "proof: none, no condition was read")],
)
def test_without_proof_it_is_said_whether_anything_was_changed(
    kubernaut: Kubernaut, server: Server, journal: list[Any], proof: str
) -> None:
    server.will_answer(200, execution("failed", "failed", journal=journal, verdict={"proof": "none"}))
    assert proof in kubernaut("executions", "show", "ex-1").out


def test_what_a_monitoring_check_found_is_shown(kubernaut: Kubernaut, server: Server) -> None:
    found = execution("completed", "succeeded")
    found["steps"][0] |= {
        "action": "monitoring.check",
        "outputs": {"holds": True, "object": "Deployment shop/checkout"},
    }
    server.will_answer(200, found)
    assert "found: holds True, object Deployment shop/checkout" in kubernaut("executions", "show", "ex-1").out


def test_steps_are_called_by_the_ids_of_the_plan(kubernaut: Kubernaut, server: Server) -> None:
    found = execution("completed", "succeeded")
    found["steps"].append(
        {"key": "s02", "id": "b", "state": "skipped", "message": "waits for failure of s01; s01 is succeeded"}
    )
    server.will_answer(200, found)
    assert "waits for failure of scale; scale is succeeded" in kubernaut("executions", "show", "ex-1").out


def test_a_halt_during_a_halt_prints_the_one_in_force(kubernaut: Kubernaut, server: Server) -> None:
    server.will_answer(200, {"id": 1, "cluster": None, "reason": "the first", "actor": "anna", "created_at": "12:00"})
    out = kubernaut("halt", "--reason", "again").out
    assert "halted: all clusters (the first)" in out
    assert "since 12:00 by anna" in out
    assert "(again)" not in out


def test_halt_and_resume_name_cluster_and_reason(kubernaut: Kubernaut, server: Server) -> None:
    server.will_answer(201, {"id": 1, "cluster": "prod", "reason": "looks wrong"})
    server.will_answer(200, {"id": 1, "cluster": "prod", "reason": "looks wrong"})
    assert kubernaut("halt", "--cluster", "prod", "--reason", "looks wrong").code == 0
    assert kubernaut("resume", "--cluster", "prod").code == 0
    assert server.asked[0][:3] == ("POST", f"{ROOT}/halt", {"cluster": "prod", "reason": "looks wrong"})
    assert server.asked[1][:3] == ("DELETE", f"{ROOT}/halt", {"cluster": "prod"})


def test_a_halt_needs_a_reason(kubernaut: Kubernaut, server: Server) -> None:
    assert kubernaut("halt").code == 2
    assert server.asked == []


# --- credentials and servers that give no answer


def test_name_and_password_are_changed_for_a_token(
    kubernaut: Kubernaut, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNAUT_PASSWORD", "pass")
    server.will_answer(201, {"access_token": "fresh"})
    server.will_answer(200, {"executions": [], "next_cursor": None})
    assert kubernaut("executions", "list", "--user", "anna").out == "no executions\n"
    assert server.asked[0][:3] == ("POST", "/auth/token", {"username": "anna", "password": "pass"})
    assert server.asked[1][3]["Authorization"] == "Bearer fresh"


def test_without_credentials_the_command_says_which_are_missing(
    kubernaut: Kubernaut, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNAUT_TOKEN")
    ended = kubernaut("executions", "list")
    assert (ended.code, server.asked) == (2, [])
    assert "KUBERNAUT_TOKEN" in ended.err


def test_a_server_that_does_not_listen_is_exit_4(kubernaut: Kubernaut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNAUT_API_URL", "http://127.0.0.1:9")
    ended = kubernaut("executions", "list")
    assert ended.code == 4
    assert "KUBERNAUT_API_URL" in ended.err


@pytest.mark.parametrize("url", ["not a url", "ftp://x/", "http://[::1"])
def test_an_address_that_is_no_url_ends_without_a_traceback(
    kubernaut: Kubernaut, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("KUBERNAUT_API_URL", url)
    ended = kubernaut("executions", "list")
    assert ended.code in (2, 4)
    assert "unexpected" not in ended.err


ODD = {
    "Airflow's own error": (401, {"detail": "Invalid or expired token"}, 1, "Invalid or expired token"),
    "another's 404": (404, b"<html>not found</html>", 1, "is the Kubernaut plugin installed"),
    "an error without a body": (502, b"", 1, "502"),
    "a page instead of a document": (200, b"<html></html>", 4, "no document of Kubernaut"),
    "a list instead of a document": (200, [], 4, "no document of Kubernaut"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_explained_in_a_line(kubernaut: Kubernaut, server: Server, name: str) -> None:
    status, document, code, text = ODD[name]
    server.will_answer(status, document)
    ended = kubernaut("executions", "list")
    assert ended.code == code
    assert text in ended.err


def test_a_token_is_never_printed(kubernaut: Kubernaut, server: Server) -> None:
    server.will_answer(500, {"detail": "oops"})
    ended = kubernaut("executions", "list")
    assert "secret-token" not in ended.out + ended.err
