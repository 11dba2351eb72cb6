/** The Python end of a session (python.ts): runs statements, answers with JSON text. */
export const SESSION_SOURCE = `
import json, math, os, sys, traceback

# What the session prints must not end up on Node's stdout, which belongs to its user.
os.dup2(2, 1)
sys.stdout.reconfigure(line_buffering=True)
# The bridge's own folder would shadow the user's modules; its channel is no business of child processes.
sys.path.pop(0)
os.environ.pop("NODE_CHANNEL_FD", None)
os.environ.pop("PYTHON_BIN", None)
os.environ.pop("REQ_TIMEOUT", None)

namespace = {"__name__": "__cfx__"}

def plain(value):
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    raise TypeError(f"result holds {type(value).__module__}.{type(value).__qualname__}; expected plain data")

def run(source, values):
    namespace.pop("result", None)
    try:
        namespace.update(json.loads(values))
        exec(compile(source, "<session>", "exec"), namespace)
        return json.dumps({"result": plain(namespace.get("result"))})
    except BaseException:
        return json.dumps({"error": traceback.format_exc()})
`;
