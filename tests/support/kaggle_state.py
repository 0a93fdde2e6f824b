"""What the Kaggle on this machine knows and does: kernels, datasets, submissions, leaderboard.

Each call takes the request's JSON and returns the reply's, or raises `Refused`. How requests
arrive and how they go wrong is the part of `tests/support/kaggle_server.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, TypeVar

from PIL import Image

from tests.support import forks

OWNER = "alice"
COMPETITION = "gan-getting-started"
FINISHED = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")

T = TypeVar("T")
Json = dict[str, Any]
Files = Mapping[str, bytes | Path]
LayOut = Callable[[Path], None]
StartScript = Callable[[str, Path, Path], subprocess.Popen[bytes] | forks.Process]


class Refused(Exception):  # noqa: N818 - no fault of the program: the site says no
    """The call is answered with an HTTP error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass
class KernelVersion:
    """One pushed version and its run."""

    number: int
    request: Json
    """The push as it was sent."""
    started: datetime
    status: str = "QUEUED"
    failure_message: str = ""
    log: list[Json] = field(default_factory=list)
    files: dict[str, bytes | Path] = field(default_factory=dict)
    """The output by relative name."""
    polls: int = 0
    runner: Runner | None = field(default=None, repr=False)
    begun: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @property
    def source(self) -> str:
        """Return the text that was pushed: a script, or a notebook's JSON."""
        return str(self.request.get("text", ""))

    def say(self, data: str, stream: str = "stdout") -> None:
        """Add a line, with its end, to the log."""
        seconds = round(time.monotonic() - self.begun, 3)
        self.log.append({"stream_name": stream, "time": seconds, "data": data})

    def finish(
        self, status: str = "COMPLETE", files: Files | None = None, failure_message: str = ""
    ) -> None:
        """End the run."""
        self.files = dict(files or {})
        self.failure_message = failure_message
        self.status = status  # last: whoever sees the end sees all of it


class Runner:
    """How a pushed version runs."""

    def start(self, run: KernelVersion, lay_out: LayOut) -> None:
        """Begin; `lay_out` writes the mounts into a folder."""

    def polled(self, run: KernelVersion) -> None:
        """Somebody looked at the status, or watches the log."""

    def stop(self) -> None:
        """End whatever still runs and remove its files."""


class Held(Runner):
    """RUNNING until the test calls `finish` of the version."""

    def start(self, run: KernelVersion, lay_out: LayOut) -> None:
        run.status = "RUNNING"


class Scripted(Runner):
    """QUEUED, RUNNING and then `outcome` after `polls` looks; nothing is executed.

    The lines of the log appear one after the other while it is RUNNING.
    """

    def __init__(
        self,
        outcome: str = "COMPLETE",
        log: Sequence[str] = (),
        files: Files | None = None,
        polls: int = 2,
        failure_message: str = "",
    ) -> None:
        self._outcome = outcome
        self._log = [line if line.endswith(("\n", "\r")) else f"{line}\n" for line in log]
        self._files = dict(files or {})
        self._polls = polls
        self._failure_message = failure_message

    def start(self, run: KernelVersion, lay_out: LayOut) -> None:
        if not self._polls:
            self._go_on(run, len(self._log))

    def polled(self, run: KernelVersion) -> None:
        if run.finished:
            return
        run.polls += 1
        if run.polls > 1:  # the first look finds it QUEUED
            self._go_on(run, len(self._log) * (run.polls - 1) // self._polls)

    def _go_on(self, run: KernelVersion, lines: int) -> None:
        run.status = "RUNNING"
        for line in self._log[len(run.log) : lines]:
            run.say(line)
        if run.polls > self._polls or not self._polls:
            run.finish(self._outcome, self._files, self._failure_message)


class Really(Runner):
    """Runs the source in a process of its own, as `start_script(text, inputs, working)` does.

    Exit code 0 is COMPLETE, anything else and the time limit are ERROR; in both cases what lies
    in the working folder is the output.
    """

    def __init__(self, limit_seconds: float = 60, start_script: StartScript | None = None) -> None:
        self._limit = limit_seconds
        self._start_script = start_script
        self._lock = threading.Lock()
        self._stopped = False
        self._threads: list[threading.Thread] = []
        self._processes: list[subprocess.Popen[bytes] | forks.Process] = []
        self._folders: list[Path] = []

    def start(self, run: KernelVersion, lay_out: LayOut) -> None:
        folder = Path(tempfile.mkdtemp(prefix="kaggle-kernel-"))
        thread = threading.Thread(target=self._run, args=(run, lay_out, folder))
        self._folders.append(folder)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._processes:
                _kill(process)
        for thread in self._threads:
            thread.join()
        self._processes.clear()  # what belongs to a process goes with it
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, run: KernelVersion, lay_out: LayOut, folder: Path) -> None:
        working = folder / "working"
        working.mkdir()
        try:
            lay_out(folder / "input")
            failure = self._execute(run, folder / "input", working)
        except Exception as error:
            # A thread's exception would go unseen; as the kernel's failure a test reports it.
            failure = f"The local Kaggle could not run the kernel: {error!r}"
        files = {
            p.relative_to(working).as_posix(): p for p in sorted(working.rglob("*")) if p.is_file()
        }
        run.finish("ERROR" if failure else "COMPLETE", files, failure)

    def _execute(self, run: KernelVersion, inputs: Path, working: Path) -> str:
        """Run the source to its end and return the failure message, empty if there is none."""
        with self._lock:
            if self._stopped:
                return "The local Kaggle was stopped."
            process = (self._start_script or _sandboxed)(run.source, inputs, working)
            self._processes.append(process)
        run.status = "RUNNING"
        readers = [
            threading.Thread(target=_follow, args=(run, pipe, name))
            for pipe, name in ((process.stdout, "stdout"), (process.stderr, "stderr"))
            if pipe is not None
        ]
        for reader in readers:
            reader.start()
        limit = min(self._limit, run.request.get("sessionTimeoutSeconds", self._limit))
        failure = ""
        try:
            code = process.wait(limit)
            if code:
                failure = f"Your notebook was stopped because of an error: exit code {code}"
        except subprocess.TimeoutExpired:
            failure = f"Your notebook tried to run longer than {limit:g} seconds"
        _kill(process)  # its children too, or they would keep the pipes open
        for reader in readers:
            reader.join()
        return failure


def _sandboxed(text: str, inputs: Path, working: Path) -> forks.Process:
    from tests.support.kernel_sandbox import start_script

    return start_script(text, inputs, working)


def _kill(process: subprocess.Popen[bytes] | forks.Process) -> None:
    """Kill a process, and with it all others if it leads a group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _follow(run: KernelVersion, pipe: IO[bytes], stream: str) -> None:
    """Add what comes through a pipe to the log, line by line; a progress bar's line is one."""
    rest = b""
    with pipe:
        while chunk := os.read(pipe.fileno(), 65536):
            *lines, rest = re.split(rb"(?<=\n)|(?<=\r)(?!\n)", rest + chunk)
            for line in lines:
                run.say(line.decode(errors="replace"), stream)
    if rest:
        run.say(rest.decode(errors="replace"), stream)


@dataclass
class Kernel:
    """A kernel and its versions, the latest last."""

    name: str
    title: str
    id: int
    versions: list[KernelVersion] = field(default_factory=list)


@dataclass
class Dataset:
    """A dataset with the files of its latest version."""

    title: str
    is_private: bool
    files: dict[str, bytes]
    version: int = 1
    polls_left: int = 0
    """Looks at its status before it is what `outcome` says."""
    outcome: str = "READY"

    @property
    def status(self) -> str:
        return "BLOBS_RECEIVED" if self.polls_left else self.outcome


@dataclass
class Upload:
    """A blob on its way."""

    name: str
    length: int
    content: bytearray = field(default_factory=bytearray)


@dataclass
class Submission:
    """One submission; `fields` is what the API shows."""

    fields: Json
    content: bytes | Path
    polls_left: int

    @property
    def pending(self) -> bool:
        return bool(self.fields["status"] == "PENDING")


class KaggleState:
    """The site's data. A test sets the attributes; the calls change them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.files: dict[str, bytes] = {}
        """Downloads by name; the competition's data is the zip named after it."""

        self.kernels: dict[str, Kernel] = {}
        """By "owner/slug"."""
        self.runner: Runner = Scripted()
        """How the next version that is pushed runs."""
        self.runners: dict[str, Runner] = {}
        """Other ones for single kernels, by "owner/slug"."""
        self.older_mounts = False
        """Mount at input/SLUG instead of input/competitions/SLUG and input/datasets/OWNER/SLUG."""
        self.push_reference = "/code/"
        """What stands before "owner/slug" in the reply to a push."""
        self.unknown_kernel = 404
        """The HTTP status for a kernel that does not exist."""
        self.latest_alone = False
        """Whether the number of a version is taken no notice of."""

        self.datasets: dict[str, Dataset] = {}
        """By "owner/slug"."""
        self.ready_after = 0
        """Looks at the status of a new dataset or version before it is READY."""
        self.uploads: dict[str, Upload] = {}

        self.rules_accepted = True
        self.submissions: list[Submission] = []
        """The newest last."""
        self.max_daily_submissions = 5
        self.submitted_today = 0
        self.submitted_in_total = 0
        self.scored_after = 2
        """Looks at a submission before it has a score."""
        self.scores: list[float] = [78.1]
        """The next scores in order; the last one stays."""
        self.minimum_images = 7000
        self.team = "Team Alice"
        self.leaderboard: list[tuple[str, float]] = [("Claude", 41.5), ("Camille", 63.25)]

        self.gpu_used_seconds = 3600
        self.gpu_allowed_seconds = 108_000
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._started_runners: list[Runner] = []

    def stop(self) -> None:
        """End all runs."""
        for runner in self._started_runners:
            runner.stop()

    # Kernels

    def save_kernel(self, request: Json) -> Json:
        """Make a new version and run it, without those sources that are invalid."""
        owner, _, slug = request.get("slug", "").partition("/")
        title = request.get("newTitle") or slug
        name = f"{owner}/{slug_of(title)}"
        reply: Json = {
            "invalidTags": [],
            "invalidModelSources": [],
            "invalidKernelSources": [
                s for s in request.get("kernelDataSources", []) if s not in self.kernels
            ],
            "invalidCompetitionSources": [
                s for s in request.get("competitionDataSources", []) if not self._is_known(s)
            ],
            "invalidDatasetSources": [
                s for s in request.get("datasetDataSources", []) if not self._is_ready(s)
            ],
        }
        error = _push_fault(request, owner, title)
        if error:
            return reply | {"ref": "", "url": "", "error": error}
        kernel = self.kernels.setdefault(name, Kernel(name, title, 777 + len(self.kernels)))
        kernel.title = title
        run = self._run_version(kernel, request)
        return reply | {
            "ref": f"{self.push_reference}{name}",
            "url": f"https://www.kaggle.com/code/{name}",
            "versionNumber": run.number,
            "error": "",
            "kernelId": kernel.id,
        }

    def push_elsewhere(self, name: str, runner: Runner | None = None) -> KernelVersion:
        """Make another version of a kernel, as if on the website, and return it."""
        with self.lock:
            kernel = self.kernels[name]
            return self._run_version(kernel, kernel.versions[-1].request, runner)

    def _run_version(
        self, kernel: Kernel, request: Json, runner: Runner | None = None
    ) -> KernelVersion:
        runner = runner or self.runners.get(kernel.name, self.runner)
        run = KernelVersion(len(kernel.versions) + 1, request, self.clock(), runner=runner)
        kernel.versions.append(run)
        if runner not in self._started_runners:
            self._started_runners.append(runner)
        runner.start(run, lambda folder: self._lay_out(request, folder))
        return run

    def _lay_out(self, request: Json, inputs: Path) -> None:
        """Write what a kernel finds under /kaggle/input."""
        inputs.mkdir()
        slugs = request.get("competitionDataSources", [])
        for slug in (s for s in slugs if f"{s}.zip" in self.files):
            target = inputs / slug if self.older_mounts else inputs / "competitions" / slug
            with zipfile.ZipFile(io.BytesIO(self.files[f"{slug}.zip"])) as archive:
                archive.extractall(target)
        for name in filter(self._is_ready, request.get("datasetDataSources", [])):
            target = (
                inputs / name.split("/")[1] if self.older_mounts else inputs / "datasets" / name
            )
            for file, content in self.datasets[name].files.items():
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                (target / file).write_bytes(content)

    def kernel(self, request: Json) -> tuple[Kernel, KernelVersion]:
        """Return the kernel that a request names and the version, the latest if none is named.

        Raises:
            Refused: if there is no such kernel or version.
        """
        kernel = self.kernels.get(f"{request['userName']}/{request['kernelSlug']}")
        if kernel is None:
            raise Refused(self.unknown_kernel, "Permission 'kernels.get' was denied")
        label = "" if self.latest_alone else request.get("versionLabel", "")
        if label and not re.fullmatch(r"v\d+", label):
            raise Refused(404, f"There is no version {label}")
        number = int(label.removeprefix("v") or len(kernel.versions))
        if not 1 <= number <= len(kernel.versions):
            raise Refused(404, f"There is no version {number}")
        return kernel, kernel.versions[number - 1]

    def list_kernels(self, request: Json) -> Json:
        """Return a page of the account's own kernels, the one that ran last first."""
        if request.get("group") != "PROFILE":
            raise Refused(400, "This site lists the kernels of its one account alone")
        found = [k for k in self.kernels.values() if request.get("search", "") in k.name]
        found.sort(key=lambda k: k.versions[-1].started, reverse=True)
        kernels, token = page_of(found, request)
        rows = [
            {
                "ref": kernel.name,
                "title": kernel.title,
                "slug": kernel.name.split("/")[1],
                "author": OWNER,
                "lastRunTime": moment(kernel.versions[-1].started),
            }
            for kernel in kernels
        ]
        return {"kernels": rows, "nextPageToken": token}

    def get_kernel(self, request: Json) -> Json:
        kernel, run = self.kernel(request)
        owner, slug = kernel.name.split("/")
        same = (
            "language", "kernelType", "isPrivate", "enableGpu", "enableTpu", "enableInternet",
            "machineShape", "datasetDataSources", "kernelDataSources", "competitionDataSources",
            "modelDataSources", "dockerImage",
        )  # fmt: skip
        metadata = {key: run.request[key] for key in same if key in run.request} | {
            "id": kernel.id,
            "ref": kernel.name,
            "title": kernel.title,
            "author": owner,
            "slug": slug,
            "lastRunTime": moment(run.started),
            "currentVersionNumber": len(kernel.versions),
        }
        blob = {
            "source": run.request.get("text", ""),
            "language": run.request.get("language", ""),
            "kernelType": run.request.get("kernelType", ""),
            "slug": slug,
        }
        return {"metadata": metadata, "blob": blob}

    def get_kernel_session_status(self, request: Json) -> Json:
        _, run = self.kernel(request)
        self.look_at(run)
        return {"status": run.status, "failureMessage": run.failure_message}

    def look_at(self, run: KernelVersion) -> None:
        """Let a scripted run go on."""
        with self.lock:
            if run.runner is not None:
                run.runner.polled(run)

    def list_kernel_session_output(self, request: Json) -> Json:
        """Return a page of the output; as on the site there is none before the end."""
        kernel, run = self.kernel(request)
        if not run.finished:
            return {"files": [], "log": "", "nextPageToken": ""}
        names, token = page_of(sorted(run.files), request)
        files = [
            {
                "fileName": name,
                "url": f"/files/{name}?{output_query(kernel.name, run.number, name)}",
            }
            for name in names
        ]
        return {"files": files, "log": json.dumps(run.log), "nextPageToken": token}

    def output(self, query: Mapping[str, str], name: str) -> bytes | Path:
        """Return the output file behind a signed address.

        Raises:
            Refused: if the signature is wrong or there is no such file.
        """
        kernel, number = query.get("kernel", ""), int(query.get("version", 0))
        if query.get("sign") != signature(f"{kernel}/{number}/{name}"):
            raise Refused(403, "SignatureDoesNotMatch")
        files = self.kernels[kernel].versions[number - 1].files
        if name not in files:
            raise Refused(404, "NoSuchKey")
        return files[name]

    def get_accelerator_quota_statistics(self, _: Json) -> Json:
        return {
            "quotaRefreshTime": moment(self.clock() + timedelta(days=3)),
            "gpuQuota": {
                "timeUsed": f"{self.gpu_used_seconds}s",
                "totalTimeAllowed": f"{self.gpu_allowed_seconds}s",
            },
            "tpuQuota": {},
        }

    # Datasets

    def add_dataset(
        self, name: str, files: Mapping[str, bytes], title: str = "", is_private: bool = True
    ) -> Dataset:
        """Make "owner/slug" as if on the website."""
        self.datasets[name] = Dataset(title or name, is_private, dict(files))
        return self.datasets[name]

    def get_dataset_status(self, request: Json) -> Json:
        dataset = self.datasets.get(f"{request['ownerSlug']}/{request['datasetSlug']}")
        if dataset is None:
            raise Refused(404, "Not found")
        status = dataset.status
        dataset.polls_left = max(dataset.polls_left - 1, 0)
        return {"status": status}

    def start_blob_upload(self, request: Json) -> Json:
        token = f"blob-{len(self.uploads) + 1}"
        self.uploads[token] = Upload(request["name"], request.get("contentLength", 0))
        return {"token": token, "createUrl": f"/blobs/{token}/{request['name']}"}

    def create_dataset(self, request: Json) -> Json:
        name = f"{request.get('ownerSlug', OWNER)}/{request['slug']}"
        if name in self.datasets:
            return _dataset_error(f"The requested title {request['title']!r} is already in use")
        files = self._uploaded(request)
        if files is None:
            return _dataset_error("Some files were not uploaded")
        dataset = self.add_dataset(name, files, request["title"], request.get("isPrivate", False))
        dataset.polls_left = self.ready_after
        return _dataset_reply(name)

    def create_dataset_version(self, request: Json) -> Json:
        name = f"{request['ownerSlug']}/{request['datasetSlug']}"
        if name not in self.datasets:
            raise Refused(404, "Not found")
        files = self._uploaded(request["body"])
        if files is None:
            return _dataset_error("Some files were not uploaded")
        dataset = self.datasets[name]
        dataset.files = files
        dataset.version += 1
        dataset.polls_left = self.ready_after
        return _dataset_reply(name)

    def _uploaded(self, request: Json) -> dict[str, bytes] | None:
        """Return the files whose tokens a request names, or None if one has not arrived whole."""
        uploads = [self.uploads.get(file["token"]) for file in request.get("files", [])]
        files = {u.name: bytes(u.content) for u in uploads if u and len(u.content) == u.length}
        return files if len(files) == len(uploads) else None

    def _is_ready(self, name: str) -> bool:
        return name in self.datasets and self.datasets[name].status == "READY"

    # The competition

    def _is_known(self, slug: str) -> bool:
        return slug == COMPETITION or f"{slug}.zip" in self.files

    def get_competition(self, request: Json) -> Json:
        slug = self._known(request)
        return {
            "id": 21755,
            "ref": f"https://www.kaggle.com/competitions/{slug}",
            "title": slug,
            "url": f"https://www.kaggle.com/competitions/{slug}",
            "userHasEntered": self.rules_accepted,
            "maxDailySubmissions": self.max_daily_submissions,
            "isKernelsSubmissionsOnly": True,
            "submissionsDisabled": False,
            "evaluationMetric": "MiFID",
            "teamCount": len(self.leaderboard),
            "deadline": moment(self.clock() + timedelta(days=1000)),
        }

    def list_data_files(self, request: Json) -> Json:
        slug = self._known(request)
        if f"{slug}.zip" not in self.files:
            return {"files": [], "nextPageToken": ""}
        with zipfile.ZipFile(io.BytesIO(self.files[f"{slug}.zip"])) as archive:
            entries, token = page_of(archive.infolist(), request)
        files = [
            {
                "ref": entry.filename,
                "name": entry.filename,
                "totalBytes": entry.file_size,
                "creationDate": moment(self.clock()),
            }
            for entry in entries
        ]
        return {"files": files, "nextPageToken": token}

    def get_submission_limits(self, request: Json) -> Json:
        self._known(request)
        return {
            "numToday": self.submitted_today,
            "numTotal": self.submitted_in_total,
            "numAllowedNow": max(self.max_daily_submissions - self.submitted_today, 0),
            "limitedByTotal": False,
        }

    def create_code_submission(self, request: Json) -> Json:
        slug = self._known(request)
        if not self.rules_accepted:
            raise Refused(403, "You must accept this competition's rules before you can submit")
        content = self._submitted_output(request)
        if self.submitted_today >= self.max_daily_submissions:
            raise Refused(400, "Your team has used its Submission allowance for today")
        self.submitted_today += 1
        self.submitted_in_total += 1
        ref = 50_000_001 + len(self.submissions)
        fields = {
            "ref": ref,
            "totalBytes": size_of(content),
            "date": moment(self.clock()),
            "description": request.get("submissionDescription", ""),
            "errorDescription": "",
            "fileName": request["fileName"],
            "publicScore": "",
            "privateScore": "",
            "status": "PENDING",
            "submittedBy": OWNER,
            "submittedByRef": OWNER,
            "teamName": self.team,
            "url": f"https://www.kaggle.com/submissions/{ref}",
        }
        self.submissions.append(Submission(fields, content, self.scored_after))
        return {"message": f"Successfully submitted to {slug}", "ref": ref}

    def _submitted_output(self, request: Json) -> bytes | Path:
        name = f"{request['kernelOwner']}/{request['kernelSlug']}"
        versions = self.kernels[name].versions if name in self.kernels else []
        number = request.get("kernelVersion", len(versions))
        if not 1 <= number <= len(versions):
            raise Refused(400, f"{name} has no version {number}")
        run = versions[number - 1]
        if run.status != "COMPLETE":
            raise Refused(400, f"Version {number} of {name} is {run.status}, not COMPLETE")
        if request.get("fileName") not in run.files:
            raise Refused(400, f"Version {number} of {name} has no file {request.get('fileName')}")
        content: bytes | Path = run.files[request["fileName"]]
        return content

    def list_submissions(self, request: Json) -> Json:
        self._known(request)
        for submission in self.submissions:
            self._score(submission)
        newest_first = [s.fields for s in reversed(self.submissions)]
        fields, token = page_of(newest_first, request)
        return {"submissions": fields, "nextPageToken": token}

    def get_submission(self, request: Json) -> Json:
        for submission in self.submissions:
            if submission.fields["ref"] == request.get("ref"):
                self._score(submission)
                return submission.fields
        raise Refused(404, "Not found")

    def _score(self, submission: Submission) -> None:
        """Give the submission its score, or its error, if it has been looked at often enough."""
        if not submission.pending:
            return
        if submission.polls_left:
            submission.polls_left -= 1
            return
        fault = submission_fault(submission.content, self.minimum_images)
        if fault:
            submission.fields |= {"status": "ERROR", "errorDescription": fault}
        else:
            score = self.scores.pop(0) if len(self.scores) > 1 else self.scores[0]
            submission.fields |= {"status": "COMPLETE", "publicScore": str(score)}

    def get_leaderboard(self, request: Json) -> Json:
        """Return a page of the leaderboard, with the user's own best."""
        self._known(request)
        own = [float(s.fields["publicScore"]) for s in self.submissions if s.fields["publicScore"]]
        teams = [*self.leaderboard, *([(self.team, min(own))] if own else [])]
        rows = [
            {
                "teamId": 1000 + place,
                "teamName": team,
                "submissionDate": moment(self.clock()),
                "score": str(score),
            }
            for place, (team, score) in enumerate(sorted(teams, key=lambda row: row[1]))
        ]
        page, token = page_of(rows, request)
        return {"submissions": page, "nextPageToken": token}

    def _known(self, request: Json) -> str:
        slug: str = request["competitionName"]
        if not self._is_known(slug):
            raise Refused(404, "Not found")
        return slug


def slug_of(title: str) -> str:
    """Return the last part of the address that a title gets."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def page_of(items: Sequence[T], request: Json) -> tuple[Sequence[T], str]:
    """Return the page that a request asks for by token or number, and the next one's token."""
    size = request.get("pageSize", 20)
    start = int(request.get("pageToken") or size * (request.get("page", 1) - 1))
    end = start + size
    return items[start:end], str(end) if end < len(items) else ""


def signature(what: str) -> str:
    return hashlib.sha256(f"signed {what}".encode()).hexdigest()[:16]


def output_query(kernel: str, version: int, name: str) -> str:
    sign = signature(f"{kernel}/{version}/{name}")
    return f"kernel={kernel}&version={version}&sign={sign}"


def size_of(content: bytes | Path) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def submission_fault(content: bytes | Path, minimum: int) -> str:
    """Return why a file cannot be scored, empty if it can."""
    try:
        with zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content) as zf:
            sizes = [Image.open(io.BytesIO(zf.read(name))).size for name in zf.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        return f"Your submission could not be read: {error}"
    if any(size != (256, 256) for size in sizes):
        return "Every image must be 256x256"
    if len(sizes) < minimum:
        return f"Your submission must hold at least {minimum} images, found {len(sizes)}"
    return ""


def _push_fault(request: Json, owner: str, title: str) -> str:
    if owner != OWNER:
        return f"You cannot push to {owner}"
    if len(title) < 5:
        return "The title must be at least five characters"
    if not request.get("machineShape"):
        return "A machineShape is required here: what runs without one is not settled"
    return ""


def _dataset_reply(name: str) -> Json:
    url = f"https://www.kaggle.com/datasets/{name}"
    return {"ref": name, "url": url, "status": "Ok", "error": ""}


def _dataset_error(message: str) -> Json:
    return {"ref": "", "url": "", "status": "Error", "error": message}
