"""The verdict that all ranks of a job read alike, over real stores of c10d."""

import os
import signal
import time
from datetime import timedelta

import pytest
from ranks import run_ranks

from cfx_shim import agreement
from cfx_shim.agreement import Agreement

PROPOSAL = {"version": "1", "plan": "aa", "patches": "bb", "code": "", "reason": ""}
YES = [True, "", ""]


@pytest.fixture(scope="module")
def tcp_port():
    """A TCPStore in a process of its own, as under torchrun: forking a process with the store's thread is not safe."""
    import torch.distributed as dist

    (told, tell), (until, ended) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        # the read below ends when the test's process does, however that ends
        os.close(ended)
        host = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        os.write(tell, str(host.port).encode())
        os.read(until, 1)
        os._exit(0)
    yield int(os.read(told, 16))
    for end in (told, tell, until, ended):
        os.close(end)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture(params=["tcp", "file"])
def stores(request):
    """``connect(path, world)`` for the ranks of one run."""
    import torch.distributed as dist

    if request.param == "file":
        return lambda path, world: dist.FileStore(path, world)
    port = request.getfixturevalue("tcp_port")

    def connect(path, world):
        store = dist.TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=60))
        return dist.PrefixStore(os.path.basename(os.path.dirname(path)), store)

    return connect


def _take_part(rank, path, connect, world, changes, announce=True, post=True, timeout=30.0, delay=0.0, loading=600.0):
    """One rank's part; arguments that are lists hold a value per rank."""

    def mine(value):
        return value[rank] if isinstance(value, list) else value

    agreement._LOADING_SECONDS = mine(loading)
    us = Agreement(connect(path, world), rank, world, mine(timeout), 1)
    time.sleep(mine(delay))
    if mine(announce):
        us.announce()
    if not mine(post):
        return None
    us.post({**PROPOSAL, **mine(changes)})
    verdict = us.verdict()
    # the shim asks again after a restart of a transformer: the answer stays
    assert us.verdict() == verdict
    return [verdict.agreed, verdict.code, verdict.reason]


def take_part(stores, world, changes=None, **options):
    changes = changes if changes is not None else [{}] * world
    return run_ranks(world, lambda rank, path: _take_part(rank, path, stores, world, changes, **options), join=False)


def test_ranks_that_would_do_the_same_agree(stores):
    assert take_part(stores, 3) == [YES] * 3


def test_a_job_of_one_rank_agrees_with_itself(stores):
    assert take_part(stores, 1) == [YES]


@pytest.mark.parametrize("field", ["plan", "version", "patches"])
def test_one_rank_that_differs_makes_it_no_for_all_and_says_who_has_what(stores, field):
    answers = take_part(stores, 3, [{}, {}, {field: "cc"}])
    usual = PROPOSAL[field]
    reason = f"the ranks differ in {field}: rank 0 {usual}, rank 1 {usual}, rank 2 cc"
    assert answers == [[False, "CFX_PLAN_MISMATCH", reason]] * 3


def test_one_rank_with_a_problem_makes_it_no_for_all_with_that_problem(stores):
    answers = take_part(stores, 3, [{}, {"code": "CFX_FP8_COMMS", "reason": "fp8 is on"}, {"plan": "cc"}])
    assert answers == [[False, "CFX_FP8_COMMS", "rank 1: fp8 is on"]] * 3


def test_a_rank_that_never_announces_makes_it_no_after_the_time_out(stores):
    answers = take_part(stores, 3, announce=[True, False, True], post=[True, False, True], timeout=0.4)
    no = [False, "CFX_NOT_ATTACHED", "rank 1 of 3 ranks run without cfx"]
    assert answers == [no, None, no]


def test_a_rank_that_attached_but_never_proposes_makes_it_no_after_the_time_for_loading(stores):
    answers = take_part(stores, 3, post=[True, True, False], timeout=0.2, loading=0.4)
    no = [False, "CFX_NOT_ATTACHED", "rank 2 attached but never came to its first exchange"]
    assert answers == [no, no, None]


def test_a_slow_rank_that_is_attached_is_waited_for_beyond_the_time_out(stores):
    def part(rank, path):
        us = Agreement(stores(path, 2), rank, 2, 0.3, 1)
        us.announce()
        if rank == 1:
            time.sleep(1.5)
        us.post(PROPOSAL)
        return us.verdict().agreed

    assert run_ranks(2, part, join=False) == [True, True]


def test_a_verdict_once_written_stays_although_a_late_rank_would_have_agreed(stores):
    # rank 0 loses patience first; rank 1 would wait, and by the time rank 2 comes all three would agree
    answers = take_part(stores, 3, timeout=[0.3, 30.0, 30.0], delay=[0.0, 0.0, 2.0])
    assert answers == [[False, "CFX_NOT_ATTACHED", "rank 2 of 3 ranks run without cfx"]] * 3


def test_ranks_that_race_to_judge_all_obey_the_one_verdict_that_was_written_first(stores):
    # each judges before it sees a verdict, and writes only after the rank before it has read one: the worst order
    def part(rank, path):
        store = stores(path, 3)
        us = Agreement(store, rank, 3, 30.0, 1)

        def judge(key, participants):
            if rank:
                store.wait([f"done/{rank - 1}"], timedelta(seconds=30))
            return agreement.Verdict(False, "CFX_INTERNAL", f"judged by {rank}")

        us._judge, us._wait_for_verdict = judge, lambda key: None
        reason = us.verdict().reason
        store.set(f"done/{rank}", "1")
        store.wait(["done/2"], timedelta(seconds=30))
        return [reason, us._read("cfx/1/verdict").reason]

    assert run_ranks(3, part, join=False) == [["judged by 0"] * 2] * 3


def test_ranks_that_never_exchange_must_be_attached_but_need_not_propose(stores):
    def part(rank, path, attached):
        us = Agreement(stores(path, 3), rank, 3, 1.0, 1)
        if rank < 2 or attached:
            us.announce()
        if rank == 2:
            return None
        us.post(PROPOSAL)
        verdict = us.verdict([0, 1])
        return [verdict.agreed, verdict.code, verdict.reason]

    assert run_ranks(3, lambda rank, path: part(rank, path, True), join=False) == [YES, YES, None]
    no = [False, "CFX_NOT_ATTACHED", "rank 2 of 3 ranks run without cfx"]
    assert run_ranks(3, lambda rank, path: part(rank, path, False), join=False) == [no, no, None]


def test_a_second_process_group_agrees_anew(stores):
    def part(rank, path):
        store = stores(path, 2)
        said = []
        for attempt, plan in ((1, "aa" if rank else "cc"), (2, "aa")):
            us = Agreement(store, rank, 2, 30.0, attempt)
            us.announce()
            us.post({**PROPOSAL, "plan": plan})
            said.append(us.verdict().agreed)
        return said

    assert run_ranks(2, part, join=False) == [[False, True]] * 2
