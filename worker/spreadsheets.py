"""Write rows as CSV, JSON Lines or Parquet: one after the other, so that memory holds a stretch of them and no more."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, Literal, Protocol

Kind = Literal["text", "integer", "boolean", "moment"]
Columns = Mapping[str, Kind]
"""Name → what it holds, in order. A moment is Unix milliseconds."""

# OWASP ASVS 5.0, 1.2.10, names = + - @, tab and NUL; https://owasp.org/www-community/attacks/CSV_Injection also line
# ends, and the wide forms, which spreadsheets of some languages take for the narrow ones.
FORMULA_BEGINS: Final = tuple("=+-@\t\r\n\0\uff1d\uff0b\uff0d\uff20")
"""How a cell begins that a spreadsheet would compute."""

INSTALL: Final = (
    "Parquet needs pyarrow, which is not installed: pip install 'clawback[parquet]', or choose another format"
)
ROWS_PER_GROUP: Final = 10_000


class ParquetMissing(Exception):
    """Parquet is written by pyarrow, which is an extra; the text says how to install it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to write: the document that it is in the API, as JSON, and its cells."""

    document: str
    cells: Mapping[str, Any]


class Writer(Protocol):
    """Whatever writes items."""

    def write(self, items: Sequence[Item]) -> None:
        """Write these after what was written before."""
        ...

    def close(self) -> None:
        """Write what is left. The sink stays open."""
        ...


class JsonLines:
    """A document per line, each as the API answers it."""

    def __init__(self, sink: BinaryIO, columns: Columns) -> None:  # noqa: ARG002 - as every writer
        self._sink = sink

    def write(self, items: Sequence[Item]) -> None:
        """Write a line for each."""
        self._sink.write("".join(f"{item.document}\n" for item in items).encode())

    def close(self) -> None:
        """Nothing is left."""


class Csv:
    """RFC 4180 in UTF-8, with a line of names. No cell of it is a formula to a spreadsheet."""

    def __init__(self, sink: BinaryIO, columns: Columns) -> None:
        self._sink, self._columns = sink, columns
        self._sink.write(self._lines([tuple(columns)]))

    def write(self, items: Sequence[Item]) -> None:
        """Write a line for each."""
        self._sink.write(self._lines([self._cells(item.cells) for item in items]))

    def close(self) -> None:
        """Nothing is left."""

    def _cells(self, cells: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(
            _AS_TEXT[kind](value) if (value := cells.get(n)) is not None else "" for n, kind in self._columns.items()
        )

    def _lines(self, lines: Sequence[tuple[str, ...]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(lines)
        return text.getvalue().encode()


class Parquet:
    """Typed columns, in groups of rows.

    Raises:
        ParquetMissing: pyarrow is not installed.
    """

    def __init__(self, sink: BinaryIO, columns: Columns) -> None:
        try:
            import pyarrow  # noqa: ICN001, PLC0415 - an optional extra, and large
            from pyarrow import parquet  # noqa: PLC0415 - as above
        except ImportError as error:
            raise ParquetMissing(INSTALL) from error
        types = {
            "text": pyarrow.string(),
            "integer": pyarrow.int64(),
            "boolean": pyarrow.bool_(),
            "moment": pyarrow.timestamp("ms", tz="UTC"),
        }
        self._schema = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
        self._table = pyarrow.Table
        self._writer = parquet.ParquetWriter(sink, self._schema, compression="zstd")
        self._waiting: list[Mapping[str, Any]] = []

    def write(self, items: Sequence[Item]) -> None:
        """Write a group once there are enough."""
        self._waiting.extend(item.cells for item in items)
        if len(self._waiting) >= ROWS_PER_GROUP:
            self._flush()

    def close(self) -> None:
        """Write the last group, and what makes it a file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(self._table.from_pylist(self._waiting, schema=self._schema))
            self._waiting = []


FORMATS: Final[Mapping[str, Callable[[BinaryIO, Columns], Writer]]] = {
    "csv": Csv,
    "jsonl": JsonLines,
    "parquet": Parquet,
}
"""Name → what writes it."""


def harmless(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would compute: it shows the text as it is."""
    return f"'{text}" if text.startswith(FORMULA_BEGINS) else text


def _moment(at_ms: int) -> str:
    text = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00").removesuffix(".000") + "Z"


_AS_TEXT: Final[Mapping[Kind, Callable[[Any], str]]] = {
    "text": lambda value: harmless(str(value)),
    "integer": str,
    "boolean": json.dumps,
    "moment": _moment,
}
