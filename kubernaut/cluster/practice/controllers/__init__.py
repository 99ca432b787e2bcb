"""The practice cluster's controllers: each watches some kinds and brings one object at a time to where it should be."""
