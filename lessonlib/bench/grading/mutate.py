"""Mutants of programs, by cosmic-ray's operators. Run by a Python that has cosmic-ray.

Standard input: JSON, {"count": n, "programs": {name: [program, ...]}}. Standard output: name -> n mutants of its
programs, drawn from every operator at every place in the bodies of their last functions; the same every time.
"""

from __future__ import annotations

import ast
import json
import random
import sys
from typing import Any


def operators() -> dict[str, Any]:
    """cosmic-ray's operators, but for those that need settings."""
    from cosmic_ray.plugins import get_operator, operator_names  # pyright: ignore[reportMissingImports]

    found = {}
    for name in sorted(operator_names()):
        try:
            found[name] = get_operator(name)()
        except TypeError:
            continue
    return found


def mutants(programs: list[str], count: int, number: random.Random) -> list[str]:
    """So many different mutants of the programs, or all there are."""
    from cosmic_ray.ast import ast_nodes, get_ast  # pyright: ignore[reportMissingImports]
    from cosmic_ray.mutating import mutate_code  # pyright: ignore[reportMissingImports]

    known = operators()
    places = []
    for program in programs:
        nodes = list(ast_nodes(get_ast(program)))
        for name, operator in known.items():
            amount = sum(len(list(operator.mutation_positions(node))) for node in nodes)
            places += [(program, name, occurrence) for occurrence in range(amount)]
    number.shuffle(places)
    found: dict[str, None] = {}
    originals = {body(program) for program in programs}
    for program, name, occurrence in places:
        if len(found) == count:
            break
        mutant = mutate_code(program, known[name], occurrence)
        if mutant is not None and body(mutant) not in originals | {""}:
            found[mutant] = None
    return list(found)


def body(program: str) -> str:
    """What the last function does: its body, without type hints of its arguments; "" if it is not Python.

    A mutant of a type hint or of what is not Python is no wrong answer that anybody would have to find.
    """
    try:
        answer = ast.parse(program).body[-1]
    except SyntaxError:
        return ""
    return "\n".join(ast.unparse(statement) for statement in getattr(answer, "body", []))


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    made = {
        name: mutants(programs, asked["count"], random.Random(f"mutants of {name}"))
        for name, programs in asked["programs"].items()
    }
    json.dump(made, sys.stdout)
