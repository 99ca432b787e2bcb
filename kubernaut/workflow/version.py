"""The version of the DAG factory. It is part of every workflow's hash, and so of its DAG's id.

Whatever changes what `kubernaut_operators.factory` builds from a workflow raises it: a run without a bundle version
follows the latest version of its DAG, and a changed factory must never rewrite runs in flight.
"""

FACTORY_VERSION = 1
