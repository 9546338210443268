"""Numbers as JavaScript writes them. Pure."""

from __future__ import annotations

import math
from decimal import Decimal


def number_text(value: float) -> str:
    """Shortest digits, `8` without a point, exponents from 1e21 on and below 1e-6; whole numbers of Python in full.

    Example:
        >>> [number_text(value) for value in (8.0, 0.1 + 0.2, 1e21, 1e-7, -0.0, 12)]
        ['8', '0.30000000000000004', '1e+21', '1e-7', '0', '12']
    """
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    # Both languages print the fewest digits that read back as the same number; they differ in when they use exponents.
    number = Decimal(repr(value)).normalize()
    exponent = number.adjusted()
    if -7 < exponent < 21:
        return format(number, "f")
    return f"{format(number.scaleb(-exponent), 'f')}e{exponent:+d}"
