"""The compiled kernels of this machine: built once, kept as an object file in cfx's cache folder, loaded by each rank.

The file's name is a digest of everything its content depends on, so that nothing stale is ever loaded. It is machine
code, like any shared object of the environment: it is read only from a folder that belongs to us and that nobody else
may write to.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import stat

# each takes addresses and numbers, ``(common, sections, first, last, scratch)`` (see ``shared``), and gives a number
KERNELS = (
    *("statistics_kernel", "history_kernel", "encode_kernel", "decode_kernel"),
    *("per_token_encode_kernel", "per_token_decode_kernel", "topk_encode_kernel", "topk_decode_kernel"),
    *("int4_statistics_kernel", "int4_encode_kernel", "int4_decode_kernel"),
    *("low_rank_encode_kernel", "low_rank_decode_kernel"),
)
ARGUMENTS = 5
_SOURCES = tuple(
    f"{name}.py"
    for name in (
        *("vectors", "lanes", "arithmetic", "shared", "blocks", "parts", "groups", "eight_bit", "trend", "states", "levels", "means", "starts", "bits", "digits", "column_sums", "statistics", "history", "encode"),
        *("decode", "per_token", "topk", "int4", "trellis", "matrices", "low_rank_room", "factor_fit", "low_rank"),
        *("low_rank_decode", "build"),
    )
)

_kernels = None
# what the loaded code lives in
_engine = None


def kernels():
    """Kernel name -> function, or None as long as ``load`` has not found them."""
    return _kernels


def prepare(folder: str, proof, on_build=lambda: None) -> str:
    """Build the kernels in ``folder`` unless they are there; returns "built", "present" or "numba is not installed".

    A build takes a minute or two, and ``on_build`` is called before; of several processes one builds and the others wait.
    ``proof()`` says in what ways the kernels in use are wrong, one text each; such as are wrong are not kept. Raises OSError
    for a folder that cannot be used, RuntimeError if what was built there, now or before, was wrong, and whatever numba and
    LLVM raise.
    """
    if any(importlib.util.find_spec(name) is None for name in ("numba", "llvmlite")):
        return "numba is not installed"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    _check_is_ours(folder)
    machine = _target_machine()
    path = os.path.join(folder, _file_name())
    if os.path.exists(path):
        return "present"
    _check_is_not_refused(path)
    on_build()
    _build(path, machine, proof)
    return "built"


def load(folder: str) -> bool:
    """Take the kernels into use that ``prepare`` has built in ``folder``; False where there are none. Takes 50 ms.

    Raises OSError for a folder that others can write to.
    """
    if _kernels is not None:
        return True
    if importlib.util.find_spec("llvmlite") is None or not os.path.isdir(folder):
        return False
    _check_is_ours(folder)
    path = os.path.join(folder, _file_name())
    if not os.path.exists(path):
        return False
    with open(path, "rb") as file:
        _load(file.read(), _target_machine())
    return True


def forget():
    """Go on without kernels, as if ``load`` had not been called."""
    global _kernels
    _kernels = None


@contextlib.contextmanager
def set_aside():
    """In here plain torch does the work, as if ``load`` had not been called."""
    global _kernels
    held, _kernels = _kernels, None
    try:
        yield
    finally:
        _kernels = held


def _target_machine():
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        codemodel="jitdefault",
    )


def _file_name():
    from llvmlite import binding

    digest = hashlib.blake2b(digest_size=12)
    for source in _SOURCES:
        with open(os.path.join(os.path.dirname(__file__), source), "rb") as file:
            digest.update(file.read())
    versions = [importlib.metadata.version("llvmlite")]
    machine = [binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten(), binding.get_default_triple()]
    digest.update(repr([versions, machine, KERNELS]).encode())
    return f"codecs-{digest.hexdigest()}.o"


def _check_is_ours(folder):
    status = os.stat(folder)
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder} belongs to or can be written by others; expected a folder of our own, mode 0700")


def _check_is_not_refused(path):
    if os.path.exists(_refusal(path)):
        with open(_refusal(path), encoding="utf-8") as file:
            raise RuntimeError(file.read())


def _refusal(path):
    """The file that says why what was built as ``path`` was not kept: another build would be the same."""
    return f"{path}.refused"


def _build(path, machine, proof):
    with open(f"{path}.lock", "wb") as lock:
        # released when the process ends, however it ends
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(path):
            return
        _check_is_not_refused(path)
        from . import build

        code = build.compiled(machine, KERNELS, ARGUMENTS)
        wrong = _proved_wrong(code, machine, proof)
        what, kept = (wrong.encode(), _refusal(path)) if wrong else (code, path)
        unfinished = f"{path}.{os.getpid()}"
        with open(unfinished, "wb") as file:
            file.write(what)
        os.replace(unfinished, kept)
        _check_is_not_refused(path)


def _proved_wrong(code, machine, proof):
    """A sentence on what is wrong with kernels, or None."""
    global _kernels, _engine
    held = _kernels, _engine
    _load(code, machine)
    found = proof()
    _kernels, _engine = held
    if not found:
        return None
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"this machine's compiled kernels do not give what plain torch gives ({found[0]}{more}), so they are not used; please report it"


def _load(code, machine):
    global _kernels, _engine
    from llvmlite import binding

    _engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    _engine.add_object_file(binding.ObjectFileRef.from_data(code))
    _engine.finalize_object()
    # a status that is always 0, since nothing in a kernel raises; then where the result goes, and an error's place
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * ARGUMENTS)
    _kernels = {name: kind(_engine.get_function_address(name)) for name in KERNELS}
