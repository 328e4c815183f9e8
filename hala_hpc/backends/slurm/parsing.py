"""Parse times, counts, memory, TRES and node lists from the output of SLURM's commands."""

import itertools
import re

#: Values for "no limit" or "not set".
NOTHING = ("", "UNLIMITED", "INFINITE", "NONE", "N/A", "(NULL)", "NOT_SET", "INVALID")
#: Megabytes of each unit of memory; a value without a unit is in megabytes.
UNITS_MB = {"K": 1 / 1024, "M": 1, "": 1, "G": 1024, "T": 1024**2, "P": 1024**3}
#: One entry of a list of nodes, e.g. `login1` or `rack[0-1]node[01-16,20]`.
HOST = re.compile(r"(?:[^,\[\]]|\[[^\]]*\])+")
#: The numbers in brackets of an entry.
RANGES = re.compile(r"\[([^\]]*)\]")


def is_unset(text: str) -> bool:
    """Whether a field is empty or means that there is no limit."""
    return text.strip().upper() in NOTHING


def parse_minutes(text: str) -> int | None:
    """Convert `2-00:00:00`, `01:30:00`, `30:00` or `45` to minutes; None: no limit."""
    if is_unset(text):
        return None
    days, _, clock = text.strip().rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days:
        hours, mins, secs = [*parts, 0, 0][:3]
    elif len(parts) == 1:
        return parts[0]
    else:
        hours, mins, secs = [0, *parts][-3:]
    return (int(days or 0) * 24 + hours) * 60 + mins + (secs > 0)


def parse_seconds(text: str) -> int:
    """Convert `1-00:00:20`, `00:00:20` or `20` to seconds; 0 if not set."""
    if is_unset(text):
        return 0
    days, _, clock = text.strip().rpartition("-")
    total = 0
    for part in clock.split(":"):
        total = total * 60 + int(part)
    return int(days or 0) * 86400 + total


def parse_count(text: str) -> int | None:
    """Parse a number such as `1001`, `5 sec` or `32+`; None: no limit."""
    found = re.match(r"\d+", text.strip())
    return int(found[0]) if found and not is_unset(text) else None


def parse_megabytes(text: str) -> int | None:
    """Convert `262144`, `256G` or `1.5T` to MB; None: no limit."""
    found = re.fullmatch(r"([\d.]+)([KMGTP]?)[Bnc]?", text.strip())
    return int(float(found[1]) * UNITS_MB[found[2]]) if found else None


def parse_list(text: str) -> tuple[str, ...]:
    """Parse a list with commas; empty for `ALL` and if not set."""
    if is_unset(text) or text.strip().upper() == "ALL":
        return ()
    return tuple(part for part in text.strip().split(",") if part)


def parse_tres(text: str) -> dict[str, int]:
    """Parse TRES such as `cpu=10,mem=1T,gres/gpu:h100=2` into numbers, memory in MB."""
    found: dict[str, int] = {}
    for part in parse_list(text):
        key, _, value = part.partition("=")
        number = parse_megabytes(value) if key == "mem" else parse_count(value)
        if number is not None:
            found[key] = number
    return found


def parse_gres_gpus(text: str) -> dict[str, int]:
    """Parse `gpu:h100:8(S:0-1),mps:100` into `{"h100": 8}`; the type is "" if untyped."""
    found: dict[str, int] = {}
    for part in re.sub(r"\([^)]*\)", "", text).split(","):
        fields = part.strip().split(":")
        if fields[0] == "gpu" and len(fields) > 1:
            kind = fields[1] if len(fields) > 2 else ""
            found[kind] = found.get(kind, 0) + (parse_count(fields[-1]) or 0)
    return found


def parse_pairs(line: str) -> dict[str, str]:
    """Parse `PartitionName=low State=UP ...` into a dict; a value ends at the next blank."""
    return dict(re.findall(r"(\S+?)=(\S*)", line))


def parse_config(text: str) -> dict[str, str]:
    """Parse lines such as `MaxArraySize            = 1001` into a dict."""
    found = re.findall(r"(?m)^(\S+)\s*= ?(.*)$", text)
    return {key: value.strip() for key, value in found}


def expand_hosts(text: str) -> tuple[str, ...]:
    """Expand a list of nodes into names.

    `scontrol show hostnames` is not used: it takes a process for each list, and needs SLURM's
    configuration, which some sites have only at the controller. Reading how jobs ended must not
    depend on it.

    >>> expand_hosts("gpu[01-03,7],login1")
    ('gpu01', 'gpu02', 'gpu03', 'gpu7', 'login1')
    """
    if not text or text.startswith(("None", "(null)")):
        return ()
    return tuple(name for entry in HOST.findall(text) for name in expand_entry(entry))


def expand_entry(entry: str) -> list[str]:
    """Expand `rack[0-1]node[1-2]` to rack0node1, rack0node2, rack1node1, rack1node2."""
    # Texts and contents of brackets alternate.
    parts = RANGES.split(entry)
    choices = [
        [number for one in part.split(",") for number in expand_range(one)] if place % 2 else [part]
        for place, part in enumerate(parts)
    ]
    return ["".join(choice) for choice in itertools.product(*choices)]


def expand_range(part: str) -> list[str]:
    """Expand `01-03` to 01, 02, 03, with leading zeros."""
    first, _, last = part.partition("-")
    if not last:
        return [first]
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
