"""Where a rank is: generation, step, branch, transformer, attention call.

Fed by events only (scheduler, pipeline, transformer forward, attention call), each of which happens on every rank in
the same order; nothing here reads a clock or a tensor.

- A generation begins at the first forward after ``set_timesteps`` or after an outermost pipeline call began.
- A step ends at the outermost ``scheduler.step`` after at least one forward. Loops without a scheduler show many
  forwards and no step: after ``FORWARDS_WITHOUT_STEP`` of them each further forward counts as a step of its own.
- A branch is the n-th forward of one transformer within one step.
"""

from dataclasses import dataclass

FORWARDS_WITHOUT_STEP = 8


@dataclass(frozen=True)
class Place:
    """One attention call. ``transformer`` is its label, ``layer`` its index inside one forward."""

    generation: int
    step: int
    branch: int
    transformer: str
    layer: int


class Progress:
    def __init__(self, on_generation_begin, on_generation_end, on_step_end):
        self.generation = -1
        self.step = 0
        self._on_generation_begin = on_generation_begin
        self._on_generation_end = on_generation_end
        self._on_step_end = on_step_end
        self._pending = True
        self._open_generation = False
        self._pipelines = 0
        self._scheduler_depth = 0
        self._branches = {}
        self._forwards_in_step = 0
        self._stepless = False
        self._transformer = None
        self._branch = 0
        self._layer = -1
        self._attention_open = False

    # pipeline and scheduler

    def pipeline_begin(self):
        if self._pipelines == 0:
            self.end_generation()
        self._pipelines += 1

    def pipeline_end(self):
        self._pipelines -= 1
        if self._pipelines == 0:
            self.end_generation()

    def timesteps_set(self):
        self.end_generation()

    def scheduler_begin(self):
        self._scheduler_depth += 1

    def scheduler_end(self):
        self._scheduler_depth -= 1
        if self._scheduler_depth == 0 and self._forwards_in_step:
            self._end_step()

    # transformer and attention

    def forward_begin(self, transformer: str):
        """A forward of ``transformer`` starts. One without any attention call under it counts as a branch too."""
        if self._pending:
            self._begin_generation()
        if self._forwards_in_step >= FORWARDS_WITHOUT_STEP:
            self._stepless = True
        if self._stepless and self._forwards_in_step:
            self._end_step()
        self._transformer = transformer
        self._branch = self._branches.get(transformer, 0)
        self._branches[transformer] = self._branch + 1
        self._forwards_in_step += 1
        self._layer = -1
        self._attention_open = False

    def forward_end(self):
        self._transformer = None
        self._attention_open = False

    @property
    def in_forward(self) -> bool:
        return self._transformer is not None

    @property
    def stepless(self) -> bool:
        return self._stepless

    @property
    def attention_open(self) -> bool:
        return self._attention_open

    def attention_begin(self):
        self._layer += 1
        self._attention_open = True

    def attention_end(self):
        self._attention_open = False

    def place(self) -> Place:
        return Place(self.generation, self.step, self._branch, self._transformer, self._layer)

    # boundaries

    def end_generation(self):
        """The running generation is over, if there is one; the next forward begins another."""
        self._pending = True
        if self._open_generation:
            self._open_generation = False
            self._on_generation_end(self.generation, self.step)

    def _begin_generation(self):
        self._pending = False
        self._open_generation = True
        self._stepless = False
        self.generation += 1
        self.step = 0
        self._branches = {}
        self._forwards_in_step = 0
        self._on_generation_begin(self.generation)

    def _end_step(self):
        self.step += 1
        self._branches = {}
        self._forwards_in_step = 0
        self._transformer = None
        self._on_step_end(self.generation, self.step)
