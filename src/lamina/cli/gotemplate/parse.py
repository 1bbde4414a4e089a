"""Tokens to nodes."""

from __future__ import annotations

from collections.abc import Iterator

from lamina.cli.gotemplate.errors import TemplateError
from lamina.cli.gotemplate.functions import NAMES
from lamina.cli.gotemplate.lex import Token, tokens, unquote
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

MAX_DEPTH = 50  # blocks and parentheses inside one another

_BLOCKS = ("if", "range", "with")
_WORDS = {"true": True, "false": False, "nil": None}
_UNKNOWN = ("block", "break", "continue", "define", "template")


def parse(source: str) -> list[Node]:
    """All nodes of a template."""
    return _Parser(tokens(source)).template()


class _Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, stream: Iterator[Token]) -> None:
        self._stream = stream
        self._ahead = next(stream, None)
        self._line = 1
        self._depth = 0
        self._variables = [{"$"}]

    def template(self) -> list[Node]:
        nodes, ended_by = self._nodes()
        if ended_by is not None:
            raise TemplateError(f"unexpected {{{{{ended_by}}}}}", self._line)
        return nodes

    def _next(self) -> Token:
        token = self._ahead
        if token is None:
            raise TemplateError("unexpected end", self._line)
        self._ahead = next(self._stream, None)
        self._line = token.line
        return token

    def _peek(self, kind: str, text: str = "") -> bool:
        token = self._ahead
        return token is not None and token.kind == kind and (not text or token.text == text)

    def _nodes(self) -> tuple[list[Node], str | None]:
        """Nodes up to the end or to an `end` or `else`, whose name is returned with its action still open for else."""
        nodes: list[Node] = []
        while self._ahead is not None:
            token = self._next()
            if token.kind == "text":
                nodes.append(Text(token.text))
                continue
            word = self._ahead.text if self._peek("word") and self._ahead is not None else ""
            if word in ("end", "else"):
                self._next()
                return nodes, word
            if word in _BLOCKS:
                self._next()
                nodes.append(self._block(word))
            else:
                nodes.append(Action(self._pipe("close")))
        return nodes, None

    def _block(self, kind: str) -> Block:
        self._enter()
        self._variables.append(set())
        block = Block(kind, self._pipe("close", pair=kind == "range"))
        block.body, ended_by = self._nodes()
        if ended_by == "else":
            if kind != "range" and self._peek("word", kind):
                self._next()
                block.other = [self._block(kind)]  # `else if`: its end is ours
                ended_by = "done"
            else:
                self._close()
                block.other, ended_by = self._nodes()
        if ended_by == "end":
            self._close()
        elif ended_by != "done":
            raise TemplateError(f"{{{{{kind}}}}} has no {{{{end}}}}" if ended_by is None else "unexpected {{else}}",
                                self._line)
        self._variables.pop()
        self._depth -= 1
        return block

    def _close(self) -> None:
        token = self._next()
        if token.kind != "close":
            raise TemplateError(f"unexpected {token.text!r} in an action", token.line)

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateError(f"nested more than {MAX_DEPTH} deep", self._line)

    def _pipe(self, end: str, *, pair: bool = False) -> Pipe:
        """Commands between `|` up to a close or a `)`."""
        line = self._line
        variables, declares, operands = self._declaration(pair)
        commands: list[tuple[Operand, ...]] = []
        while True:
            if self._peek("close") or self._peek("sign", ")"):
                token = self._next()
                if (token.kind == "close") != (end == "close"):
                    raise TemplateError("unbalanced parentheses", token.line)
                break
            if self._peek("sign", "|"):
                self._next()
                self._finish(commands, operands)
                operands = []
                if self._peek("close") or self._peek("sign"):
                    raise TemplateError("missing value for command", self._line)
                continue
            operands.append(self._operand())
        self._finish(commands, operands)
        for name in variables:
            if declares:
                self._variables[-1].add(name)
            else:
                self._known(name)
        return Pipe(tuple(commands), variables, declares, line)

    def _declaration(self, pair: bool) -> tuple[tuple[str, ...], bool, list[Operand]]:
        """`$x :=`, `$x =`, `$k, $v :=`, or else the variable as first operand."""
        if not self._peek("variable"):
            return (), False, []
        first = self._next()
        names = [first.text]
        if pair and self._peek("sign", ","):
            self._next()
            names.append(self._next().text)
        if self._peek("sign", ":=") or self._peek("sign", "="):
            declares = self._next().text == ":="
            for name in names:
                if not name.startswith("$") or "." in name or name == "$":
                    raise TemplateError(f"cannot assign to {name}", self._line)
            return tuple(names), declares, []
        if len(names) > 1:
            raise TemplateError("missing := in range", self._line)
        return (), False, [self._variable(first)]

    def _finish(self, commands: list[tuple[Operand, ...]], operands: list[Operand]) -> None:
        if not operands:
            raise TemplateError("missing value for command", self._line)
        first = operands[0]
        if commands and not isinstance(first, Function):
            raise TemplateError(f"non executable command in pipeline stage {len(commands) + 1}", self._line)
        if len(operands) > 1 and not isinstance(first, Function):
            raise TemplateError("only a function takes arguments", self._line)
        if isinstance(first, Constant) and first.value is None:
            raise TemplateError("nil is not a command", self._line)
        commands.append(tuple(operands))

    def _operand(self) -> Operand:
        token = self._next()
        if token.kind in ("string", "raw"):
            return Constant(unquote(token))
        if token.kind == "number":
            return Constant(float(token.text) if "." in token.text else int(token.text))
        if token.kind in ("dot", "field"):
            return Field(tuple(token.text[1:].split(".")) if token.text != "." else ())
        if token.kind == "variable":
            return self._variable(token)
        if token.kind == "word":
            return self._word(token)
        if token.text == "(":
            return self._group()
        raise TemplateError(f"unexpected {token.text!r} in an action", token.line)

    def _group(self) -> Group:
        self._enter()
        pipe = self._pipe(")")
        self._depth -= 1
        path: tuple[str, ...] = ()
        if self._ahead is not None and self._ahead.kind == "field" and not self._ahead.spaced:
            path = tuple(self._next().text[1:].split("."))
        return Group(pipe, path)

    def _variable(self, token: Token) -> Variable:
        name, *path = token.text.split(".")
        self._known(name)
        return Variable(name, tuple(path))

    def _known(self, name: str) -> None:
        if not any(name in scope for scope in self._variables):
            raise TemplateError(f'undefined variable "{name}"', self._line)

    def _word(self, token: Token) -> Operand:
        if token.text in _WORDS:
            return Constant(_WORDS[token.text])
        if token.text in _UNKNOWN:
            raise TemplateError(f"{{{{{token.text}}}}} is not supported", token.line)
        if token.text not in NAMES:
            raise TemplateError(f'function "{token.text}" not defined', token.line, f"known are {', '.join(sorted(NAMES))}")
        return Function(token.text)
