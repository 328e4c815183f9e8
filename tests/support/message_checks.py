"""What people read, apart from what is decided: see `wording/reworded.py`."""

import sys


def are_messages_changed() -> bool:
    """Whether this process imports hala_hpc with every message changed."""
    return "reworded" in sys.modules


def assert_message(found: object, *expected: str) -> None:
    """Assert that a message holds some texts; where every message is changed, that there is one."""
    assert str(found).strip()
    if not are_messages_changed():
        for text in expected:
            assert text in str(found), found
