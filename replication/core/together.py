"""One stage in several processes: started, watched and ended together.

Whoever started them, the first process is the one that locks, writes, records and
speaks, through `run`; the others compute with it. What one of them refuses, the first
says, once, and all end; a process that is killed does not leave the others waiting.
"""

import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from rich.console import Console
from torch.distributed import PrefixStore, Store, TCPStore, rendezvous

from replication.core.files import BadInput
from replication.core.ranks import Rank, find_rank
from replication.core.settings import load
from replication.core.stage import Stage, run

Body = Callable[..., None]
_BEAT = 0.5  # seconds between two signs of life
_LOST = 120  # beats without one, after which a process is taken for lost
_SUSPECT = 4  # ... where work failed as it does when another process is gone
_TO_COME = timedelta(minutes=10)  # until all processes are there
_TO_GO = 20.0  # seconds until all have gone
_DONE = "done"


def run_together(
    body: Body, name: Callable[..., str], devices: Callable[..., int]
) -> None:
    """`run`, for a stage that may have several processes.

    Args:
        body: the stage; gets a `Stage` and the command line's arguments, in every
            process.
        name: the stage's name in dvc.yaml, from the same arguments.
        devices: how many processes to start where no launcher has: of the settings and
            the same arguments.
    """
    try:
        rank = find_rank(os.environ)
    except BadInput as error:
        if os.environ.get("SLURM_PROCID") == "0":
            print(*error.problems, sep="\n", file=sys.stderr)
        sys.exit(2)
    if rank is None:
        run(_starting_others(body, devices), name)
    elif rank.world == 1:
        run(body, name)
    else:
        os.environ.update(rank.environment())
        watch = Watch(_joined(rank), rank)
        if rank.first:
            _lead(watch, body, name)
        else:
            _follow(watch, body, name)


def _lead(watch: "Watch", body: Body, name: Callable[..., str]) -> None:
    """`run` in the first process; the others learn of whatever it refuses."""

    def watched(stage: Stage, *arguments: str) -> None:
        with watch.over(stage.name):
            body(stage, *arguments)

    try:
        run(watched, name)
    except SystemExit as exit_:  # of what `run` refused before the stage began
        watch.end(int(exit_.code or 0), [])
        raise


def _follow(watch: "Watch", body: Body, name: Callable[..., str]) -> None:
    """The stage in another process, which has no lock and says nothing."""
    arguments, stage_name = sys.argv[1:], ""
    with suppress(TypeError):  # of arguments that `run` refuses
        stage_name = name(*arguments)
    with watch.over(stage_name):
        body(Stage(name(*arguments), load()), *arguments)


def _starting_others(body: Body, devices: Callable[..., int]) -> Body:
    """The stage as the first of as many processes as its settings ask for."""

    def first(stage: Stage, *arguments: str) -> None:
        number = devices(stage.settings, *arguments)
        if number == 1:
            body(stage, *arguments)
            return
        rank, store, others = start_others(number)
        with Watch(store, rank, others).over(stage.name):
            body(stage, *arguments)

    return first


def start_others(number: int) -> tuple[Rank, Store, list[subprocess.Popen]]:
    """Start this command again, as each of the other processes of one machine.

    Implements: not in the paper: as Fabric would, which however kills the first process
    without a word when another one ends.

    Args:
        number: of processes, this one included; at least 2.

    Returns:
        This process's rank, which is in its environment from now on; where the
        processes meet; the others.
    """
    store = TCPStore(
        "127.0.0.1", 0, is_master=True, wait_for_workers=False, multi_tenant=True
    )
    ranks = [
        Rank(local, number, local, number, port=store.port) for local in range(number)
    ]
    main = sys.modules["__main__"].__spec__
    program = [sys.argv[0]] if main is None else ["-m", main.name]
    others = [
        subprocess.Popen(
            [sys.executable, *program, *sys.argv[1:]],
            env={**os.environ, **rank.environment()},
        )
        for rank in ranks[1:]
    ]
    os.environ.update(ranks[0].environment())
    return ranks[0], PrefixStore("stage", store), others


def _joined(rank: Rank) -> Store:
    """Where the processes meet, once this one is there.

    `run` has not begun: what goes wrong here is said here.
    """
    try:
        store, *_ = next(rendezvous("env://", rank.rank, rank.world, timeout=_TO_COME))
    except RuntimeError as error:
        if rank.local_rank == 0:
            first = str(error).strip().splitlines()[0]
            print(
                f"expected {rank.world} processes at {rank.address}:{rank.port} within "
                f"{_TO_COME}, got {type(error).__name__}: {first}",
                file=sys.stderr,
            )
        sys.exit(2)
    return PrefixStore("stage", store)


class Watch:
    """Signs of life between processes, and the word that all of them end.

    A thread looks after both: a process whose companion is gone may be waiting for it
    in the middle of a collective operation, from where nothing can be raised. A second
    one guards the first, which may wait as long for the place where they meet. Whoever
    claims the end first is the one whose words are said. How long a companion has been
    silent is counted in beats of one's own: who was asleep has lost nobody.
    """

    def __init__(
        self, store: Store, rank: Rank, started: Sequence[subprocess.Popen] = ()
    ) -> None:
        """Begin to give signs of life.

        Args:
            store: where all processes meet.
            rank: this one.
            started: the other processes, by rank, where this one started them.
        """
        self._store, self._rank, self._started = store, rank, started
        self._patience, self._name = _LOST, ""
        self._heard: dict[int, tuple[str, int]] = {}
        self._left = threading.Event()
        self._ended, self._beats = False, 0
        self._give_sign("0")
        self._threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self._look_after, self._guard)
        ]
        for thread in self._threads:
            thread.start()

    # ---- In the stage's own thread --------------------------------------------------

    @contextmanager
    def over(self, name: str) -> Iterator[None]:
        """Watch over the stage: however it ends here, it ends everywhere.

        Args:
            name: of the stage.
        """
        self._name = name
        if self._rank.first:
            self._store.set("began", "")
        try:
            yield
        except BadInput as error:
            self._after_the_first_began()
            self.end(2, error.problems)
            raise
        except KeyboardInterrupt:
            self.end(130, [f"{name}: interrupted; run it again and it goes on"])
            raise
        except Exception:
            self._wait_for_a_reason()
            if not (self._rank.first or self._ended_elsewhere()):
                traceback.print_exc()
            number = self._rank.rank
            self.end(1, [f"{name}: process {number} failed; its error stands above"])
            raise
        self._leave()

    def end(self, code: int, problems: Sequence[str]) -> None:
        """End every process, unless one of them has already done so.

        Returns in the first process alone, and there only where the end is its own: it
        has then still to say why.

        Args:
            code: of exit.
            problems: lines to be said, by the first process.
        """
        if self._ended:
            return
        self._ended = True
        if self._claim(code, problems) and self._rank.first:
            self._wait(lambda: self._count("gone") >= self._rank.world - 1)
            self._left.set()
            self._reap()
            return
        self._wait(lambda: self._store.check(["said"]))
        self._exit((self._end_said() or {"code": code})["code"])

    def _leave(self) -> None:
        """End well: the first process goes last, for the others meet at its place."""
        self._left.set()
        for thread in self._threads:
            thread.join()
        if self._rank.first:
            self._wait(lambda: all(map(self._done, range(1, self._rank.world))))
            self._reap()
        else:
            self._give_sign(_DONE)

    def _reap(self) -> None:
        """The operating system counts a child's memory once it is waited for."""
        for process in self._started:
            try:
                process.wait(_TO_GO)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _after_the_first_began(self) -> None:
        """What every process refuses, before the stage begins, the first one says."""
        if not self._rank.first:
            self._wait(lambda: self._store.check(["began"]) or bool(self._end_said()))

    def _wait_for_a_reason(self) -> None:
        """An operation fails where a companion is gone: the watch will say so.

        The first process is given less time: what fails in all, it says.
        """
        self._patience = _SUSPECT
        longest = (_SUSPECT + 2) * _BEAT * (1 if self._rank.first else 2)
        self._wait(lambda: bool(self._end_said()), longest)

    def _wait(self, until: Callable[[], bool], longest: float = _TO_GO) -> None:
        end = time.monotonic() + longest
        try:
            while not until() and time.monotonic() < end:
                time.sleep(0.05)
        except RuntimeError:  # the place where they meet is gone
            time.sleep(2 * _BEAT)

    # ---- In the watching thread -----------------------------------------------------

    def _look_after(self) -> None:
        try:
            while not self._left.wait(_BEAT):
                self._beats += 1
                self._give_sign(str(self._beats))
                end = self._end_said()
                if end is not None and end["rank"] != self._rank.rank:
                    self._obey(end)
                elif end is None and (lost := self._lost()) is not None:
                    self._give_up(lost)
        except RuntimeError:
            self._without_a_place()

    def _guard(self) -> None:
        """End this process where the other thread gets no answer for too long."""
        last, silent = 0, 0
        while not self._left.wait(_BEAT):
            silent = silent + 1 if self._beats == last else 0
            last = self._beats
            if silent > _LOST:
                self._without_a_place()

    def _without_a_place(self) -> None:
        """The place where they meet is gone, and with it the first process."""
        if self._rank.rank == 1 and not (self._left.is_set() or self._ended):
            self._say([self._about(0)])
        os._exit(2)

    def _give_sign(self, sign: str) -> None:
        self._store.set(f"beat/{self._rank.rank}", sign)

    def _lost(self) -> int | None:
        """Rank of a process of which nothing is heard any more."""
        for number, process in enumerate(self._started, start=1):
            if process.poll() not in (None, 0):
                return number
        others = range(1, self._rank.world) if self._rank.first else [0]
        return next((one for one in others if self._silent(one)), None)

    def _silent(self, other: int) -> bool:
        sign = self._sign(other)
        if sign in ("", _DONE):  # has yet to come, or has left
            return False
        last, heard = self._heard.get(other, ("", 0))
        if sign != last:
            self._heard[other] = (sign, self._beats)
            return False
        return self._beats - heard > self._patience

    def _done(self, other: int) -> bool:
        return self._sign(other) == _DONE

    def _sign(self, other: int) -> str:
        """The last sign of life of a process; empty where there was none."""
        key = f"beat/{other}"
        return self._store.get(key).decode() if self._store.check([key]) else ""

    def _about(self, lost: int) -> str:
        return (
            f"{self._name}: expected {self._rank.world} processes to the end, process "
            f"{lost} was lost: killed, perhaps for want of memory, or its machine is "
            "gone; run it again and it goes on"
        )

    def _give_up(self, lost: int) -> None:
        """Without the first process, the second is the one that speaks."""
        if not self._claim(2, [self._about(lost)]):
            return  # another one has: the next beat obeys
        if self._rank.first or lost == 0:
            self._say([self._about(lost)])
        self._exit(2)

    def _obey(self, end: dict[str, Any]) -> None:
        """Say why, if this is the first process; and end at once."""
        if self._rank.first:
            self._say(end["problems"])
            self._store.set("said", "")
            self._wait(lambda: self._count("gone") >= self._rank.world - 1, 2.0)
        self._exit(end["code"])

    def _say(self, problems: Sequence[str]) -> None:
        Console().show_cursor()  # a progress bar hides it
        print(*problems, sep="\n", file=sys.stderr, flush=True)

    def _exit(self, code: int) -> None:
        """End this process at once, whatever its other thread is waiting for."""
        with suppress(RuntimeError):
            self._store.add("gone", 1)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    # ---- The word that it is over ---------------------------------------------------

    def _claim(self, code: int, problems: Sequence[str]) -> bool:
        """Say that it is over; whether nobody had."""
        mine = json.dumps(
            {"rank": self._rank.rank, "code": code, "problems": list(problems)}
        )
        try:
            return self._store.compare_set("end", "", mine) == mine.encode()
        except RuntimeError:
            return False

    def _end_said(self) -> dict[str, Any] | None:
        said = self._store.check(["end"])
        return json.loads(self._store.get("end")) if said else None

    def _ended_elsewhere(self) -> bool:
        with suppress(RuntimeError):
            return self._end_said() is not None
        return True

    def _count(self, what: str) -> int:
        return self._store.add(what, 0)
