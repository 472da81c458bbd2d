"""Real processes that are started before their work is prepared: they wait for a word, and leave nothing behind."""

import os
import signal

import pytest

from tests.cli.processes import ROOT
from worker.launch import Verb

pytestmark = pytest.mark.crash

WAIT_SECONDS_MAX = 60.0


@pytest.fixture(name="verb")
def _verb(tmp_path) -> Verb:
    environment = {"PYTHONPATH": str(ROOT), "CLAWBACK_WORK__THREADS": "nonsense"}
    log, arguments = tmp_path / "log", ("serve", "--data-dir", str(tmp_path / "data"))
    return Verb("serve", arguments, stage=2, environment=environment, log=log)


def said(verb: Verb) -> str:
    """Read what it wrote."""
    assert verb.log
    return verb.log.read_text("utf-8")


def test_a_verb_that_waits_does_nothing_before_its_word(verb: Verb):
    """Who is started ahead reads no configuration until its supervisor starts it, and is who goes on then."""
    verb.start_ahead()
    [waiting] = verb._waiting
    assert waiting.process.poll() is None
    assert "" == said(verb)

    started = verb.start()

    assert waiting is started
    assert 2 == started.process.wait(WAIT_SECONDS_MAX)
    assert "CLAWBACK_WORK__THREADS" in said(verb)
    started.line.close()


def test_a_verb_whose_supervisor_is_gone_ends_without_a_word(verb: Verb):
    """Who waits for a supervisor that died, or gave up, ends and says nothing: the supervisor said why."""
    verb.start_ahead()
    [waiting] = verb._waiting

    waiting.line.close()

    assert 1 == waiting.process.wait(WAIT_SECONDS_MAX)
    assert "" == said(verb)


def test_a_verb_that_is_given_up_is_gone(verb: Verb):
    """Who is not needed after all is killed, with what is in its session."""
    verb.start_ahead()
    [waiting] = verb._waiting

    verb.give_up()

    assert -signal.SIGKILL == waiting.process.returncode
    assert [] == verb._waiting


def test_a_verb_that_died_waiting_is_started_anew(verb: Verb):
    """Who died before its word is no loss: another is started, which tells its own reason."""
    verb.start_ahead()
    [waiting] = verb._waiting
    os.kill(waiting.process.pid, signal.SIGKILL)
    waiting.process.wait()

    started = verb.start()

    assert waiting is not started
    assert 2 == started.process.wait(WAIT_SECONDS_MAX)
    started.line.close()
