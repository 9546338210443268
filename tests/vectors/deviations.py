"""Where we deliberately do not do what was recorded: one line each, with the reason."""

SOFT_ERRORS_ARE_HARD = {
    "openai_bad_history": "an unreadable history fails the node instead of answering with an error sentence",
    "openai_bad_history_stream": "the same, while streaming",
    "openai_http_500_retries": "a provider's 500 fails the node after its attempts, instead of an error sentence",
    "openai_image_bad": "an unreadable image fails the node",
    "openai_no_prompt": "a request without prompt, image or history fails the node",
    "openai_no_prompt_stream": "the same, while streaming",
}
"""File to reason; the nodes of the file that answered with an error text must fail."""

SLOWED = {
    "interrupt_during_stream": 10,  # a stream of 0.2 s is over before an interruption could arrive
}
"""File to the factor that stretches the pauses of its streams: an interruption stops a node within 1.5 s."""
