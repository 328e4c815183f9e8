"""A lock for the processes of one machine. Not for file systems that several machines share."""

import fcntl
import os
from pathlib import Path


class Lock:
    """A lock file that may be removed by who holds it alone."""

    def __init__(self, path: Path) -> None:
        self.path, self.descriptor = path, -1

    def take(self, how: int) -> bool:
        """Take the lock; False where somebody else holds it and `how` does not wait."""
        while True:
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(self.descriptor, how)
            except BlockingIOError:
                self.leave()
                return False
            if self._is_its_file():
                return True
            # It was removed while this process waited for it.
            self.leave()

    def _is_its_file(self) -> bool:
        try:
            return self.path.stat().st_ino == os.fstat(self.descriptor).st_ino
        except FileNotFoundError:
            return False

    def leave(self) -> None:
        """Give it back."""
        os.close(self.descriptor)
