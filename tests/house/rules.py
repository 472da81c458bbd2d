"""House rules that no linter knows: each takes one source and tells where it breaks the rule."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator

from tests.house.tree import PACKAGES, Source

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400
OUTLINE = ("verify", "read", "identify", "needs", "normalize")
CLOCKS = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    *(("time", name) for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")),
    *(("time", name) for name in ("localtime", "gmtime", "process_time", "sleep")),
}
EVENT_NAME = re.compile(r"[a-z]+\.[a-z_]+")
DIRECTIVE = re.compile(r"#\s*(?:ruff:\s*)?(noqa|type:\s*ignore|pragma:\s*no (?:cover|branch)|nosec)\b")
NAMED = {"noqa": re.compile(r"noqa: ?[A-Z]+\d+"), "type:ignore": re.compile(r"type: ?ignore\[[a-z-]+")}
REASON = re.compile(r"(?:[A-Z]+\d+|\]|cover|branch|nosec)\s*[-#:]+\s*\S.{3,}")
SECRET = re.compile(r"(?:^|_)(?:secret|token|password|signature|mac|hmac|(?:hex)?digest|hash)(?:s|es)?$", re.IGNORECASE)
COMPARES = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
PUBLIC = re.compile(r"#\s*public: \S.{3,}")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

Function = ast.FunctionDef | ast.AsyncFunctionDef
Finding = tuple[int, str]
Rule = Callable[[Source], Iterator[Finding]]


def reads_no_clock(source: Source) -> Iterator[Finding]:
    """Time is an argument: a function that asks what time it is has two answers to one question."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value).rsplit(".", 1)[-1]
            if (owner, node.attr) in CLOCKS:
                yield node.lineno, f"{owner}.{node.attr} reads a clock: take `now` as an argument"


def awaits_nothing(source: Source) -> Iterator[Finding]:
    """The core has no event loop: what waits belongs to the worker."""
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    for node in ast.walk(source.tree):
        if isinstance(node, waiting):
            yield node.lineno, "async code in a room that never waits"


def functions_fit_a_screen(source: Source) -> Iterator[Finding]:
    """A function that needs scrolling holds two ideas."""
    for function in functions(source):
        if (lines := length(function)) > FUNCTION_LINES_MAX:
            yield function.lineno, f"{function.name} has {lines} lines, at most {FUNCTION_LINES_MAX}"


def files_hold_one_idea(source: Source) -> Iterator[Finding]:
    """A file that grew past its bound is split by idea."""
    lines = source.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield lines, f"{lines} lines, at most {FILE_LINES_MAX}"


def exceptions_to_lints_are_explained(source: Source) -> Iterator[Finding]:
    """Whoever silences a check names the check and says why, on that line."""
    for line, comment in comments(source):
        if (found := DIRECTIVE.search(comment)) is None:
            continue
        named = NAMED.get(found.group(1).replace(" ", ""))
        if named and not named.search(comment):
            yield line, f"silences everything, name the check: {comment}"
        elif not REASON.search(comment):
            yield line, f"gives no reason: {comment}"


def logs_name_events(source: Source) -> Iterator[Finding]:
    """A log line is an event name and pairs: `log.info("ingest.accepted", app=…)`, never prose."""
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        logger = isinstance(node.func.value, ast.Name) and node.func.value.id in {"log", "logger"}
        if logger and node.func.attr in {"debug", "info", "warning", "error", "exception", "critical"}:
            name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if not (isinstance(name, str) and EVENT_NAME.fullmatch(name)):
                yield node.lineno, f'not an event name like "ingest.accepted": {ast.unparse(node)}'


def platforms_share_one_outline(source: Source) -> Iterator[Finding]:
    """Two platform files can be read in parallel windows: one order of functions, nothing else public."""
    public = [node for node in source.tree.body if isinstance(node, FUNCTIONS) and not node.name.startswith("_")]
    if not _assigns(source, "PLATFORM"):
        return
    if (names := tuple(function.name for function in public)) != OUTLINE:
        yield 1, f"defines {', '.join(names)}; a platform defines {', '.join(OUTLINE)}, in this order"
    if _assigns(source, "__all__") != "['PLATFORM']":
        yield 1, '`__all__` is ["PLATFORM"]'


def secrets_are_compared_in_constant_time(source: Source) -> Iterator[Finding]:
    """`==` takes longer the more of a secret was guessed: `hmac.compare_digest`, or `# public: why` on the line.

    What is called a secret, token, signature, mac, digest or hash counts as one, unless it is compared with a constant.
    """
    reasons = {line for line, comment in comments(source) if PUBLIC.search(comment)}
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], COMPARES) or node.lineno in reasons:
            continue
        sides = [node.left, *node.comparators]
        secret = next((side for side in sides if SECRET.search(_last_word(side))), None)
        if secret is not None and not any(_is_constant(side) for side in sides):
            yield node.lineno, f"compares {ast.unparse(secret)} in a time that tells: use hmac.compare_digest"


def tests_state_their_law(source: Source) -> Iterator[Finding]:
    """Every test says in one line what must be true."""
    for function in functions(source):
        if not function.name.startswith("test"):
            continue
        law = ast.get_docstring(function)
        if not law or "\n" in law:
            yield function.lineno, f"{function.name} needs a docstring of one line that says the law"


def tests_patch_nothing_of_ours(source: Source) -> Iterator[Finding]:
    """Tests hand in fakes; what they patch is what nobody can trust afterwards."""
    ours = _names_of_ours(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            if any(f"{module}.{name.name}".strip(".").startswith("unittest.mock") for name in node.names):
                yield node.lineno, "unittest.mock: hand in a fake instead"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            target = ast.unparse(node.args[0]).strip("'\"").split(".", 1)[0]
            if node.func.attr in {"setattr", "delattr", "patch"} and target in ours | set(PACKAGES):
                yield node.lineno, f"patches {ast.unparse(node.args[0])}: hand in a fake instead"


def functions(source: Source) -> Iterator[Function]:
    """Walk over every function, nested ones included."""
    return (node for node in ast.walk(source.tree) if isinstance(node, FUNCTIONS))


def length(function: Function) -> int:
    """Count the lines from `def` to the end, without the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def comments(source: Source) -> Iterator[tuple[int, str]]:
    """Walk over every comment with its line number."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _assigns(source: Source, name: str) -> str | None:
    """Give the source of what a module-level name is bound to; None: it is not bound."""
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            return ast.unparse(node.value)
        if isinstance(node, ast.AnnAssign) and node.value and name == ast.unparse(node.target):
            return ast.unparse(node.value)
    return None


def _last_word(node: ast.expr) -> str:
    """Name what an expression gives: of a call what is called, of `self._token` its last part."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_constant(node: ast.expr) -> bool:
    """Tell whether everybody may read it in the source: a literal, or a name in capital letters."""
    if isinstance(node, ast.IfExp):
        return _is_constant(node.body) and _is_constant(node.orelse)
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return all(map(_is_constant, node.elts))
    return isinstance(node, ast.Constant) or _last_word(node).isupper()


def _names_of_ours(source: Source) -> set[str]:
    """List the names under which a test knows our modules and what is in them."""
    found = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".", 1)[0] in PACKAGES:
            found |= {name.asname or name.name for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.asname for name in node.names if name.asname and name.name.split(".", 1)[0] in PACKAGES}
    return found
