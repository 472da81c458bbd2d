"""Hand psycopg whole columns in PostgreSQL's binary form, written in a third of the time that its own lists take.

psycopg asks of each element of a list what it is; of a column that is known. The form is that of `array_send` in
PostgreSQL's arrayfuncs.c: dimensions, whether there are nulls, the type, length and lower bound, and then each element
behind its length; -1 stands for null.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import psycopg
from psycopg import postgres
from psycopg.adapt import Dumper
from psycopg.pq import Format

from worker.store.bulk import Numbers, Texts

_TEXT, _BIGINT = postgres.types["text"], postgres.types["int8"]
_HEADER: Final = struct.Struct(">iiIii")
_EMPTY: Final = struct.Struct(">iiI")
_LENGTH: Final = struct.Struct(">i")
_NUMBER: Final = struct.Struct(">iq")
_NUMBER_BYTES: Final = 8
_NULL: Final = _LENGTH.pack(-1)
_ASCII_MAX: Final = 127
"""The last byte that is a character by itself."""


class TextsDumper(Dumper):
    """Write a column of texts."""

    format = Format.BINARY
    oid = _TEXT.array_oid

    def dump(self, obj: Texts) -> bytes:
        """Write it."""
        return _array(_TEXT.oid, obj, _texts)


class NumbersDumper(Dumper):
    """Write a column of integers."""

    format = Format.BINARY
    oid = _BIGINT.array_oid

    def dump(self, obj: Numbers) -> bytes:
        """Write it."""
        return _array(_BIGINT.oid, obj, _numbers)


def _array(oid: int, column: Sequence[Any], elements: Callable[[Sequence[Any]], bytes]) -> bytes:
    """Write an array; what all rows say, as of the app, the platform and what is new, is written once."""
    header = _header(oid, len(column))
    if column and column[0] == column[-1] and column.count(column[0]) == len(column):
        return header + elements(column[:1]) * len(column)
    return header + elements(column)


def _texts(column: Sequence[str | None]) -> bytes:
    """Write the elements of a column; what our ids are, plain texts of one length, in one go."""
    if len(column) > 1 and None not in column:
        texts = cast("Sequence[str]", column)
        length = len(texts[0])
        if length == len(texts[-1]) <= _ASCII_MAX and len(set(map(len, texts))) == 1:
            # What stands before each is the same four bytes, and these are plain text too.
            before = _LENGTH.pack(length).decode()
            joined = before + before.join(texts)
            if joined.isascii():
                return joined.encode()
    pack = _LENGTH.pack
    return b"".join([_NULL if text is None else pack(len(one := text.encode())) + one for text in column])


def _numbers(column: Sequence[int | None]) -> bytes:
    return b"".join([_NULL if number is None else _NUMBER.pack(_NUMBER_BYTES, number) for number in column])


def _header(oid: int, length: int) -> bytes:
    # An array without elements has no dimensions.
    return _HEADER.pack(1, 1, oid, length, 1) if length else _EMPTY.pack(0, 0, oid)


def register(connection: "psycopg.Connection[Any]") -> None:
    """Have a connection write columns so."""
    connection.adapters.register_dumper(Texts, TextsDumper)
    connection.adapters.register_dumper(Numbers, NumbersDumper)
