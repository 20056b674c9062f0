"""Single values of a record in the one form that comes back from Parquet, so that equal records have equal hashes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from datetime import UTC, datetime
from numbers import Real
from typing import Any

_INT64 = range(-(2**63), 2**63)


class RecordError(ValueError):
    """A record that breaks the schema; the message names the field, its value and the remedy."""


def settle(
    record: Any, *, shares: Sequence[str] = (), moments: Sequence[str] = (), integers: Sequence[str] = ()
) -> None:
    """Bring fields of a frozen record into the form that Arrow gives back; null stays null.

    `shares` become floats in [0, 1] (a bool 0.0 or 1.0), `moments` datetimes in UTC, `integers` ints of 64 bits. Raises
    `RecordError` for a value that has no such form.
    """
    for names, form in ((shares, _share), (moments, _moment), (integers, _integer)):
        for name in names:
            value = getattr(record, name)
            if value is not None:
                object.__setattr__(record, name, form(f"{type(record).__name__}.{name}", value))


def _share(name: str, value: Any) -> float:
    if not isinstance(value, Real):
        raise RecordError(f"{name} {value!r} is a {type(value).__name__}; give a number in [0, 1]")
    share = float(value)
    if not 0.0 <= share <= 1.0:  # NaN too
        raise RecordError(f"{name} {value!r} is outside [0, 1]; use null where unknown")
    return share + 0.0  # -0.0 equals 0.0 but is written otherwise


def _moment(name: str, value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise RecordError(f"{name} {value!r} is a {type(value).__name__}; give a datetime with its time zone")
    if value.utcoffset() is None:
        raise RecordError(f"{name} {value!r} has no time zone; give one, such as tzinfo=datetime.UTC")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise RecordError(f"{name} {value!r} lies outside the years 1 to 9999 in UTC; give another moment") from error


def _integer(name: str, value: Any) -> int:
    try:
        number = int(operator.index(value))
    except TypeError as error:
        raise RecordError(f"{name} {value!r} is a {type(value).__name__}; give a whole number") from error
    if number not in _INT64:
        raise RecordError(f"{name} {value!r} does not fit in 64 bits; give a number in [-2**63, 2**63)")
    return number
