"""Draws the packages and their imports into docs/architecture.md: `python -m tests.project.draw_packages`.

An arrow is an import, from the package that imports. `settings` is drawn like a package. The modules `errors` and `log`
are not drawn: any package may import them.
"""

import re

import grimp

from tests.support.project import ROOT

PAGE = ROOT / "docs" / "architecture.md"
DIAGRAM = re.compile(r"(?<=```mermaid\n)flowchart TD\n.*?(?=```)", re.DOTALL)


def packages() -> set[str]:
    """The names of tabserve's packages, and `settings`."""
    return {path.parent.name for path in (ROOT / "tabserve").glob("*/__init__.py")} | {"settings"}


def imports() -> set[tuple[str, str]]:
    """The pairs of packages of which the first imports the second."""
    graph, drawn = grimp.build_graph("tabserve"), packages()
    pairs = {
        (module.split(".")[1], imported.split(".")[1])
        for module in graph.modules - {"tabserve"}
        for imported in graph.find_modules_directly_imported_by(module) - {"tabserve"}
    }
    return {(one, other) for one, other in pairs if one != other and {one, other} <= drawn}


def drawn_imports(diagram: str) -> set[tuple[str, str]]:
    """The arrows of a diagram."""
    return set(re.findall(r"^ +(\w+) --> (\w+)$", diagram, re.MULTILINE))


def diagram() -> str:
    """The arrows as a Mermaid flowchart."""
    return "flowchart TD\n" + "".join(f"    {one} --> {other}\n" for one, other in sorted(imports()))


def main() -> None:
    page, count = DIAGRAM.subn(diagram(), PAGE.read_text(encoding="utf-8"))
    if count != 1:
        raise SystemExit(f"{PAGE} has {count} diagrams; expected one, in a block ```mermaid")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
