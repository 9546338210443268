"""Imported as `innkeeper.workflows` only: under a second name its classes would exist twice."""

if __name__ != "innkeeper.workflows":
    raise ImportError("write 'innkeeper.workflows' in place of 'workflows'")
