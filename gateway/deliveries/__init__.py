"""What comes in for triggers is written down and becomes one run each, whatever crashes meanwhile."""
