"""A `match` that MongoDB would refuse is a mistake of the config, found without MongoDB."""

from __future__ import annotations

import pytest

from tests.unit.config.conftest import Load, Problems


@pytest.mark.parametrize(
    ("match", "problem"),
    [
        ("$foo: 1", "config.yml:4: databases.a.match.$foo: MongoDB has no operator $foo here"),
        (
            "fullDocument.total: {$grater: 5}",
            'databases.a.match["fullDocument.total"].$grater: MongoDB has no operator $grater here; did '
            'you mean "$gt"?',
        ),
        ("fullDocument.total: {$gteq: 5}", 'did you mean "$gte"?'),
        ("fullDocument.total: {$not: {$foo: 5}}", "$not.$foo: MongoDB has no operator $foo here"),
        (
            "$or: [{operationType: insert}, {a: {$foo: 1}}]",
            "databases.a.match.$or[1].a.$foo: MongoDB has no operator",
        ),
        ("fullDocument.x: {$elemMatch: {$foo: 1}}", "$elemMatch.$foo: MongoDB has no operator $foo here"),
        ("fullDocument.x: {$elemMatch: {y: {$foo: 1}}}", "$elemMatch.y.$foo: MongoDB has no operator $foo here"),
        ("fullDocument.x: {$all: [{$elemMatch: {y: {$foo: 1}}}]}", "$all[0].$elemMatch.y.$foo: MongoDB has no"),
        ("$gte: 5", "databases.a.match.$gte: $gte belongs to a field, as in {field: {$gte: …}}"),
        ("fullDocument.x: {$or: [{a: 1}]}", "$or: $or belongs outside of fields, as in $or: …"),
        ("fullDocument.x: {$gte: 1, y: 2}", "y is among operators, but is not one; write field paths with dots"),
        ("$where: 'true'", "MongoDB does not allow $where in a change stream"),
        ("fullDocument.x: {$near: [1, 2]}", "MongoDB does not allow $near in a change stream"),
        ("$and: []", "databases.a.match.$and: must be a list of queries"),
        ("$or: {a: 1}", "databases.a.match.$or: must be a list of queries"),
        ("fullDocument.x: {$in: 5}", "$in: must be a list"),
    ],
)
def test_an_operator_that_mongodb_does_not_know_has_its_line_and_a_hint(
    problems: Problems, match: str, problem: str
) -> None:
    found = problems(f"databases:\n  a:\n    match:\n      {match}\npipeline: [log]")
    assert len(found) == 1, found
    assert found[0].startswith("config.yml:4: ")
    assert problem in found[0]


@pytest.mark.parametrize(
    "match",
    [
        "operationType: {$in: [insert, update]}",
        "$and: [{fullDocument.a: {$gte: 1, $lt: 5}}, {$nor: [{fullDocument.b: {$exists: false}}]}]",
        "fullDocument.a: {$eq: {$foo: 1}}",
        "fullDocument.a: {b: 1, $gt: 2}",
        "fullDocument.a: {$date: '2026-01-01T00:00:00Z'}",
        "fullDocument.a: {$regex: x, $options: i}",
        "fullDocument.a: {$not: {$regex: x}}",
        "fullDocument.a: {$elemMatch: {$gte: 1, $lt: 5}}",
        "fullDocument.a: {$elemMatch: {$or: [{b: 1}, {c: {$mod: [2, 0]}}]}}",
        "fullDocument.a: {$all: [1, {$elemMatch: {b: 1}}]}",
        "fullDocument.a: {$bitsAllSet: 3, $type: int, $size: 2}",
        "fullDocument.at: {$geoWithin: {$box: [[0, 0], [1, 1]]}}",
        "$expr: {$anything: [$fullDocument.a, 1]}",
        "$jsonSchema: {required: [fullDocument]}",
        "$comment: mine",
        "fullDocument.a: {}",
        "ns.coll: {$ne: secrets}",
        "updateDescription.updatedFields.total: {$exists: true}",
    ],
)
def test_what_mongodb_takes_is_no_mistake(loads: Load, match: str) -> None:
    text = f"databases: {{a: {{operations: [insert]}}}}\nmatch:\n  {match}\npipeline: [log]"
    assert [str(warning) for warning in loads(text).warnings] == []


@pytest.mark.parametrize(
    ("match", "warning"),
    [
        (
            "total: {$gte: 5}",
            "config.yml:2: match.total: a change event has no such field, so nothing matches; did you mean "
            '"fullDocument.total"?',
        ),
        ("fulldocument.total: 5", 'did you mean "fullDocument.total"?'),
        ("$and: [{operationtype: insert}]", "match.$and[0].operationtype: a change event has no such field"),
    ],
)
def test_a_field_that_no_change_event_has_is_a_warning(loads: Load, match: str, warning: str) -> None:
    warnings = [str(one) for one in loads(f"databases: {{a: }}\nmatch: {{{match}}}\npipeline: [log]").warnings]
    assert len(warnings) == 1, warnings
    assert warning in warnings[0]
