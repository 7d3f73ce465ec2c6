"""Test that exceptions have one base class, can be pickled, and match the tree in the docstring."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from silkcodec import errors
from silkcodec.errors import ContainerError, MissingExtraError, SilkError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]


def test_every_error_derives_from_silk_error() -> None:
    assert all(issubclass(c, SilkError) for c in CLASSES)


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__)
    assert sorted(drawn) == sorted(c.__name__ for c in CLASSES if c is not SilkError)


def test_container_error_carries_its_offset() -> None:
    assert ContainerError("damaged at byte 12.", 12).offset == 12
    assert ContainerError("no such file.").offset is None


def test_missing_extra_names_the_pip_command() -> None:
    error = MissingExtraError("The PESQ metric", "pesq", "eval")
    assert "pip install 'silkcodec[eval]'" in str(error)


@pytest.mark.parametrize(
    "error",
    [
        ContainerError("damaged at byte 12.", 12),
        MissingExtraError("The PESQ metric", "pesq", "eval"),
        SilkError("no."),
    ],
)
def test_errors_can_be_pickled(error: SilkError) -> None:
    back = pickle.loads(pickle.dumps(error))  # as in a process pool
    assert type(back) is type(error) and str(back) == str(error) and back.__dict__ == error.__dict__
