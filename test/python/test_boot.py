"""The shim's start in real processes: PYTHONPATH=<run>/site and CFX_RUN, as a launch gives them."""

import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest
from conftest import SHIM
from test_schema import PLAN, RUN

from cfx_shim import _contract


class RunFolder:
    def __init__(self, path, **changes):
        self.path = path
        (path / "site").mkdir(parents=True)
        (path / "processes").mkdir()
        shutil.copy(os.path.join(SHIM, "bootstrap", "sitecustomize.py"), path / "site")
        self.run = {**RUN, "refusal": None, "shimPath": SHIM, "version": _contract.VERSION, "plan": PLAN, **changes}
        self.write(json.dumps(self.run))

    def write(self, text):
        (self.path / "run.json").write_text(text)

    def python(self, *arguments, path=(), **environment):
        """Run Python as a launch would: what it printed, its exit code, and what processes noted."""
        inherited = {key: value for key, value in os.environ.items() if key not in ("RANK", "LOCAL_RANK", "PYTHONPATH")}
        search = os.pathsep.join([str(self.path / "site"), *map(str, path)])
        return subprocess.run(
            [sys.executable, *arguments],
            env={**inherited, "PYTHONPATH": search, "CFX_RUN": str(self.path), "GLOO_SOCKET_IFNAME": "lo", **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def notes(self):
        """Contents of processes/, by pid."""
        found = {}
        for file in sorted((self.path / "processes").iterdir()):
            found[int(file.stem)] = json.loads(file.read_text())
        return found


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


MODULES = """
import os, sys
names = ("torch", "zmq", "msgpack", "numpy", "xfuser", "cfx_shim.boot")
print(os.getpid(), [name for name in names if name in sys.modules])
"""


def test_a_process_of_the_launch_starts_the_shim_imports_nothing_heavy_and_notes_itself(folder):
    done = folder.python("-c", MODULES)
    pid, loaded = done.stdout.split(maxsplit=1)
    assert (loaded.strip(), done.stderr, done.returncode) == ("['cfx_shim.boot']", "", 0)
    assert folder.notes() == {int(pid): {"pid": int(pid), "rank": None, "joined": False}}


def test_a_rank_notes_its_rank(folder):
    folder.python("-c", "pass", RANK="3")
    (note,) = folder.notes().values()
    assert (note["rank"], note["joined"]) == (3, False)


def test_without_cfx_run_nothing_of_ours_starts(folder):
    environment = {key: value for key, value in os.environ.items() if key != "CFX_RUN"}
    done = subprocess.run(
        [sys.executable, "-c", MODULES],
        env={**environment, "PYTHONPATH": str(folder.path / "site")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split(maxsplit=1)[1].strip() == "[]" and done.stderr == ""
    assert folder.notes() == {}


def test_the_users_own_sitecustomize_still_runs_after_ours_and_is_the_one_in_sys_modules(folder, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import sys\nprint('mine', 'cfx_shim.boot' in sys.modules)\nvalue = 42\n")
    done = folder.python("-c", "import sitecustomize; print(sitecustomize.value, sitecustomize.__file__)", path=[own])
    assert done.stdout.splitlines() == ["mine True", f"42 {own / 'sitecustomize.py'}"]
    assert done.returncode == 0


def test_the_users_own_sitecustomize_runs_even_when_the_shim_cannot_start(folder, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('mine')\n")
    folder.write("{")
    done = folder.python("-c", "print('program')", path=[own])
    assert done.stdout.split() == ["mine", "program"]


@pytest.mark.parametrize("flag", ["-I", "-S", "-E"])
def test_isolated_python_skips_the_shim_and_leaves_no_note(folder, flag):
    done = folder.python(flag, "-c", "import sys; print('cfx_shim' in sys.modules)")
    assert (done.stdout.strip(), folder.notes()) == ("False", {})


@pytest.mark.parametrize(
    "text, says",
    [
        ("{", "JSONDecodeError"),
        ("{}", "KeyError: 'shimPath'"),
        ("[]", "TypeError"),
        ('{"shimPath": "/nowhere"}', "ModuleNotFoundError: No module named 'cfx_shim'"),
    ],
)
def test_a_broken_run_file_is_named_and_leaves_the_program_and_its_exit_code_alone(folder, text, says):
    folder.write(text)
    done = folder.python("-c", "print('program'); raise SystemExit(7)")
    assert (done.stdout, done.returncode) == ("program\n", 7)
    assert done.stderr.startswith("cfx: CFX_INTERNAL: the shim did not start: ") and says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_run_folder_is_named_and_the_program_runs(folder):
    shutil.move(folder.path / "run.json", folder.path / "gone.json")
    done = folder.python("-c", "raise SystemExit(7)")
    assert done.returncode == 7 and "FileNotFoundError" in done.stderr


def test_a_run_file_of_another_shape_is_noted_and_nothing_is_patched(tmp_path):
    folder = RunFolder(tmp_path / "run", device="tpu")
    finders = "[type(finder).__module__ for finder in sys.meta_path if 'cfx' in type(finder).__module__]"
    done = folder.python("-c", f"import sys; print({finders})")
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("[]", "", 0)
    (note,) = folder.notes().values()
    assert note["problem"]["code"] == "CFX_PLAN_MISMATCH"
    assert "device: 'tpu' is not one of" in note["problem"]["reason"]


CHILD = """
    import os, subprocess, sys
    print(os.environ.get("PYTHONPATH"))
    subprocess.run([sys.executable, "-c", "pass"], check=True)
"""


def test_an_agents_children_get_the_hook(folder, tmp_path):
    done = folder.python("-c", textwrap.dedent(CHILD), path=[tmp_path])
    assert done.stdout.strip() == f"{folder.path / 'site'}{os.pathsep}{tmp_path}"
    assert len(folder.notes()) == 2


def test_a_ranks_children_do_not_and_its_own_search_path_stays_as_the_user_set_it(folder, tmp_path):
    done = folder.python("-c", textwrap.dedent(CHILD), path=[tmp_path], RANK="0")
    assert done.stdout.strip() == str(tmp_path)
    assert len(folder.notes()) == 1


def test_a_rank_whose_only_search_path_was_ours_is_left_without_one(folder):
    assert folder.python("-c", textwrap.dedent(CHILD), RANK="0").stdout.strip() == "None"


JOB = """
    import os, sys, tempfile
    import torch.distributed as dist
    print(dist.init_process_group.__name__, hasattr(dist.init_process_group, "__wrapped__"))
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        print(dist.get_world_size(), "zmq" in sys.modules)
        dist.destroy_process_group()
"""


def test_a_process_becomes_a_rank_when_it_makes_the_process_group(folder):
    done = folder.python("-c", textwrap.dedent(JOB), RANK="0")
    assert (done.stdout.split(), done.stderr, done.returncode) == (
        ["init_process_group", "True", "1", "False"],
        "",
        0,
    )
    (note,) = folder.notes().values()
    assert note["joined"] is True and note["rank"] == 0 and "problem" not in note


@pytest.mark.parametrize("package", ["zmq", "msgpack"])
def test_a_missing_package_is_noted_when_the_process_group_is_made_and_the_job_goes_on(tmp_path, package):
    folder = RunFolder(tmp_path / "run", endpoint=f"ipc://{tmp_path}/none.sock")
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    (stubs / f"{package}.py").write_text(f"raise ImportError('hidden by the test', name={package!r})\n")
    done = folder.python("-c", textwrap.dedent(JOB), path=[stubs], RANK="0")
    assert done.returncode == 0, done.stderr
    (note,) = folder.notes().values()
    assert note["problem"] == {"code": "CFX_PY_MISSING", "reason": f"this Python cannot import {package}"}
    assert note["joined"] is True


def test_the_side_folder_serves_only_what_the_environment_lacks(tmp_path):
    side = tmp_path / "side"
    side.mkdir()
    (side / "json.py").write_text("raise RuntimeError('the side folder shadowed the environment')\n")
    (side / "only_in_side.py").write_text("value = 5\n")
    folder = RunFolder(tmp_path / "run", sidePath=str(side))
    done = folder.python("-c", "import json, only_in_side; print(only_in_side.value)")
    assert done.stdout.strip() == "5", done.stderr


def test_the_cpu_is_chosen_before_torch_is_there(tmp_path):
    folder = RunFolder(tmp_path / "run", device="cpu")
    done = folder.python("-c", "import os; print(repr(os.environ['CUDA_VISIBLE_DEVICES']))", CUDA_VISIBLE_DEVICES="0")
    assert done.stdout.strip() == "''"
