"""What docs/events holds: a schema with an example per type of event, which may gain and never lose."""

import json
from functools import cache
from pathlib import Path

from handlers.samples import sample
from schemas.events import EVENT_TYPES
from schemas.published import VERSION, Json, schema_of
from tests.house.tree import ROOT
from tests.wire.promises import broken

FOLDER = ROOT / "docs" / "events" / f"v{VERSION}"
STEP = f"That takes a version step: keep docs/events/v{VERSION}, and raise VERSION in schemas/published.py."


def pages() -> dict[str, str]:
    """Write every page, by file name."""
    return {f"{event_type}.json": _page(event_type) for event_type in EVENT_TYPES}


def breaches(folder: Path, made: dict[str, str]) -> list[str]:
    """Say which promises of the pages in a folder the new ones break."""
    found = []
    for published in sorted(folder.glob("*.json")):
        if published.name not in made:
            found.append(f"{published.stem} is gone")
        else:
            before, after = json.loads(published.read_text("utf-8")), json.loads(made[published.name])
            found += [f"{published.stem}: {breach}" for breach in broken(before, after)]
    return found


def publish(folder: Path, made: dict[str, str]) -> None:
    """Put pages into a folder, unless one would take back what was promised."""
    if found := breaches(folder, made):
        raise SystemExit("\n".join([*found, STEP]))
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (folder / name).write_text(text, "utf-8")


@cache
def _page(event_type: str) -> str:
    example: Json = sample(event_type).model_dump(mode="json")
    page = {**schema_of(event_type), "examples": [example]}
    return json.dumps(page, indent=2, ensure_ascii=False) + "\n"
