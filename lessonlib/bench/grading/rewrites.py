"""Other ways to write the same program: rewrites of its syntax tree that keep what it computes, up to rounding.

They know no types, so some leave a program that fails or means something else (`+` joins lists, and lists do
not commute): whoever uses them runs the result (`answers.variants` does) and drops those.
"""

from __future__ import annotations

import ast
import copy
import random
import textwrap
from collections.abc import Callable
from typing import Any

METHODS = [
    "abs",
    "argmax",
    "clone",
    "cos",
    "cumsum",
    "exp",
    "flatten",
    "log",
    "mean",
    "min",
    "max",
    "norm",
    "repeat_interleave",
    "sin",
    "softmax",
    "sqrt",
    "std",
    "sum",
    "transpose",
    "unsqueeze",
    "where",
]
MODULES = ("torch", "np", "math", "F", "nn", "cv2", "Image", "itertools")

Change = Callable[[ast.AST], ast.AST | None]
Rewrite = Callable[[ast.FunctionDef, random.Random], None]


def rewritten(program: str, number: random.Random, most: int = 4) -> str:
    """The program with its last function rewritten, in up to `most` ways one after the other."""
    tree = ast.parse(program)
    answer = tree.body[-1]
    assert isinstance(answer, ast.FunctionDef)
    for name in number.sample(sorted(REWRITES), number.randint(1, most)):
        REWRITES[name](answer, number)
    if "torch" not in {
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    }:
        tree.body.insert(0, ast.Import([ast.alias("torch")]))
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


class Somewhere(ast.NodeTransformer):
    """Apply a change to about half of the places where it can be made, and to one at least."""

    def __init__(self, change: Change, number: random.Random) -> None:
        self._change, self._number = change, number

    def visit(self, node: ast.AST) -> Any:
        node = self.generic_visit(node)
        if self._number.random() < 0.6 and (changed := self._change(node)) is not None:
            return changed
        return node


def everywhere(change: Change) -> Rewrite:
    """The rewrite that makes a change of expressions in the function's body."""

    def rewrite(function: ast.FunctionDef, number: random.Random) -> None:
        function.body = [Somewhere(change, number).visit(statement) for statement in function.body]

    return rewrite


# --- Expressions --------------------------------------------------------------------------------------------


def commuted(node: ast.AST) -> ast.AST | None:
    """a + b, a * b -> b + a, b * a"""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
        return ast.BinOp(node.right, node.op, node.left)
    return None


def reassociated(node: ast.AST) -> ast.AST | None:
    """(a + b) + c -> a + (b + c), and so for products"""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
        left = node.left
        if isinstance(left, ast.BinOp) and type(left.op) is type(node.op):
            return ast.BinOp(left.left, node.op, ast.BinOp(left.right, node.op, node.right))
    return None


def distributed(node: ast.AST) -> ast.AST | None:
    """a * (b + c) -> a * b + a * c"""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(node.right, ast.BinOp):
        factor, term = node.left, node.right
        if isinstance(term.op, ast.Add | ast.Sub):
            first = ast.BinOp(factor, ast.Mult(), term.left)
            return ast.BinOp(first, term.op, ast.BinOp(copy.deepcopy(factor), ast.Mult(), term.right))
    return None


def added_negative(node: ast.AST) -> ast.AST | None:
    """a - b -> a + -b"""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        return ast.BinOp(node.left, ast.Add(), ast.UnaryOp(ast.USub(), node.right))
    return None


def times_reciprocal(node: ast.AST) -> ast.AST | None:
    """a / b -> a * (1 / b)"""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return ast.BinOp(node.left, ast.Mult(), ast.BinOp(ast.Constant(1), ast.Div(), node.right))
    return None


def powers(node: ast.AST) -> ast.AST | None:
    """a ** 2 -> a * a, and a ** 0.5 -> torch.sqrt(a)"""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant):
        if node.right.value == 2:
            return ast.BinOp(node.left, ast.Mult(), copy.deepcopy(node.left))
        if node.right.value == 0.5:
            return _call("torch.sqrt", node.left)
    return None


def matmul(node: ast.AST) -> ast.AST | None:
    """a @ b -> torch.matmul(a, b)"""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return _call("torch.matmul", node.left, node.right)
    return None


def transposed(node: ast.AST) -> ast.AST | None:
    """a.T -> a.transpose(0, 1)"""
    if isinstance(node, ast.Attribute) and node.attr == "T":
        method = ast.Attribute(node.value, "transpose", ast.Load())
        return ast.Call(method, [ast.Constant(0), ast.Constant(1)], [])
    return None


def unsqueezed(node: ast.AST) -> ast.AST | None:
    """a[:, None] -> a.unsqueeze(1)"""
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and ast.unparse(node.slice) == ":, None"
    ):
        return ast.Call(ast.Attribute(node.value, "unsqueeze", ast.Load()), [ast.Constant(1)], [])
    return None


def as_function(node: ast.AST) -> ast.AST | None:
    """a.sqrt() -> torch.sqrt(a)"""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
        owner = node.func.value
        if not (isinstance(owner, ast.Name) and owner.id in MODULES):
            function = ast.Attribute(ast.Name("torch", ast.Load()), node.func.attr, ast.Load())
            return ast.Call(function, [owner, *node.args], node.keywords)
    return None


def as_method(node: ast.AST) -> ast.AST | None:
    """torch.sqrt(a) -> a.sqrt()"""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        owner = node.func.value
        if isinstance(owner, ast.Name) and owner.id == "torch" and node.func.attr in METHODS:
            return ast.Call(
                ast.Attribute(node.args[0], node.func.attr, ast.Load()), node.args[1:], node.keywords
            )
    return None


def mirrored(node: ast.AST) -> ast.AST | None:
    """a < b -> b > a"""
    turned = {
        ast.Lt: ast.Gt,
        ast.Gt: ast.Lt,
        ast.LtE: ast.GtE,
        ast.GtE: ast.LtE,
        ast.Eq: ast.Eq,
        ast.NotEq: ast.NotEq,
    }
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in turned:
        return ast.Compare(node.comparators[0], [turned[type(node.ops[0])]()], [node.left])
    return None


def swapped_branches(node: ast.AST) -> ast.AST | None:
    """a if c else b -> b if not c else a, and so for statements"""
    if isinstance(node, ast.IfExp):
        return ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.orelse, node.body)
    if isinstance(node, ast.If) and node.orelse:
        return ast.If(ast.UnaryOp(ast.Not(), node.test), node.orelse, node.body)
    return None


def generator(node: ast.AST) -> ast.AST | None:
    """[f(a) for a in b] -> list(f(a) for a in b)"""
    if isinstance(node, ast.ListComp):
        return _call("list", ast.GeneratorExp(node.elt, node.generators))
    return None


def loose_zip(node: ast.AST) -> ast.AST | None:
    """zip(a, b, strict=True) -> zip(a, b)"""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "zip" and node.keywords:
        return ast.Call(node.func, node.args, [])
    return None


# --- Statements ---------------------------------------------------------------------------------------------


def renamed(function: ast.FunctionDef, number: random.Random) -> None:
    """Other names for the arguments and variables."""
    names = sorted(_own_names(function))
    new = dict(zip(names, (f"v{i}" for i in number.sample(range(100), len(names))), strict=True))
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            node.id = new.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = new.get(node.arg, node.arg)


def unannotated(function: ast.FunctionDef, number: random.Random) -> None:
    """No type hints, no docstring."""
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    if ast.get_docstring(function):
        del function.body[0]


def by_name(function: ast.FunctionDef, number: random.Random) -> None:
    """return a -> result = a; return result"""
    _each_return(function, lambda value: f"answer_ = {value}\nreturn answer_")


def cloned(function: ast.FunctionDef, number: random.Random) -> None:
    """return a -> return a.clone(), or a view made contiguous"""
    method = number.choice(["clone", "contiguous", "detach"])
    _each_return(function, lambda value: f"return ({value}).{method}()")


def in_place(function: ast.FunctionDef, number: random.Random) -> None:
    """return a + b -> result = a; result += b; return result"""

    def change(node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.Return) and isinstance(node.value, ast.BinOp):
            target = ast.Name("answer_", ast.Store())
            first = ast.Assign([target], node.value.left)
            second = ast.AugAssign(target, node.value.op, node.value.right)
            return _block(first, second, ast.Return(ast.Name("answer_", ast.Load())))
        return None

    _change_all(function, change)


def augmented(function: ast.FunctionDef, number: random.Random) -> None:
    """a = a + b -> a += b"""

    def change(node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name) and ast.unparse(target) == ast.unparse(node.value.left):
                return ast.AugAssign(target, node.value.op, node.value.right)
        return None

    _change_all(function, change)


def temporaries(function: ast.FunctionDef, number: random.Random) -> None:
    """a = f(b) * (c - d) -> left = f(b); right = c - d; a = left * right"""

    def change(node: ast.AST) -> ast.AST | None:
        value = getattr(node, "value", None)
        if isinstance(node, ast.Assign | ast.Return) and isinstance(value, ast.BinOp):
            left, right = ast.Name("left_", ast.Store()), ast.Name("right_", ast.Store())
            node.value = ast.BinOp(ast.Name("left_", ast.Load()), value.op, ast.Name("right_", ast.Load()))
            return _block(ast.Assign([left], value.left), ast.Assign([right], value.right), node)
        return None

    _change_all(function, change)


def popped(function: ast.FunctionDef, number: random.Random) -> None:
    """for a in b: ... -> a list that is emptied from the front"""

    def change(node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.For) or node.orelse:
            return None
        waiting = f"waiting_{number.randrange(1000)}"
        first = ast.parse(f"{waiting} = list({ast.unparse(node.iter)})").body[0]
        take = ast.Assign([node.target], ast.parse(f"{waiting}.pop(0)", mode="eval").body)
        return _block(first, ast.While(ast.Name(waiting, ast.Load()), [take, *node.body], []))

    _change_all(function, change)


def without_gradients(function: ast.FunctionDef, number: random.Random) -> None:
    """The body under `torch.no_grad()`."""
    head = ast.parse("with torch.no_grad():\n    pass").body[0]
    assert isinstance(head, ast.With)
    head.body = function.body
    function.body = [head]


def nested(function: ast.FunctionDef, number: random.Random) -> None:
    """The body in a function of its own, which is called at once."""
    _wrap(function, "return inner_({names})")


def double_inside(function: ast.FunctionDef, number: random.Random) -> None:
    """Computed in float64, given back in float32."""
    _wrap(function, "return single_(inner_(*[double_(value) for value in ({names},)]))")
    function.body[:0] = ast.parse(_DOUBLE).body


_DOUBLE = """
def cast_(value, old, new):
    if isinstance(value, torch.Tensor):
        return value.to(new) if value.dtype == old else value
    if isinstance(value, (list, tuple)):
        return type(value)([cast_(one, old, new) for one in value])
    if isinstance(value, dict):
        return {name: cast_(one, old, new) for name, one in value.items()}
    return value

def double_(value):
    return cast_(value, torch.float32, torch.float64)

def single_(value):
    return cast_(value, torch.float64, torch.float32)
"""

REWRITES: dict[str, Rewrite] = {
    change.__name__: everywhere(change)
    for change in (
        commuted,
        reassociated,
        distributed,
        added_negative,
        times_reciprocal,
        powers,
        matmul,
        transposed,
        unsqueezed,
        as_function,
        as_method,
        mirrored,
        swapped_branches,
        generator,
        loose_zip,
    )
} | {
    rewrite.__name__: rewrite
    for rewrite in (
        renamed,
        unannotated,
        by_name,
        cloned,
        in_place,
        augmented,
        temporaries,
        popped,
        without_gradients,
        nested,
        double_inside,
    )
}


# --- What they share ----------------------------------------------------------------------------------------


def _call(function: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.parse(function, mode="eval").body, list(arguments), [])


def _block(*statements: ast.stmt) -> ast.If:
    """Several statements as one; `_change_all` takes the block apart."""
    return ast.If(ast.Constant("block"), list(statements), [])


def _change_all(function: ast.FunctionDef, change: Change) -> None:
    """Change statements of the function, but not those of functions inside it."""

    def changed(body: list[ast.stmt]) -> list[ast.stmt]:
        new: list[ast.stmt] = []
        for statement in body:
            if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
                for field in ("body", "orelse"):
                    if isinstance(inside := getattr(statement, field, None), list):
                        setattr(statement, field, changed(inside))
            done = change(statement) or statement
            block = isinstance(done, ast.If) and getattr(done.test, "value", None) == "block"
            new += done.body if block else [done]  # type: ignore[union-attr]
        return new

    function.body = changed(function.body)


def _each_return(function: ast.FunctionDef, text: Callable[[str], str]) -> None:
    def change(node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.Return) and node.value is not None:
            return _block(*_statements(text(ast.unparse(node.value))))
        return None

    _change_all(function, change)


def _statements(text: str) -> list[ast.stmt]:
    """Statements of a function's body."""
    function = ast.parse("def f():\n" + textwrap.indent(text, "    ")).body[0]
    assert isinstance(function, ast.FunctionDef)
    return function.body


def _wrap(function: ast.FunctionDef, call: str) -> None:
    names = ", ".join(argument.arg for argument in function.args.args)
    inner = ast.parse("def inner_():\n    pass").body[0]
    assert isinstance(inner, ast.FunctionDef)
    inner.args, inner.body = copy.deepcopy(function.args), function.body
    function.body = [inner, *_statements(call.format(names=names))]


def _own_names(function: ast.FunctionDef) -> set[str]:
    arguments = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    return arguments | {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
