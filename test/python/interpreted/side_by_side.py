"""Programs of a launch that take turns in Triton's interpreter, which runs one after the other: each goes on from one atomic
operation to its next, and then some other one, by chance, so that a program which waits for others gets them."""

import contextlib
import inspect
import random
import threading

import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import GridExecutor, interpreter_builder

from cfx_shim.kernels import barrier, low_rank, low_rank_launch


class _Turns:
    """One thread for each program, of which one goes at a time."""

    def __init__(self, places, run, chance):
        self._run, self._chance, self._places = run, chance, places
        self._going = [threading.Semaphore(0) for _ in places]
        self._left, self._ended, self._errors = list(range(len(places))), threading.Semaphore(0), []
        self._now = None

    def run(self):
        """All of them, to their end."""
        threads = [threading.Thread(target=self._program, args=(index,)) for index in self._left]
        for thread in threads:
            thread.start()
        self._next()
        self._ended.acquire()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _next(self):
        self._now = self._chance.choice(self._left)
        self._going[self._now].release()

    def _take(self, index):
        self._going[index].acquire()
        interpreter_builder.set_grid_idx(*self._places[index])

    def _program(self, index):
        self._take(index)
        try:
            self._run()
        except Exception as error:
            self._errors.append(error)
        self._left.remove(index)
        if self._left:
            self._next()
        else:
            self._ended.release()

    def pass_on(self):
        index = self._now
        self._next()
        self._take(index)


class _Executor(GridExecutor):
    """Of a launch along one axis."""

    chance = None

    def __call__(self, *arguments, **keywords):
        if not keywords.get("launch_cooperative_grid"):
            return super().__call__(*arguments, **keywords)
        names = inspect.getfullargspec(self.fn).args
        named = inspect.getcallargs(self.fn, *arguments, **{key: each for key, each in keywords.items() if key in names})
        scope = interpreter._patch_lang(self.fn)
        atomic = interpreter_builder.create_atomic_rmw

        def and_pass_on(*how):
            result = atomic(*how)
            turns.pass_on()
            return result

        interpreter_builder.create_atomic_rmw = and_pass_on
        try:
            known = {name: each if name in self.constexprs else interpreter._implicit_cvt(each) for name, each in named.items()}
            interpreter_builder.set_grid_dim(*self.grid, 1, 1)
            turns = _Turns([(index, 0, 0) for index in range(self.grid[0])], lambda: self.fn(**known), self.chance)
            turns.run()
        finally:
            interpreter_builder.create_atomic_rmw = atomic
            scope.restore()


@contextlib.contextmanager
def none():
    """In here low rank searches in launches one after the other."""
    original = low_rank_launch.side_by_side.programs
    low_rank_launch.side_by_side.programs = lambda _: 0
    try:
        yield
    finally:
        low_rank_launch.side_by_side.programs = original


@contextlib.contextmanager
def programs(count, seed, patience=10_000):
    """In here low rank searches in one launch, of ``count`` programs, which give up waiting after ``patience`` polls."""
    original, executor, known = low_rank_launch.side_by_side.programs, interpreter.GridExecutor, low_rank.PATIENCE
    low_rank.PATIENCE = barrier.PATIENCE = tl.constexpr(patience)
    low_rank_launch.side_by_side.programs = lambda _: count
    _Executor.chance = random.Random(seed)
    interpreter.GridExecutor = _Executor
    try:
        yield
    finally:
        low_rank_launch.side_by_side.programs, interpreter.GridExecutor = original, executor
        low_rank.PATIENCE = barrier.PATIENCE = known
