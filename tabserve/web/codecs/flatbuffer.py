"""Reads tables of a flatbuffer that may be anything: what points outside of it raises ValueError or struct.error.

Fields are known by their number in the format's description. The format: https://flatbuffers.dev/internals
"""

import struct


class FlatbufferTable:
    """One table. Strings and vectors are checked when they are read."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self._position = data, position
        self._vtable = position - self._unpack("<i", position)

    @classmethod
    def root(cls, data: bytes) -> "FlatbufferTable":
        return cls(data, *struct.unpack_from("<I", data))

    def has(self, field: int) -> bool:
        return self._field_position(field) is not None

    def number(self, field: int, format_: str) -> int:
        """A number, unpacked by a format of `struct`; 0 if the field is absent."""
        position = self._field_position(field)
        return 0 if position is None else self._unpack(format_, position)

    def table(self, field: int) -> "FlatbufferTable":
        return FlatbufferTable(self._data, self._target(field))

    def tables(self, field: int, most: int) -> list["FlatbufferTable"]:
        """A vector of at most `most` tables."""
        start, count = self._vector(field)
        if count > most:
            raise ValueError(f"it has far more than {most} columns")
        positions = [start + 4 * index for index in range(count)]
        return [FlatbufferTable(self._data, position + self._unpack("<I", position)) for position in positions]

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """A vector of structs of two int64."""
        start, count = self._vector(field)
        content = bytes(part_of(memoryview(self._data), start, 16 * count))
        return list(struct.iter_unpack("<qq", content))

    def text(self, field: int) -> str:
        start, count = self._vector(field)
        return str(part_of(memoryview(self._data), start, count), "utf-8", "replace")

    def _vector(self, field: int) -> tuple[int, int]:
        """Start and length of a vector; an absent one is empty."""
        if not self.has(field):
            return 0, 0
        position = self._target(field)
        return position + 4, self._unpack("<I", position)

    def _target(self, field: int) -> int:
        position = self._field_position(field)
        if position is None:
            raise ValueError("a required field is absent")
        return position + self._unpack("<I", position)

    def _field_position(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._unpack("<H", self._vtable):
            return None
        offset = self._unpack("<H", self._vtable + entry)
        return self._position + offset if offset else None

    def _unpack(self, format_: str, position: int) -> int:
        if position < 0:
            raise ValueError("it points outside of itself")
        return int(struct.unpack_from(format_, self._data, position)[0])


def part_of(data: memoryview, start: int, length: int) -> memoryview:
    """Bytes of `data`. Raises ValueError if they are not all inside."""
    if not 0 <= start <= start + length <= len(data):
        raise ValueError("it ends early, or points outside of itself")
    return data[start : start + length]
