"""What a parsed template is made of."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Constant:
    """A string, number, true, false or nil."""

    value: object


@dataclass(frozen=True, slots=True)
class Field:
    """`.A.B`; `.` has an empty path."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name.A.B`; `$` is the data as it came in."""

    name: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function's name as first word of a command."""

    name: str


@dataclass(frozen=True, slots=True)
class Group:
    """`(pipeline).A.B`."""

    pipe: Pipe
    path: tuple[str, ...]


Operand = Constant | Field | Variable | Function | Group


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each a list of operands; the value goes into `variables` (two only for range)."""

    commands: tuple[tuple[Operand, ...], ...]
    variables: tuple[str, ...]
    declares: bool
    line: int


@dataclass(frozen=True, slots=True)
class Text:
    """Text outside of actions."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """`{{pipeline}}`."""

    pipe: Pipe


@dataclass(slots=True)
class Block:
    """`if`, `with` or `range` with what stands inside and behind `else`."""

    kind: str
    pipe: Pipe
    body: list[Node] = field(default_factory=list)
    other: list[Node] = field(default_factory=list)


Node = Text | Action | Block
