"""Assert message texts, unless all messages are reworded: see `wording/reworded.py`."""

import sys


def are_messages_changed() -> bool:
    """Whether this process imports hala_hpc with every message reworded."""
    return "reworded" in sys.modules


def assert_message(found: object, *expected: str) -> None:
    """Assert that a message contains texts; if all messages are reworded, that it is not empty."""
    assert str(found).strip()
    if not are_messages_changed():
        for text in expected:
            assert text in str(found), found
