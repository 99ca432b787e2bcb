"""`make demo`: a Deployment that crash-loops after a bad rollout, an alert, a stored AI answer, and the repair.

It exists so that a newcomer sees the whole way of a signal on a machine with nothing but Python and make, and so that a
test can say that it works. Not part of the wheel. `story` is what is sent, `watch` the live steps, `workload` what the
demo itself reads from the cluster, `summary` the end, `run` the order of it all.
"""
