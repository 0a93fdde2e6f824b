"""A painter that does nothing, but behaves: a program in the place of the commands of studies.

Each call adds its words to calls.txt beside the run folder. What mode.txt there says is the command
that fails, or slow for a training that takes ten seconds.
"""

import hashlib
import json
import signal
import sys
import time
from pathlib import Path


def main(words: list[str]) -> None:
    """Leave in the run folder what the command of these words leaves."""
    run = Path(words[words.index("--run") + 1])
    run.mkdir(exist_ok=True, parents=True)
    with (run.parent / "calls.txt").open("a") as calls:
        calls.write(json.dumps(words) + "\n")
    said = run.parent / "mode.txt"
    mode = said.read_text() if said.exists() else ""
    if mode == words[0]:
        print("something\rthe reason", file=sys.stderr)
        sys.exit(2)
    if words[0] == "train":
        train(run, 200 if mode == "slow" else 2)
    if words[0] == "generate":
        (run / "images.zip").write_text("i")
        made = {"images_sha256": digest(run / "images.zip"), "count": 6, "seed": 0, "output": {}}
        made["snapshot_sha256"] = digest(run / "snapshot.safetensors")
        (run / "images.json").write_text(json.dumps(made))
    if words[0] == "score":
        count = int(words[words.index("--max-images") + 1])
        score = {"mifid": 80.0, "features": "efficientnet-lite0", "n_generated": count}
        score["images_sha256"] = digest(run / "images.zip")
        (run / "score.json").write_text(json.dumps(score))


def train(run: Path, scores: int) -> None:
    """Leave a score every twentieth of a second, and then what a training leaves."""

    def stop(*_: object) -> None:
        (run / "stopped").touch()
        sys.exit(130)

    signal.signal(signal.SIGTERM, stop)
    for number in range(scores):
        with (run / "scores.jsonl").open("a") as file:
            file.write(json.dumps({"images_seen": number, "mifid": 100.0 + number}) + "\n")
        time.sleep(0.05)
    if not (run / "snapshot.safetensors").exists():
        (run / "snapshot.safetensors").write_text("s")
    data = {"path": "", "domain": None, "count": 1, "content_hash": "abc"}
    (run / "provenance.json").write_text(json.dumps({"data": data}))
    (run / "config.json").write_text("{}")


def digest(file: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main(sys.argv[1:])
