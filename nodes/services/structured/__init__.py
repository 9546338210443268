"""Answers of models as data that keeps to a JSON Schema of the user."""
