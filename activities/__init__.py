"""Imported as `innkeeper.activities` only: under a second name its classes would exist twice."""

if __name__ != "innkeeper.activities":
    raise ImportError("write 'innkeeper.activities' in place of 'activities'")
