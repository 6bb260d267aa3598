"""What `--drop` leaves out of an event."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from mess.cases.drop import Drops, fields_of

CHANGE: dict[str, Any] = {
    "operationType": "update",
    "ns": {"db": "shop", "coll": "people"},
    "documentKey": {"_id": 1, "card.number": 7},
    "fullDocument": {
        "_id": 1,
        "card": {"number": 7, "name": "Ada"},
        "cards": [{"number": 7, "name": "A"}, [{"number": 8}], 3],
        "number": 9,
    },
    "fullDocumentBeforeChange": {"card": {"number": 6}, "cards": []},
    "updateDescription": {
        "updatedFields": {"card.number": 7, "cards.0.number": 7, "cards.1": [{"number": 8, "name": "B"}], "number": 9},
        "removedFields": ["card.number.old", "other"],
        "truncatedArrays": [{"field": "cards", "newSize": 3}],
        "disambiguatedPaths": {"cards.0.number": ["cards", 0, "number"]},
    },
    "wallTime": "now",
}


def dropped(*paths: str) -> dict[str, Any]:
    before = deepcopy(CHANGE)
    found = Drops(paths).apply(CHANGE)
    assert before == CHANGE
    return found


def test_a_field_of_the_document_is_in_no_part_of_the_event() -> None:
    found = dropped("fullDocument.card.number")
    assert found["documentKey"] == {"_id": 1}
    assert found["fullDocument"]["card"] == {"name": "Ada"}
    assert found["fullDocumentBeforeChange"]["card"] == {}
    assert "card.number" not in found["updateDescription"]["updatedFields"]
    assert found["updateDescription"]["removedFields"] == ["other"]
    assert found["fullDocument"]["number"] == found["updateDescription"]["updatedFields"]["number"] == 9


def test_a_path_leads_through_arrays() -> None:
    found = dropped("fullDocument.cards.number")
    assert found["fullDocument"]["cards"] == [{"name": "A"}, [{}], 3]
    update = found["updateDescription"]
    assert update["updatedFields"] == {"card.number": 7, "cards.1": [{"name": "B"}], "number": 9}
    assert update["disambiguatedPaths"] == {}
    assert update["truncatedArrays"] == CHANGE["updateDescription"]["truncatedArrays"]


def test_a_whole_array_or_document() -> None:
    assert "cards" not in str(dropped("fullDocument.cards"))
    found = dropped("fullDocumentBeforeChange", "wallTime", "updateDescription.updatedFields")
    assert found.keys() == CHANGE.keys() - {"fullDocumentBeforeChange", "wallTime"}
    assert "updatedFields" not in found["updateDescription"]


def test_paths_that_were_in_no_event_are_known() -> None:
    drops = Drops(["fullDocument.card.numbr", "fullDocument.card.number"])
    drops.apply(CHANGE)
    assert drops.unused == {"fullDocument.card.numbr"}


def test_the_fields_of_documents_are_named_as_they_are_dropped() -> None:
    fields = set(fields_of(CHANGE))
    names = ("_id", "card.number", "card.name", "cards", "cards.name", "cards.number", "number")
    assert fields == {f"fullDocument.{name}" for name in names}
    assert not set(fields_of(Drops(fields).apply(CHANGE)))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "is not a path"),
        ("fullDocument..x", "is not a path"),
        ("email", 'has no field "email"; a field of the document is fullDocument.email'),
        ("fulldocument.email", 'did you mean "fullDocument"'),
        ("fullDocument.mails.0.to", "leave an index out"),
        ("ns.db", "cannot be left out"),
        ("operationType", "cannot be left out"),
    ],
)
def test_what_cannot_be_dropped(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Drops([path])
