"""The local stack that demo, tests and benchmarks share: PostgreSQL and a real Airflow on free loopback ports.

It exists so that nothing else in the repository starts, waits for or stops a process: the demo, `make test` and `make
bench` all say ``with Stack(home): …``. It is not part of the wheel and no product code imports it.

Words: a *part* is one process with its own log file (`postgres`, `api-server`, `scheduler`, `dag-processor`,
`triggerer`); each runs under a *guard* (`guard.py`) that ends it, and all that it started, however its owner ends.
"""

from devstack.processes import StartFailed
from devstack.stack import Stack

__all__ = ["Stack", "StartFailed"]
