"""A broken plugin for each check of GraphDriver."""

from tests.unit.checks.broken import Broken, adds, does, never, refuses, says, warned
from tests.unit.checks.broken_volumes import no, only_once, refuses_if, swallows


def g(name: str) -> str:
    """A method's whole name."""
    return f"GraphDriver.{name}"


BROKEN = {
    "GraphDriver: init": Broken(refuses(g("Init"))),
    "GraphDriver: init with null": Broken(refuses_if(lambda args: args["Opts"] is None, g("Init"))),
    "GraphDriver: capabilities": Broken(says(g("Capabilities"), {"ReproducesExactDiffs": True})),
    "GraphDriver: status": Broken(says(g("Status"), {"Status": [["Layers"]]})),
    "GraphDriver: create": Broken(swallows(g("Create"))),
    "GraphDriver: create read-write": Broken(swallows(g("CreateReadWrite"))),
    "GraphDriver: exists": Broken(says(g("Exists"), {"Exists": True})),
    "GraphDriver: get": Broken(says(g("Get"), {"Dir": "layers"})),
    "GraphDriver: get of unknown": Broken(says(g("Get"), {"Dir": "/layers"})),
    "GraphDriver: put": Broken(only_once(g("Get"))),
    "GraphDriver: metadata": Broken(says(g("GetMetadata"), {"Metadata": {"size": 1}})),
    "GraphDriver: apply diff": Broken(does(lambda _, __: no(), g("ApplyDiff"))),
    "GraphDriver: diff": Broken(says(g("Diff"), b"no archive")),
    "GraphDriver: diff of unknown": Broken(says(g("Diff"), {"Err": "no such layer"})),
    "GraphDriver: changes": Broken(says(g("Changes"), {"Changes": []})),
    "GraphDriver: size of a diff": Broken(adds(g("DiffSize"), Size=-1)),
    "GraphDriver: remove": Broken(swallows(g("Remove"))),
    "GraphDriver: cleanup": Broken(says(g("Cleanup"), {"Err": "busy"})),
}
MORE = (
    ("GraphDriver: capabilities", Broken(refuses(g("Capabilities")))),
    ("GraphDriver: cleanup", warned(refuses(g("Cleanup")))),
    ("GraphDriver: status", warned(refuses(g("Status")))),
    ("GraphDriver: metadata", Broken(says(g("GetMetadata"), {"Metadata": []}))),
    ("GraphDriver: apply diff", Broken(says(g("ApplyDiff"), {"Size": -1}))),
    ("GraphDriver: apply diff", Broken(says(g("ApplyDiff"), {"Size": "1"}))),
    ("GraphDriver: diff", Broken(says(g("Diff"), b"\0" * 10240))),
    ("GraphDriver: diff", Broken(does(never, g("Diff")))),
    ("GraphDriver: changes", Broken(says(g("Changes"), {"Changes": [{"Path": "/x", "Kind": 3}]}))),
)
