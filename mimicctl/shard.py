"""A run in parts that know nothing of each other: every part does each n-th trial."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shard:
    """Part `index` of `of`: trials index, index + of, index + 2 of, ..."""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "index/of", counted from 0.

        Raises:
            ValueError: it is something else.
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if not found:
            raise ValueError(f'"{text}" is no shard; 0/4 is the first of four')
        index, of = map(int, found.groups())
        if index >= of:
            last = f"they go from 0/{of} to {of - 1}/{of}" if of else "there must be at least one"
            raise ValueError(f"there is no shard {index}/{of}; {last}")
        return cls(index, of)

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def path(self, output: Path) -> Path:
        """The file of this part; those of all parts sort by number."""
        number = str(self.index).zfill(len(str(self.of - 1)))
        return output.with_name(f"{output.stem}.shard-{number}-of-{self.of}{output.suffix}")

    def numbers(self, end: int) -> range:
        """Its trials among the first `end` of the run."""
        return range(self.index, end, self.of)


def shards_of(output: Path) -> list[Path]:
    """Files of all parts of `output` that are there, by number."""
    pattern = re.compile(rf"{re.escape(output.stem)}\.shard-\d+-of-\d+{re.escape(output.suffix)}")
    return sorted(path for path in output.expanduser().absolute().parent.glob("*") if pattern.fullmatch(path.name))
