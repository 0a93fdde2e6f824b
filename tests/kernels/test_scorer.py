"""The scorer: its dataset is made once, survives faults, and is attached to what is pushed."""

import os
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import pytest

from kernels.scorer_files import INCEPTION, OFFLINE, pack_wheel, scorer_files
from pipeline.core.errors import ScoringError
from pipeline.kaggle import patience
from tests.support.clock import WAIT, StandingTime
from tests.support.helpers import TINY_RUN
from tests.support.kaggle_desk import RUN, Desk, output
from tests.support.kaggle_server import (
    BLOBS,
    DATASETS,
    KERNELS,
    Fault,
    Instead,
    KaggleServer,
    LostReply,
    Reply,
    Slow,
    Unheard,
    as_json,
    broken,
    refusal,
    too_many,
)
from tests.support.kaggle_state import Scripted
from tests.support.painter_process import PainterProcess

TINY = bytes(range(256)) * 2000
"""Takes the place of the weights."""
WEIGHTS = "weights-inception-2015-12-05.pth"
PUSH = ("kernel", "push", "--preset", "demo", *TINY_RUN, "--run")
CREATE = f"{DATASETS}/CreateDataset"
STATE = f"{DATASETS}/GetDatasetStatus"
START = f"{BLOBS}/StartBlobUpload"
SAVE = f"{KERNELS}/SaveKernel"
BLOB = f"blobs/{WEIGHTS}"
PATIENCE = "TEST_PATIENCE"
"""A variable: how many seconds a push waits for its scorer."""
LOST = "This kernel will not score itself"


def tiny() -> None:
    """Let `TINY` be the released weights; where it is asked for, let a push have less patience."""
    from kernels import scorer, scorer_files
    from pipeline.scoring import weights

    for module in (weights, scorer_files):
        vars(module)["RELEASED_HASH_PREFIX"] = sha256(TINY).hexdigest()[:8]
    patience = os.environ.get(PATIENCE, scorer.FINDING_SECONDS)
    vars(scorer)["FINDING_SECONDS"] = float(patience)


@pytest.fixture(scope="module")
def process() -> PainterProcess:
    return PainterProcess(begin=tiny)


@pytest.fixture
def desk(tmp_path: Path, process: PainterProcess) -> Iterator[Desk]:
    """Return a desk whose cache holds the weights; kernels there end at once."""
    with KaggleServer() as server:
        server.runner = Scripted(files=output(), polls=0)
        desk = Desk(server, process, tmp_path / "desk")
        weights().write_bytes(TINY)
        yield desk
        desk.refuse_secrets()


def weights() -> Path:
    """Return where the cache keeps the weights; `conftest` makes a cache for each test."""
    return Path(os.environ["PAINTER_CACHE"]) / WEIGHTS


def pushed(desk: Desk, run: str = RUN) -> str:
    """Push; return what was said besides."""
    done = desk.painter(*PUSH, run)
    assert done.code == 0, done.err
    return done.err


def attached(desk: Desk, run: str = RUN) -> list[str]:
    """Return the datasets of a run's latest kernel."""
    request = desk.server.kernels[f"alice/painter-{Path(run).name}"].versions[-1].request
    return list(request.get("datasetDataSources", []))


def uploads(desk: Desk) -> int:
    return desk.server.called().count(START)


def line_of(said: str) -> str:
    """Return the one line on what is lost."""
    [line] = [line for line in said.replace("\r", "\n").splitlines() if line.startswith(LOST)]
    assert "`painter score` scores it after the pull" in line
    return line


def only_dataset(desk: Desk) -> str:
    """Return the name of the one dataset, which is whole."""
    [(name, dataset)] = desk.server.datasets.items()
    [wheel] = [n for n in dataset.files if n != WEIGHTS]
    assert dataset.files[WEIGHTS] == TINY
    assert dataset.files[wheel] == pack_wheel("torch-fidelity")[1]
    assert dataset.is_private
    return name


@dataclass
class HalfArrives(Fault):
    """Half of a file is kept; then something happens, and the site answers 500, or not at all."""

    server: KaggleServer
    happens: Callable[[], object] = lambda: None
    silent: bool = field(default=False, kw_only=True)

    def reply(self, handle: Callable[[], Reply]) -> Reply | None:
        handle()
        [upload] = [u for u in self.server.uploads.values() if u.name == WEIGHTS]
        del upload.content[len(TINY) // 2 :]
        self.happens()
        return None if self.silent else refusal(500)


def sent(desk: Desk) -> list[int]:
    """Return the size of each part of the weights that was sent."""
    found = [len(r.body) for r in desk.server.requests if r.name == BLOB]
    return [size for size in found if size]


# --- Once, and from then on


def test_the_first_push_says_what_it_uploads_and_all_later_ones_attach_it(desk: Desk) -> None:
    said = pushed(desk)
    name = only_dataset(desk)
    assert f"Uploading {name}, a private dataset of yours (1 MB, once)" in said
    assert "the Inception weights and torch-fidelity" in said
    assert "`painter kernel push --no-scorer` leaves it out" in said
    assert attached(desk) == [name]
    assert pushed(desk, "runs/second") == ""
    assert attached(desk, "runs/second") == [name]
    assert uploads(desk) == 2
    assert f"{name} is there" in desk.works("kernel", "scorer")
    assert uploads(desk) == 2


def test_without_it_nothing_is_asked_uploaded_or_attached(desk: Desk) -> None:
    desk.works(*PUSH, RUN, "--no-scorer")
    assert not [name for name in desk.server.called() if name.startswith((DATASETS, BLOBS))]
    assert attached(desk) == []


def test_a_dry_run_names_it_and_asks_nobody(desk: Desk) -> None:
    shown = desk.works(*PUSH, RUN, "--dry-run")
    assert "scorer    alice/painter-scorer-" in shown
    assert "1 MB: attached; uploaded before that if no scorer is there" in shown
    assert "scorer " not in desk.works(*PUSH, RUN, "--dry-run", "--no-scorer")
    assert desk.server.called() == []


def test_the_same_push_is_not_made_again_for_a_scorer_that_it_lacked(desk: Desk) -> None:
    desk.server.refusals[START] = refusal(403)
    pushed(desk)
    desk.works("kernel", "pull", "--run", RUN)
    desk.server.refusals.clear()
    assert "is on Kaggle already" in desk.works(*PUSH, RUN)
    assert desk.server.called().count(SAVE) == 1
    assert desk.server.datasets == {}
    # Said to be without one, it is another kernel.
    desk.works(*PUSH, RUN, "--no-scorer")
    assert desk.server.called().count(SAVE) == 2


def test_build_attaches_what_is_there_and_uploads_nothing(desk: Desk) -> None:
    build = ("kernel", "build", "--preset", "demo", *TINY_RUN, "--out", "kernel")
    done = desk.painter(*build)
    assert "`painter kernel scorer` makes what it takes" in line_of(done.err)
    assert desk.read("kernel/kernel-metadata.json")["dataset_sources"] == []
    assert desk.server.mutating() == []
    desk.works("kernel", "scorer")
    desk.works(*build)
    assert desk.read("kernel/kernel-metadata.json")["dataset_sources"] == [only_dataset(desk)]


def test_a_scorer_without_a_download_is_attached_where_there_is_no_other(desk: Desk) -> None:
    weights().unlink()
    shown = desk.works("kernel", "scorer", "--features", OFFLINE)
    [name] = desk.server.datasets
    assert f"{name} is ready, private to you" in shown
    assert pushed(desk) == ""
    assert attached(desk) == [name]
    weights().write_bytes(TINY)
    desk.works("kernel", "scorer")
    pushed(desk, "runs/second")
    [best] = desk.server.datasets.keys() - {name}
    assert attached(desk, "runs/second") == [best]


# --- Faults: nothing twice, nothing lost


def test_a_500_in_the_middle_of_the_upload_costs_the_rest_alone(desk: Desk) -> None:
    desk.server.faults[BLOB].append(HalfArrives(desk.server))
    pushed(desk)
    assert attached(desk) == [only_dataset(desk)]
    assert sent(desk) == [len(TINY), len(TINY) // 2]
    assert uploads(desk) == 2


def test_ctrl_c_leaves_the_upload_to_be_gone_on_with(desk: Desk) -> None:
    def interrupt() -> None:
        os.kill(desk.process.pid, signal.SIGINT)
        time.sleep(0.3)  # the client hears of it before the connection closes

    desk.server.faults[BLOB].append(HalfArrives(desk.server, interrupt, silent=True))
    message = desk.fails(130, *PUSH, RUN)
    assert "no kernel was pushed. What has arrived is kept: the same command goes on" in message
    assert "`painter kernel push --no-scorer` does without" in message
    assert desk.server.called().count(SAVE) == 0
    assert desk.server.datasets == {}
    pushed(desk)
    assert attached(desk) == [only_dataset(desk)]
    assert sent(desk) == [len(TINY), len(TINY) // 2]
    assert uploads(desk) == 2
    assert not list((weights().parent / "uploads").iterdir())


def test_an_upload_that_the_site_has_forgotten_begins_anew(desk: Desk) -> None:
    desk.server.faults[BLOB] += [HalfArrives(desk.server), broken(for_ever=True)]
    assert "Call again later" in line_of(pushed(desk))
    assert attached(desk) == []
    desk.server.faults[BLOB][:] = [Instead(other=refusal(410))]
    pushed(desk, "runs/second")
    assert attached(desk, "runs/second") == [only_dataset(desk)]
    assert sent(desk) == [len(TINY), len(TINY)]


def test_a_lost_answer_is_looked_up(desk: Desk) -> None:
    desk.server.faults[CREATE].append(LostReply())
    pushed(desk)
    assert attached(desk) == [only_dataset(desk)]
    assert desk.server.called().count(CREATE) == 1


def test_what_has_arrived_is_not_sent_again_after_an_answer_that_never_came(desk: Desk) -> None:
    desk.server.faults[CREATE].append(Unheard())
    assert "Kaggle cannot be reached" in line_of(pushed(desk))
    pushed(desk, "runs/second")
    assert attached(desk, "runs/second") == [only_dataset(desk)]
    assert sent(desk) == [len(TINY)]
    assert uploads(desk) == 2


def test_a_short_pause_is_taken_and_a_long_one_left_to_the_next_push(desk: Desk) -> None:
    desk.server.faults[START] += [too_many("0"), too_many("60")]
    assert "too many requests (429)" in line_of(pushed(desk))
    assert attached(desk) == []
    pushed(desk, "runs/second")
    assert attached(desk, "runs/second") == [only_dataset(desk)]


def test_a_dataset_that_is_still_being_made_is_waited_for_and_not_made_again(desk: Desk) -> None:
    desk.server.ready_after = 3
    pushed(desk)
    name = only_dataset(desk)
    desk.server.datasets[name].polls_left = 5
    said = pushed(desk, "runs/second")
    assert f"Kaggle is still making {name} ready" in said
    assert attached(desk, "runs/second") == [name]
    assert (uploads(desk), desk.server.called().count(CREATE)) == (2, 1)
    assert desk.server.called()[-1] == SAVE


def test_a_dataset_that_kaggle_could_not_process_is_uploaded_again_on_demand(desk: Desk) -> None:
    pushed(desk)
    name = only_dataset(desk)
    desk.server.datasets[name].outcome = "FAILED"
    line = line_of(pushed(desk, "runs/second"))
    assert f"could not process the dataset {name}" in line
    assert "`painter kernel scorer` uploads it again" in line
    assert uploads(desk) == 2
    desk.server.after[f"{DATASETS}/CreateDatasetVersion"] = lambda _: setattr(
        desk.server.datasets[name], "outcome", "READY"
    )
    assert f"{name} is ready" in desk.works("kernel", "scorer")
    assert desk.server.datasets[name].version == 2


@pytest.mark.parametrize(
    ("call", "reply", "reason"),
    [
        (START, refusal(403, "Verify your phone"), 'Kaggle says: "Verify your phone"'),
        (CREATE, as_json({"status": "Error", "error": "no space"}), "Kaggle refused the dataset"),
    ],
)
def test_a_refused_upload_is_told_in_a_line_and_the_kernel_is_pushed(
    desk: Desk, call: str, reply: Reply, reason: str
) -> None:
    desk.server.refusals[call] = reply
    assert reason in line_of(pushed(desk))
    assert attached(desk) == []
    assert reason in desk.fails(2, "kernel", "scorer")


def test_without_weights_and_network_the_push_says_so_and_goes_on(desk: Desk) -> None:
    weights().unlink()
    dead = "http://127.0.0.1:9"
    desk.extra = {"https_proxy": dead, "HTTPS_PROXY": dead}
    began = time.monotonic()
    line = line_of(pushed(desk))
    assert time.monotonic() - began < WAIT
    assert "The Inception weights are not in" in line
    assert f"`painter kernel scorer --features {OFFLINE}`" in line
    assert attached(desk) == []
    assert "cannot be downloaded" in desk.fails(2, "kernel", "scorer")


def test_a_site_that_does_not_answer_is_left_after_the_time_for_it(desk: Desk) -> None:
    desk.extra = {PATIENCE: "0.5"}
    desk.server.faults[STATE].append(Slow(seconds=2))
    assert "Kaggle cannot be reached" in line_of(pushed(desk))
    assert desk.server.called().count(STATE) == 1
    assert attached(desk) == []


# --- Parts


def test_patience_is_for_all_calls_together_and_begins_anew_where_something_moves() -> None:
    time = StandingTime()
    assert patience.shortened((15, 90)) == (15, 90)
    with patience.limited(8, time.clock):
        time.sleep(5)
        assert patience.shortened((15, 90)) == (3, 3)
        patience.renew()
        time.sleep(1)
        assert patience.seconds_left() == 7
        patience.renew(60)
        assert patience.shortened((15, 90)) == (15, 60)
        time.sleep(100)
        assert patience.seconds_left() == 0
        assert patience.shortened((15, 90)) == (patience.SHORTEST, patience.SHORTEST)
    assert patience.seconds_left() == float("inf")


def test_a_name_stands_for_a_content(tmp_path: Path) -> None:
    files = scorer_files(OFFLINE)
    assert files == scorer_files(OFFLINE)
    assert len({files.slug, scorer_files(INCEPTION).slug}) == 2
    for path in files.write(tmp_path):
        with zipfile.ZipFile(path) as wheel:
            assert {Path(n).suffix for n in wheel.namelist()} <= {".py", ".pth", ".md", ""}
            assert wheel.testzip() is None
        # Libraries list what is installed as they are imported: no wheel may stand in their way.
        [found] = metadata.distributions(path=[str(path)])
        assert path.name.startswith(found.name.replace("-", "_"))
    with pytest.raises(ScoringError, match="no-such-package is not installed here"):
        pack_wheel("no-such-package")
