"""Ids: base32 of a SHA-256, by whatever means."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mess.ids import hashed_id, hashed_ids


def expected(text: str) -> str:
    return "msg_" + base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_ids_are_what_the_standard_library_makes_of_each(texts: list[str]) -> None:
    assert hashed_ids(texts) == [expected(text) for text in texts]
    assert [hashed_id(text) for text in texts] == hashed_ids(texts)


@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 1500])
def test_as_many_as_are_asked_for(count: int) -> None:
    texts = [str(number) for number in range(count)]
    assert hashed_ids(texts) == [expected(text) for text in texts]
