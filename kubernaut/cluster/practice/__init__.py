"""The practice cluster: a simulated Kubernetes API for rehearsals, the demo and tests.

The public names of the core; the HTTP shell is `kubernaut.cluster.practice.server.PracticeServer` and is imported on
its own, since simulations need no web server. What is modelled, and what is not: docs/practice-cluster.md.
"""

from kubernaut.cluster.practice.clock import SimulatedClock, Timing
from kubernaut.cluster.practice.cluster import PracticeCluster, run_for
from kubernaut.cluster.practice.errors import ApiError
from kubernaut.cluster.practice.faults import Effect, Fault, FaultMatch

__all__ = ["ApiError", "Effect", "Fault", "FaultMatch", "PracticeCluster", "SimulatedClock", "Timing", "run_for"]
