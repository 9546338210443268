"""What comes in for triggers is written down and becomes one run each, whatever crashes meanwhile.

What others are told of runs goes out from here, too.
"""
