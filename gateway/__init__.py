"""Imported as `innkeeper.gateway` only: under a second name its classes would exist twice."""

if __name__ != "innkeeper.gateway":
    raise ImportError("write 'innkeeper.gateway' in place of 'gateway'")
