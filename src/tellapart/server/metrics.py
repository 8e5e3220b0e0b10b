"""What a server counts of itself, as text for Prometheus (exposition format 0.0.4).

Routes are named by their pattern and runs by their id, so that the number of lines is bounded, whatever is asked.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Mapping

#: Upper ends of the buckets of answering times, in seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_Series = Mapping[tuple[tuple[str, str], ...], float]


class Metrics:
    """Counters of one server. Any thread may count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: dict[str, list[int]] = {}
        self._total: Counter[str] = Counter()
        self._images: Counter[tuple[str, str]] = Counter()
        self._batches: Counter[str] = Counter()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        with self._lock:
            self._requests[method, route, status] += 1
            counts = self._seconds.setdefault(route, [0] * (len(BUCKETS) + 1))
            counts[bisect.bisect_left(BUCKETS, seconds)] += 1
            self._total[route] += seconds  # type: ignore[assignment]

    def batch(self, run: str, images: int, bad: int) -> None:
        """A run was asked about some images at once; `bad` of them could not be read."""
        with self._lock:
            self._batches[run] += 1
            self._images[run, "answered"] += images - bad
            self._images[run, "refused"] += bad

    def text(self, waiting: Mapping[str, int]) -> str:
        """Everything, for a scraper. `waiting`: images in the queue of each run."""
        with self._lock:
            requests = {(("method", m), ("route", r), ("status", str(s))): n for (m, r, s), n in self._requests.items()}
            errors = {key: n for key, n in requests.items() if key[2][1] >= "400"}
            images = {(("run", run), ("outcome", outcome)): n for (run, outcome), n in self._images.items()}
            batches = {(("run", run),): n for run, n in self._batches.items()}
            lines = [
                *_lines("requests_total", "counter", "Requests answered.", requests),
                *_lines("errors_total", "counter", "Requests answered with a status of 400 or more.", errors),
                *self._histogram(),
                *_lines("images_total", "counter", "Images asked about.", images),
                *_lines("batches_total", "counter", "Times that a run was asked.", batches),
                *_lines("queue", "gauge", "Images that wait.", {(("run", run),): n for run, n in waiting.items()}),
            ]
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[str]:
        name = "tellapart_request_seconds"
        lines = [f"# HELP {name} Time from the first line of a request to its answer.", f"# TYPE {name} histogram"]
        for route, counts in self._seconds.items():
            below = 0
            for end, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
                below += count
                lines.append(f"{name}_bucket{_labels((('route', route), ('le', end)))} {below}")
            lines.append(f"{name}_sum{_labels((('route', route),))} {self._total[route]:.6f}")
            lines.append(f"{name}_count{_labels((('route', route),))} {below}")
        return lines


def _lines(name: str, kind: str, about: str, values: _Series) -> list[str]:
    head = [f"# HELP tellapart_{name} {about}", f"# TYPE tellapart_{name} {kind}"]
    return head + [f"tellapart_{name}{_labels(labels)} {value:g}" for labels, value in values.items()]


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    r"""Names and values as the format wants them.

    >>> _labels((("run", 'a "b"'),))
    '{run="a \\"b\\""}'
    """
    said = (value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for _, value in labels)
    return "{" + ",".join(f'{name}="{value}"' for (name, _), value in zip(labels, said, strict=True)) + "}"
