"""From preset, card, history and world info to the list of messages that a model gets (reference presets 3 to 6)."""
