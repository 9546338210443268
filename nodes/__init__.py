"""Imported as `innkeeper.nodes` only: under a second name its classes would exist twice."""

if __name__ != "innkeeper.nodes":
    raise ImportError(
        "write 'innkeeper.nodes' in place of 'nodes', or 'from innkeeper import NodeDefinition, Input, Output, ...'"
    )
