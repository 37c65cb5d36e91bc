"""c41: a task whose credentials end several times while it copies succeeds at its first try."""

from __future__ import annotations

import json
import random
import secrets
from contextlib import ExitStack
from pathlib import Path

from airflow_provider_s3resume.plan.parts import MIB
from tests.support.sts_server import (
    TOKEN_HEADER,
    RoleSeaweedServer,
    StsServer,
    expiry_rules,
)
from tests.support.wire import Wire
from tests.support.wire_rules import Match, Rule, Throttle
from tests.support.wired_stage import WiredStage

DAG_ID = "s3_copy_objects"
SEAWEED = {"list_order": "unordered", "key_folding": True, "addressing_style": "path"}
LASTS_S = 5.0
KEY, SIZE = "big", 40 * MIB


def test_c41_a_task_outlives_its_credentials(stage: WiredStage, tmp_path: Path) -> None:
    """The target's end when they say so, the source's long before; both roles are assumed again.

    What was given out is in no log (c42).
    """
    data = random.Random(3).randbytes(SIZE)
    with ExitStack() as stack:
        tokens: dict[str, StsServer] = {}
        wires: dict[str, Wire] = {}
        for name, said_s in (("source", 3600.0), ("target", None)):
            server = stack.enter_context(
                RoleSeaweedServer(tmp_path / name, f"{name}-key", secrets.token_hex(12))
            )
            server.client().create_bucket(Bucket=name)
            if name == "source":
                server.client().put_object(Bucket=name, Key=KEY, Body=data)
            else:
                target = server.client()
            sts = stack.enter_context(StsServer(server, lasts_s=LASTS_S, said_s=said_s))
            wire = stack.enter_context(
                Wire(
                    server.endpoint_url,
                    *expiry_rules(sts.is_expired),
                    Rule(when=Match(operation="UploadPart"), action=Throttle(MIB)),
                )
            )
            connection = sts.connection(server.endpoint, wire.url, s3resume=SEAWEED)
            _connect(stage, f"role_{name}", connection)
            tokens[name], wires[name] = sts, wire
        conf = {
            "keys": [KEY],
            "source_conn_id": "role_source",
            "source_uri": "s3://source/",
            "target_conn_id": "role_target",
            "target_uri": "s3://target/",
            "state_uri": "s3://target/.s3resume/",
            "part_size_mib": 5,
            "memory_budget_mib": 16,
        }
        stage.airflow.wait_for_dag(DAG_ID)
        run_id = stage.airflow.api.trigger(DAG_ID, conf)
        assert stage.airflow.api.wait_run(DAG_ID, run_id, 240) == "success", stage.logs(
            run_id, DAG_ID
        )
        assert target.get_object(Bucket="target", Key=KEY)["Body"].read() == data
        task = stage.airflow.api.task_instance(DAG_ID, run_id, "copy", map_index=0)
        assert task["try_number"] == 1
        assert len(_tokens_of(wires["source"], "GetObject")) >= 3
        assert len(_tokens_of(wires["target"], "UploadPart")) >= 3
        log = stage.airflow.api.task_log(DAG_ID, run_id, "copy", map_index=0)
        assert "goes on with new credentials" in log
        given = [secret for sts in tokens.values() for secret in sts.secrets]
        assert [secret for secret in given if secret in log] == []


def _tokens_of(wire: Wire, operation: str) -> set[str]:
    answered = [e for e in wire.seen(Match(operation=operation)) if e.status in {200, 206}]
    return {e.headers[TOKEN_HEADER] for e in answered}


def _connect(stage: WiredStage, conn_id: str, connection: str) -> None:
    """Make a connection as a user does."""
    known = json.loads(connection)
    known["extra"] = json.dumps(known["extra"])
    stage.airflow.api.call("POST", "connections", {"connection_id": conn_id, **known})
