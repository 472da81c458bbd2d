"""Group things by the names they share, however far apart: sharing a name with one of a group joins all of it."""

from collections.abc import Iterable, Mapping, Sequence


def groups(named: Iterable[Sequence[str]]) -> Mapping[str, str]:
    """Map every name to the one that stands for its group.

    Args:
        named: the names of each thing, in an order that decides which name stands for a group.
    """
    root: dict[str, str] = {}
    for names in named:
        if names:
            first = _find(root, names[0])
            for name in names[1:]:
                if root.setdefault(name, first) != first:
                    root[_find(root, name)] = first
    return {name: above if root[above] == above else _find(root, name) for name, above in root.items()}


def _find(root: dict[str, str], name: str) -> str:
    while (above := root.setdefault(name, name)) != name:
        root[name] = name = root[above]
    return name
