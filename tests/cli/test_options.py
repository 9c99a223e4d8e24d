"""How options are declared: typer 0.27 takes a metavar that is the parameter's name in capitals for the name."""

import ast
from pathlib import Path

import pytest

import fairlane.cli

FILES = sorted(Path(fairlane.cli.__file__).parent.rglob("*.py"))
TREES = [ast.parse(path.read_text("utf-8")) for path in FILES]
CONTROL = ast.parse("def list(status: Annotated[str, typer.Option(metavar='STATUS')]): ...")


def nameless(trees: list[ast.Module]) -> list[str]:
    """Return the parameters whose option has such a metavar, and no name of its own."""
    shared = {
        node.targets[0].id: node.value
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    found = []
    for function in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for parameter in [*function.args.args, *function.args.kwonlyargs]:
            form = parameter.annotation
            if isinstance(form, ast.Name):
                form = shared.get(form.id)
            for call in ast.walk(form) if form else []:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "typer.Option":
                    named = any(ast.unparse(word).strip("'\"").startswith("-") for word in call.args)
                    metavars = [ast.unparse(word.value).strip("'\"") for word in call.keywords if word.arg == "metavar"]
                    if not named and metavars == [parameter.arg.upper()]:
                        found.append(f"{function.name}: {parameter.arg}")
    return found


@pytest.mark.parametrize(("trees", "expected"), [(TREES, []), ([CONTROL], ["list: status"])])
def test_an_option_has_a_name_where_its_metavar_could_be_taken_for_one(
    trees: list[ast.Module], expected: list[str]
) -> None:
    """``--status STATUS`` names ``--status``; the control has no name."""
    assert nameless(trees) == expected
