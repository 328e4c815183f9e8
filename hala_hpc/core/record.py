"""Base class of all records: one reader and one writer, and one error for damaged files."""

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from hala_hpc.core.damage import Damaged, read_content
from hala_hpc.core.errors import UserError
from hala_hpc.core.files import claim_text, write_text

#: Characters of a value that an error message shows.
MAX_VALUE_CHARACTERS = 60


class JsonRecord(BaseModel):
    """A frozen value that is stored in a work folder as a JSON object.

    Keys that a later version adds are ignored, so that two versions can share a folder.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        # A command builds only the schemas of the records that it reads or writes.
        defer_build=True,
        protected_namespaces=(),
        # The loss of a training may be NaN or infinite.
        ser_json_inf_nan="constants",
    )

    fix: ClassVar[str] = "remove the file and run the same command again"
    """The fix for a damaged file; ends the error message."""
    required_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys with a default that every file must hold all the same; without them it is damaged."""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a file; None if it is absent.

        Raises: Damaged (BAD_DATA) naming file, field and fix if it is damaged or foreign; UserError
        (NO_INPUT) if it cannot be read.
        """
        data = read_content(path, cls.fix)
        return None if data is None else cls.from_json(data, path)

    @classmethod
    def read_own(cls, path: Path) -> Self | None:
        """As `read`, for a file that decides what is run.

        Raises: UserError (CONFIG) also if another user could have written it.
        """
        data = read_content(path, cls.fix, must_be_own=True)
        return None if data is None else cls.from_json(data, path)

    @classmethod
    def read_if_valid(cls, path: Path) -> Self | None:
        """Read a file; None if it is absent, damaged or foreign.

        For files that are soon written again, or only help: leases, claims, progress, ids of jobs.
        """
        try:
            return cls.read(path)
        except UserError:
            return None

    @classmethod
    def from_json(cls, data: bytes | str, source: object) -> Self:
        """Read JSON text; `source` names its file in the error.

        Raises: Damaged (BAD_DATA) if it is damaged or foreign.
        """
        try:
            value = cls.model_validate_json(data)
        except ValidationError as error:
            raise Damaged(source, f": {describe_validation_error(error)}", cls.fix) from None
        if missing := sorted(cls.required_keys - value.model_fields_set):
            raise Damaged(source, f": damaged or foreign file: {missing[0]} is missing", cls.fix)
        return value

    def to_values(self) -> dict[str, Any]:
        """JSON values of all fields."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """The content of the file."""
        return json.dumps(self.to_values(), ensure_ascii=False, indent=1) + "\n"

    def line(self) -> str:
        """The same in one line without a line break, for pipes and arguments."""
        return json.dumps(self.to_values(), ensure_ascii=False)

    def write(self, path: Path) -> None:
        """Write the file whole or not at all, over an older one."""
        write_text(path, self.to_json())

    def claim(self, path: Path) -> bool:
        """Write the file unless it exists; True if this call wrote it."""
        return claim_text(path, self.to_json())


def describe_validation_error(error: ValidationError) -> str:
    """Format the first fault with its place in the file, and how many more there are."""
    faults = error.errors(include_url=False, include_context=False)
    first = faults[0]
    more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
    message = first["msg"][:1].lower() + first["msg"][1:]
    location = ".".join(map(str, first["loc"]))
    if not location:
        return f"damaged or foreign file: {message}{more}"
    if first["type"] == "missing":
        return f"damaged or foreign file: {location} is missing{more}"
    value = repr(first["input"])
    short_value = (
        value if len(value) <= MAX_VALUE_CHARACTERS else f"{value[:MAX_VALUE_CHARACTERS]}..."
    )
    return f"damaged or foreign file: {location}={short_value}: {message}{more}"
