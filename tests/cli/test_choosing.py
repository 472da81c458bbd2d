"""Words for moments."""

from datetime import UTC, datetime

import click
import pytest

from worker.cli.choosing import Moment


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("20261122", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-22T18:30", datetime(2026, 11, 22, 18, 30, tzinfo=UTC)),
        ("2026-11-22T18:30:00+01:00", datetime(2026, 11, 22, 17, 30, tzinfo=UTC)),
        (" 2026-11-22 18:30 ", datetime(2026, 11, 22, 18, 30, tzinfo=UTC)),
        ("1770000000", datetime.fromtimestamp(1_770_000_000, UTC)),
    ],
)
def test_a_moment_is_read_however_it_is_written(said: str, meant: datetime):
    """A date, a time with or without a zone, and Unix seconds name the same moments to everybody."""
    assert int(meant.timestamp() * 1000) == Moment().convert(said, None, None)


@pytest.mark.parametrize(("said", "seconds"), [("90m", 5400), ("24h", 86_400), ("7d ago", 604_800), ("2w", 1_209_600)])
def test_so_long_ago_is_a_moment(said: str, seconds: int):
    """A number of minutes, hours, days or weeks is counted back from now."""
    now = datetime.now(UTC).timestamp()
    assert abs(now - seconds - Moment().convert(said, None, None) / 1000) < 5


@pytest.mark.parametrize("said", ["", "soon", "99999999999999999999", "2026-13-01", "1h30m", "9999999d", "10:30"])
def test_what_is_no_moment_is_refused(said: str):
    """Anything else is refused in words, and never breaks."""
    with pytest.raises(click.BadParameter, match="is no moment: 2026-11-22"):
        Moment().convert(said, None, None)
