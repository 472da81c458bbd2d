"""`clawback export`."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from worker.cli.choosing import refuse_empty_span, selection_options, time_options
from worker.cli.common import Failure, installation_options, json_option, print_json
from worker.cli.opened import opened
from worker.cli.progress import long_work

if TYPE_CHECKING:
    from worker.runtime import Runtime
    from worker.store.exports import Span

FORMATS = ("csv", "jsonl", "parquet")
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


@click.command("export")
@click.argument("what", metavar="refunds|events", type=click.Choice(("refunds", "events")), required=False)
@click.option("--format", "format_", type=click.Choice(FORMATS), help="[default: by the name of the file, else csv]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default=Path("-"),
    metavar="FILE",
    help="The file, which is there once it is complete. [default: -, standard output]",
)
@selection_options
@time_options("What was made or told")
@installation_options
@json_option
def command(
    what: str | None, config: Path | None, data_dir: Path, *, output: Path, as_json: bool, **options: Any
) -> int:
    """Export refunds or events as CSV, JSON Lines or Parquet, oldest first.

    JSON Lines has each as the API answers it. CSV and Parquet are tables: amounts are integers in minor units, times
    ISO 8601 and UTC. In CSV an apostrophe stands before text that a spreadsheet would compute.
    """
    if what is None:
        raise click.UsageError("name what to export: refunds or events")
    format_ = options["format_"] or SUFFIXES.get(output.suffix.lower(), "csv")
    _refuse(output, format_, as_json=as_json)
    refuse_empty_span(options["since_ms"], options["until_ms"])
    from worker.store.exports import Span

    span = Span(**{name: options[name] for name in ("app", "platform", "environment", "since_ms", "until_ms")})
    try:
        with opened(config, data_dir) as runtime, _sink(output) as sink:
            written = _write(runtime, what, format_, span, sink)
    except BrokenPipeError:
        # Whoever read this has seen enough; nothing more can be said there, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if as_json:
        print_json({"exported": what, "format": format_, "rows": written, "output": str(output)})
    elif str(output) != "-":
        click.echo(f"{written} {what} in {output}.")
    return 0


def _refuse(output: Path, format_: str, *, as_json: bool) -> None:
    if str(output) != "-":
        if not output.absolute().parent.is_dir():
            raise Failure(f"{output.absolute().parent} is no directory: make it first")
        return
    if format_ == "parquet":
        raise click.UsageError("Parquet ends with what stands where in it: name a file with --output")
    if as_json:
        raise click.UsageError("--json says what was written: name a file with --output (--format jsonl for JSON rows)")


def _write(runtime: "Runtime", what: str, format_: str, span: "Span", sink: BinaryIO) -> int:
    from worker import export
    from worker.deeds import of_the_command_line
    from worker.spreadsheets import FORMATS as WRITERS
    from worker.spreadsheets import ParquetMissing

    read, columns = {
        "refunds": (export.refunds, export.REFUND_COLUMNS),
        "events": (export.events, export.EVENT_COLUMNS),
    }[what]
    try:
        writer = WRITERS[format_](sink, columns)
    except ParquetMissing as error:
        raise Failure(str(error)) from error
    written = 0
    deed = of_the_command_line("store.export", runtime.clock)
    runtime.store.change(lambda connection: deed.note(connection, what=what))
    with long_work("Exporting", export.count(runtime.store, what, span)) as advance:
        for done, items in read(runtime.store, span):
            writer.write(items)
            written += len(items)
            advance(done)
    writer.close()
    sink.flush()
    return written


@contextmanager
def _sink(output: Path) -> Iterator[BinaryIO]:
    """Open what is written to: a file takes its name once it is complete and on disk, and is left out otherwise."""
    if str(output) == "-":
        yield sys.stdout.buffer
        return
    try:
        descriptor, name = tempfile.mkstemp(dir=output.absolute().parent, prefix=f".{output.name}.")
    except OSError as error:
        raise Failure(f"{output} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(output)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise Failure(f"{output} cannot be written: {error.strerror}") from error
    finally:
        Path(name).unlink(missing_ok=True)
