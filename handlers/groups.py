"""Group things by the names they share, however far apart: sharing a name with one of a group joins all of it."""

from collections.abc import Iterable, Mapping, Sequence


def groups(named: Iterable[Sequence[str]]) -> Mapping[str, str]:
    """Map every name to the one that stands for its group.

    Args:
        named: the names of each thing, in an order that decides which name stands for a group.
    """
    root: dict[str, str] = {}
    for names in named:
        for name in names:
            root.setdefault(name, name)
        for name in names[1:]:
            root[_find(root, name)] = _find(root, names[0])
    return {name: _find(root, name) for name in root}


def _find(root: dict[str, str], name: str) -> str:
    while root[name] != name:
        root[name] = name = root[root[name]]
    return name
