"""Input slots that the nodes with an endpoint in the graph have in common."""

from __future__ import annotations

from innkeeper.nodes.definition import Input

API_SETTINGS = Input(
    "OBJECT",
    display_name="API settings",
    description="As core:APISettings gives them.",
    required=True,
    match_categories=("LlmConfig",),
    secret_keys=("api_key",),
)
TEMPERATURE = Input(
    "FLOAT",
    display_name="Temperature",
    description="0 is sober, 2 is wild.",
    required=True,
    config={"default": 0.7, "min": 0, "max": 2, "step": 0.1},
)
MAX_TOKENS = Input(
    "INTEGER",
    display_name="Longest answer",
    description="In tokens.",
    required=True,
    config={"default": 512, "min": 1, "max": 16384},
)
IMAGE = Input(
    "STRING",
    display_name="Image",
    description="A data:image URI or an http(s) URL.",
    match_categories=("ImageData", "Url"),
)
