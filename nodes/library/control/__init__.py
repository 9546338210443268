"""Branches, repetitions and waits: nodes that the interpreter itself runs, durably."""
