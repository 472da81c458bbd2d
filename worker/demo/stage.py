"""Run a whole installation for as long as a show lasts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from config.settings import Settings
from worker.demo.show import Show
from worker.demo.trust import demo_directory
from worker.family import Family
from worker.simulator.play import Played, PlayError
from worker.start import everything, migrate
from worker.supervise import Supervisor


def run_with_show(
    settings: Settings, config: Path, data_dir: Path, perform: Callable[[Show], list[Played]]
) -> list[Played]:
    """Start everything, perform once all of it is ready, and stop everything, whatever happens.

    Raises:
        PlayError: the service did not start, or did not answer.
    """
    migrate(settings)
    told: list[Played] = []
    failed: list[Exception] = []

    def on_ready(facts: Mapping[str, Mapping[str, Any]]) -> None:
        show = Show(settings, demo_directory(data_dir), url=facts["serve"]["url"], api_url=facts["serve"]["admin_url"])
        try:
            show.start()
            told.extend(perform(show))
            show.stop()
        except Exception as error:  # noqa: BLE001 - handed to the thread that called us, once everything is stopped
            failed.append(error)
        finally:
            supervisor.stop()

    family = Family(config, data_dir, log=data_dir / "clawback.log")
    supervisor = Supervisor(everything(settings, family, data_dir), on_ready)
    code = supervisor.run()
    if failed:
        raise failed[0]
    if code:
        raise PlayError(f"the service did not start: see {data_dir / 'clawback.log'}")
    return told
