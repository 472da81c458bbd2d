"""docs/events is what the code says, and nothing in it is ever taken back within its version."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from handlers.samples import sample
from schemas.events import EVENT_TYPES
from schemas.published import VERSION, payload_of, schema_of
from tests.house.tree import ROOT
from tests.wire.publishing import FOLDER, STEP, breaches, pages, publish

pytestmark = pytest.mark.unit


@cache
def _validator(event_type: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(schema_of(event_type), validate_formats=True)


def test_no_promise_is_broken() -> None:
    """Everything that the published schemas of this version promise, the code of today keeps."""
    assert [] == breaches(FOLDER, pages()), STEP


def test_the_published_schemas_are_those_of_the_code() -> None:
    """`make events` was run: the folder holds a page for each type, and each as it is today."""
    published = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}

    assert pages() == published, "Run make events."


def test_every_version_that_was_published_is_still_there() -> None:
    """The folders of docs/events are one per version, from the first to today's."""
    folders = {path.name for path in FOLDER.parent.iterdir() if path.is_dir()}

    assert {f"v{number}" for number in range(1, VERSION + 1)} == folders


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_schema_is_one_and_its_example_fits(event_type: str) -> None:
    """An independent validator takes each schema for JSON Schema 2020-12, and its example for what it describes."""
    page: dict[str, Any] = json.loads((FOLDER / f"{event_type}.json").read_text("utf-8"))

    jsonschema_rs.meta.validate(page)
    validator = jsonschema_rs.validator_for(page, validate_formats=True)
    (example,) = page["examples"]
    validator.validate(example)
    assert sample(event_type).model_dump(mode="json") == example


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_schema_tells_its_type_from_every_other(event_type: str) -> None:
    """An event is described by the schema of its own type, and by no other."""
    example = sample(event_type).model_dump(mode="json")
    fitting = [each for each in EVENT_TYPES if _validator(each).is_valid(example)]
    renamed = [each for each in EVENT_TYPES if _validator(each).is_valid({**example, "type": each})]

    assert [event_type] == fitting
    assert event_type in renamed
    assert all(EVENT_TYPES[each].shape is EVENT_TYPES[event_type].shape for each in renamed)


def test_resources_may_be_kept_elsewhere() -> None:
    """A document of many types refers to shared resources in a place of its own."""
    payload, shared = payload_of("refund.failed", ref="#/components/schemas/{model}")

    assert {"$ref": "#/components/schemas/Purchase"} == payload["properties"]["data"]["properties"]["purchase"]
    assert {"Access", "Cause", "Customer", "Purchase", "Refund"} == set(shared)


def _doctored(**changes: Any) -> dict[str, str]:
    """Make every page, one of them with a field of refunds that is other than it was."""
    made = pages()
    page = json.loads(made["refund.failed.json"])
    for name, schema in changes.items():
        page["$defs"]["Refund"]["properties"].pop(name)
        page["$defs"]["Refund"]["properties"] |= {name: schema} if schema else {}
    return made | {"refund.failed.json": json.dumps(page)}


def test_publishing_refuses_to_take_back(tmp_path: Path) -> None:
    """`make events` writes nothing if a field went, a field became another, or a type is no more, and says which."""
    publish(tmp_path / "v1", pages())
    without_type = {name: text for name, text in pages().items() if name != "balance.restored.json"}

    for made, breach in (
        (_doctored(amount=None), "refund.failed: data.refund.amount: is gone"),
        (_doctored(amount={"type": "string"}), "refund.failed: data.refund.amount: may be string now"),
        (without_type, "balance.restored is gone"),
    ):
        with pytest.raises(SystemExit, match=breach):
            publish(tmp_path / "v1", made)
        assert pages() == {path.name: path.read_text("utf-8") for path in (tmp_path / "v1").iterdir()}


def test_publishing_adds(tmp_path: Path) -> None:
    """A field more is published, and the next version begins in a folder of its own, where all may be other."""
    publish(tmp_path / "v1", pages())
    more = _doctored(offline={"type": "boolean", "description": "By bank transfer"})
    publish(tmp_path / "v1", more)
    publish(tmp_path / "v2", _doctored(amount=None))

    assert more == {path.name: path.read_text("utf-8") for path in (tmp_path / "v1").iterdir()}


def test_the_page_of_all_types_lists_each() -> None:
    """docs/events/README.md has a row for each type that leads to its schema and says when it is sent."""
    page = (ROOT / "docs" / "events" / "README.md").read_text("utf-8")
    rows = [f"| [`{name}`](v{VERSION}/{name}.json) | {kind.says.rstrip('.')} |" for name, kind in EVENT_TYPES.items()]

    assert rows == [line for line in page.splitlines() if line.startswith("| [`")]
