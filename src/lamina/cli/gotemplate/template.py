"""A parsed template and its execution."""

from __future__ import annotations

from collections.abc import Iterable

from lamina.cli.gotemplate.errors import TemplateError
from lamina.cli.gotemplate.functions import FUNCTIONS, HEADING, LAZY, CallError
from lamina.cli.gotemplate.nodes import (
    Action,
    Block,
    Constant,
    Field,
    Function,
    Group,
    Node,
    Operand,
    Pipe,
    Text,
    Variable,
)
from lamina.cli.gotemplate.parse import parse
from lamina.cli.gotemplate.values import MISSING, Map, Missing, Struct, text, truth

MAX_STEPS = 500_000           # nodes executed for one rendering: some two seconds
MAX_OUTPUT = 64 * 1024 * 1024  # characters that one rendering may give


class Template:
    """Parsed once, rendered for each row."""

    def __init__(self, source: str) -> None:
        self._nodes = parse(source)

    def render(self, data: object, *, heading: bool = False) -> str:
        """The text for `data`; with `heading`, docker's rules for a table's first line. `TemplateError`."""
        run = _Run(data, heading)
        run.nodes(self._nodes, data)
        return "".join(run.out)


class _Run:
    """One execution: variables in scopes, what is written so far."""

    def __init__(self, data: object, heading: bool) -> None:
        self.out: list[str] = []
        self._functions = HEADING if heading else FUNCTIONS
        self._scopes: list[dict[str, object]] = [{"$": data}]
        self._steps = 0
        self._written = 0

    def nodes(self, nodes: Iterable[Node], dot: object) -> None:
        for node in nodes:
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise TemplateError(f"takes more than {MAX_STEPS} steps")
            if isinstance(node, Text):
                self._write(node.text)
            elif isinstance(node, Block):
                self._scopes.append({})
                self._block(node, dot)
                self._scopes.pop()
            else:
                self._action(node, dot)

    def _write(self, piece: str) -> None:
        self._written += len(piece)
        if self._written > MAX_OUTPUT:
            raise TemplateError(f"gives more than {MAX_OUTPUT} characters")
        self.out.append(piece)

    def _action(self, node: Action, dot: object) -> None:
        value = self._pipe(node.pipe, dot)
        if node.pipe.variables:
            self._assign(node.pipe, node.pipe.variables[0], value)
        else:
            self._write(text(value))

    def _assign(self, pipe: Pipe, name: str, value: object) -> None:
        if pipe.declares:
            self._scopes[-1][name] = value
            return
        for scope in reversed(self._scopes):
            if name in scope:
                scope[name] = value
                return

    def _block(self, node: Block, dot: object) -> None:
        value = self._pipe(node.pipe, dot)
        if node.kind == "range":
            self._range(node, value, dot)
            return
        if node.pipe.variables:
            self._assign(node.pipe, node.pipe.variables[0], value)
        if truth(value):
            self.nodes(node.body, value if node.kind == "with" else dot)
        else:
            self.nodes(node.other, dot)

    def _range(self, node: Block, value: object, dot: object) -> None:
        pairs: Iterable[tuple[object, object]]
        if isinstance(value, dict):
            pairs = sorted(value.items())
        elif isinstance(value, (list, tuple)):
            pairs = enumerate(value)
        elif value is None or isinstance(value, Missing):
            pairs = ()
        else:
            raise TemplateError(f"range can't iterate over {text(value)}", node.pipe.line)
        names = node.pipe.variables
        empty = True
        for key, item in pairs:
            empty = False
            if names:
                self._assign(node.pipe, names[-1], item)
            if len(names) > 1:
                self._assign(node.pipe, names[0], key)
            self._scopes.append({})
            self.nodes(node.body, item)
            self._scopes.pop()
        if empty:
            self.nodes(node.other, dot)

    def _pipe(self, pipe: Pipe, dot: object) -> object:
        value: object = None
        for stage, command in enumerate(pipe.commands):
            last = (value,) if stage else ()
            first = command[0]
            if isinstance(first, Function):
                value = self._call(first.name, command[1:], last, dot, pipe.line)
            else:
                value = self._operand(first, dot, pipe.line)
        return value

    def _call(self, name: str, operands: tuple[Operand, ...], last: tuple[object, ...], dot: object, line: int) -> object:
        if name in LAZY:
            return self._lazy(name, operands, last, dot, line)
        function, fewest, most = self._functions[name]
        arguments = [self._operand(operand, dot, line) for operand in operands]
        arguments.extend(last)
        if len(arguments) < fewest or 0 <= most < len(arguments):
            raise TemplateError(f"wrong number of args for {name}: want {fewest} got {len(arguments)}", line)
        try:
            return function(*arguments)
        except CallError as error:
            raise TemplateError(f"error calling {error}", line) from None

    def _lazy(self, name: str, operands: tuple[Operand, ...], last: tuple[object, ...], dot: object, line: int) -> object:
        """`and` gives the first empty argument or the last one, `or` the first that is not empty or the last."""
        value: object = None
        for operand in operands:
            value = self._operand(operand, dot, line)
            if truth(value) == (name == "or"):
                return value
        if last:
            return last[0]
        if not operands:
            raise TemplateError(f"wrong number of args for {name}: want at least 1 got 0", line)
        return value

    def _operand(self, operand: Operand, dot: object, line: int) -> object:
        if isinstance(operand, Constant):
            return operand.value
        if isinstance(operand, Field):
            return _follow(dot, operand.path, line)
        if isinstance(operand, Variable):
            return _follow(self._variable(operand.name), operand.path, line)
        if isinstance(operand, Group):
            return _follow(self._pipe(operand.pipe, dot), operand.path, line)
        return self._call(operand.name, (), (), dot, line)

    def _variable(self, name: str) -> object:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return MISSING


def _follow(value: object, path: tuple[str, ...], line: int) -> object:
    """The field at the end of a path."""
    for name in path:
        if isinstance(value, dict):
            if name in value:
                value = value[name]
            elif isinstance(value, Map):
                value = MISSING
            elif isinstance(value, Struct) and name in value.hidden:
                value = value.hidden[name]
            else:
                raise TemplateError(f"can't evaluate field {name}", line, f"known are {', '.join(value)}")
        elif value is None or isinstance(value, Missing):
            raise TemplateError(f"nil pointer evaluating field {name}", line)
        else:
            raise TemplateError(f"can't evaluate field {name} in {text(value)!r}", line)
    return value
