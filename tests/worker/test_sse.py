"""Server-sent events, written and read: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import pytest

from worker.sse import LINE_CHARACTERS_MAX, Message, Reader, StreamBroken, beat, message


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_what_is_written_is_read(size: int) -> None:
    """However the bytes are cut, each message is read once, with its id, its type and its text."""
    said = beat(retry_ms=2_000) + message(id_="a", event="refund.failed", data='{"n": "ż"}') + beat(id_="b")
    said += message(id_="c", event="refund.pending", data="{}")
    reader = Reader()

    heard = [one for at in range(0, len(said), size) for one in reader.feed(said[at : at + size])]

    assert [Message("a", "refund.failed", '{"n": "ż"}'), Message("c", "refund.pending", "{}")] == heard
    assert ("c", 2_000) == (reader.last_id, reader.retry_ms)


def test_what_others_may_write() -> None:
    """Line ends of either kind, several lines of data, fields that nobody knows, and a wait that is no number."""
    reader = Reader()
    said = b":hello\r\nid:7\r\ndata:one\r\ndata: two\r\nnew: field\r\nretry: soon\r\n\r\nid: x\0y\n\nevent: none\n\n"

    assert [Message("7", "", "one\ntwo")] == list(reader.feed(said))
    assert ("7", None) == (reader.last_id, reader.retry_ms)


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    """Whoever sends anything but a stream cannot fill our memory with it."""
    reader = Reader()
    list(reader.feed(b"x" * LINE_CHARACTERS_MAX))

    with pytest.raises(StreamBroken):
        list(reader.feed(b"x"))


def test_a_wait_that_nobody_could_count_is_none() -> None:
    """A `retry` of thousands of digits is passed over: Python refuses to read it, which once ended a listener."""
    reader = Reader()

    assert [] == list(reader.feed(b"retry: 2000\nretry: " + b"9" * 5000 + b"\n"))
    assert 2000 == reader.retry_ms
