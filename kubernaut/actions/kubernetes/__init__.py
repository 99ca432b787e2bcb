"""Actions on Kubernetes objects: each reads, and says which fields are to be set. The step runner sends them."""
