"""Text nodes, and the rules for text that other nodes share."""
