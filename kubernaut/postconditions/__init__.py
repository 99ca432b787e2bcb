"""Reading whether a condition holds: named checks, CEL over objects, and what cannot be read yet.

`registry` names the checks and says in words what each means; `workload` judges plain objects (pure); `evaluate` reads
the cluster and answers. Waiting, stability and timeouts belong to the sensors, not here.
"""

from kubernaut.postconditions.evaluate import (
    Evaluator,
    Reader,
    WatchTarget,
    evaluate,
    readable,
    watch_target,
)
from kubernaut.postconditions.registry import NamedCheck, find, named_checks
from kubernaut.postconditions.result import CheckResult
from kubernaut.postconditions.workload import WorkloadFacts, describe_problem

__all__ = [
    "CheckResult",
    "Evaluator",
    "NamedCheck",
    "Reader",
    "WatchTarget",
    "WorkloadFacts",
    "describe_problem",
    "evaluate",
    "find",
    "named_checks",
    "readable",
    "watch_target",
]
