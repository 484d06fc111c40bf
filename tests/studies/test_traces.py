"""Bandwidth over time: in and out of files, and our own links."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.studies.online import EXAMPLES
from experiments.studies.traces import PACKET, Trace, Walk, read_csv, read_mahimahi, walking_trace
from kd_offload.tasks import MBIT

FILES = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WIDE = (1e-9, 1e15)


def rng(seed=0):
    return np.random.default_rng(seed)


@st.composite
def traces(draw, most=20):
    steps = draw(st.lists(st.integers(1, 5000), min_size=1, max_size=most))  # ms
    rates = st.lists(st.floats(1e3, 2e6), min_size=len(steps), max_size=len(steps))
    ends = np.cumsum(steps) / 1e3
    return Trace("drawn", [0.0, *ends[:-1]], draw(rates), ends[-1])


@settings(deadline=None)
@given(traces(), st.lists(st.integers(0, 300_000), min_size=1, max_size=20))
def test_at_is_the_segment_found_by_walking(trace, moments):
    # On eighths of a millisecond off the corners, where rounding cannot tip a moment over one.
    t = np.array(moments) / 1e3 + 1 / 8e3
    for one, found in zip(t, trace.at(t)):
        left = one
        while left >= trace.end:
            left -= trace.end
        i = 0
        while i + 1 < len(trace.times) and trace.times[i + 1] <= left:
            i += 1
        assert found == trace.bandwidth[i]
    assert trace.at(t.reshape(-1, 1)).shape == (len(t), 1)


def test_a_trace_begins_anew_at_its_end():
    trace = Trace("t", [0, 1, 3], [5.0, 6.0, 7.0])
    moments = [0, 0.99, 1, 2.9, 3, 4.9, 5, 6, 8, 10, 501]
    assert trace.end == 5
    assert trace.at(moments).tolist() == [5, 5, 6, 6, 7, 7, 5, 6, 7, 5, 6]
    assert Trace("t", [0], [4.0]).at(1e6) == 4.0
    assert Trace("t", [0, 1], [5.0, 6.0], end=10).at([9.5, 10.5]).tolist() == [6, 5]
    with pytest.raises(ValueError, match="read-only"):
        trace.bandwidth[0] = 1


@pytest.mark.parametrize(
    ("times", "bandwidth", "end", "said"),
    [
        ([], [], None, "times: shape"),
        ([0, 1], [1.0], None, "times: shape"),
        ([1, 2], [1.0, 1.0], None, r"times: \[1. 2.\], expected finite seconds from 0 on"),
        ([0, np.nan], [1.0, 1.0], None, "times: .*nan"),
        ([0, 2, 1], [1.0, 1.0, 1.0], None, "strictly increasing"),
        ([0, 1], [1.0, -1.0], None, "bandwidth: -1.0 bytes/s at 1 s"),
        ([0, 1], [0.0, 0.0], None, "bandwidth: 0 bytes/s all the time"),
        ([0, 1], [1.0, np.nan], None, "bandwidth: nan"),
        ([0, 1], [np.inf, 1.0], None, "bandwidth: inf"),
        ([0, 1], ["a", "b"], None, "'a'"),
        ([0, 1], [1.0, 1.0], 1.0, "end: 1.0"),
        ([0, 1], [1.0, 1.0], np.inf, "end: inf"),
    ],
)
def test_a_bad_trace_is_refused(times, bandwidth, end, said):
    with pytest.raises(ValueError, match=said):
        Trace("bad", times, bandwidth, end)


@FILES
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=300))
def test_mahimahi_lines_are_packets(tmp_path, lines):
    path = tmp_path / "link"
    path.write_text("".join(f"{ms}\n" for ms in sorted(lines)))
    trace, last = read_mahimahi(path), max(lines)
    assert trace.end == last / 1e3 and trace.name == "link"
    for i, start in enumerate(trace.times):
        end = min(start + 0.5, last / 1e3)
        count = sum(round(1e3 * start) < ms <= round(1e3 * end) for ms in lines)
        assert trace.bandwidth[i] == pytest.approx(count * 1500 / (end - start))


def test_mahimahi_by_hand(tmp_path):
    path = tmp_path / "hand.up"
    path.write_text("0\n1\n1\n500\n501\n\n2000\n")
    trace = read_mahimahi(path)
    assert (trace.name, PACKET, trace.end) == ("hand", 1500, 2.0)
    assert trace.times.tolist() == [0, 0.5, 1, 1.5]
    # Four packets; one; none: the link is down; one.
    assert trace.bandwidth.tolist() == [4 * 3000, 3000, 0, 3000]


def test_csv_columns_by_name(tmp_path):
    path = tmp_path / "log.csv"
    rows = "\ufeff# a drive\n\nsite, bandwidth_mbit_s ,time_s\nA,0.8,1\nB,0.4,1.5\n# gap\nA,1.6,3\n"
    path.write_text(rows, encoding="utf-8")
    trace = read_csv(path)
    assert trace.times.tolist() == [0, 0.5, 2] and trace.bandwidth.tolist() == [1e5, 5e4, 2e5]
    assert trace.end == 3.5 and trace.name == "log"


HEAD = "time_s,bandwidth_mbit_s\n"


@pytest.mark.parametrize(
    ("read", "content", "said"),
    [
        (read_mahimahi, None, "log cannot be read"),
        (read_mahimahi, "", "ends at 0 ms"),
        (read_mahimahi, "1\n2.5\n", "cannot be read"),
        (read_mahimahi, "1\n\n-3\n", "-3 ms after a later time"),
        (read_mahimahi, "1\nten\n", "cannot be read .*'ten'"),
        (read_mahimahi, "5\n4\n", "4 ms after a later time"),
        (read_mahimahi, "1600000000000\n", "ends at 1600000000000 ms"),
        (read_mahimahi, "\udcff", "log cannot be read .*utf-8"),
        (read_csv, "\udcff", "log cannot be read .*utf-8"),
        (read_csv, "", "log cannot be read"),
        (read_csv, HEAD, "log: times: shape"),
        (read_csv, "time_s,mbit\n0,1\n", "no column 'bandwidth_mbit_s', its columns are time"),
        (read_csv, HEAD + "0,1\n1,x\n", "log: .*'x'"),
        (read_csv, HEAD + "0,1\n1\n", "bandwidth: nan bytes/s at 1 s"),
        (read_csv, HEAD + "2,1\n1,1\n", "strictly increasing"),
        (read_csv, HEAD + "0,0\n", "log: bandwidth: 0 bytes/s all the time"),
        (read_csv, HEAD + "0,-1\n", "bandwidth: -1"),
        (read_csv, HEAD + "0,nan\n", "bandwidth: nan"),
    ],
)
def test_a_bad_log_is_refused(tmp_path, read, content, said):
    if content is not None:
        (tmp_path / "log").write_text(content, errors="surrogateescape")
    with pytest.raises(ValueError, match=said):
        read(tmp_path / "log")


def test_walking_trace_is_the_process_it_says():
    steady = Walk(median=1e6, deviation=0.5, memory=20, fade_every=1e12, limits=WIDE)
    z = np.log(walking_trace(rng(2), 40_000, steady).bandwidth / 1e6) / 0.5
    assert abs(z.mean()) < 0.15 and z.std() == pytest.approx(1, abs=0.1)
    assert np.corrcoef(z[10:], z[:-10])[0, 1] == pytest.approx(np.exp(-10 / 20), abs=0.05)
    flat = Walk(median=1e6, deviation=0.0, depth=0.1, limits=WIDE)
    faded = walking_trace(rng(2), 40_000, flat).bandwidth
    assert set(np.round(faded, 3)) == {1e5, 1e6}
    assert (faded < 5e5).mean() == pytest.approx(4 / 64, abs=0.015)
    default = walking_trace(rng(3), 5000).bandwidth
    assert default.min() >= 4 * MBIT and default.max() <= 100 * MBIT


def test_the_example_files_are_the_generators():
    """They are of our own making: this is how."""
    limits = (4.5 * MBIT, 15 * MBIT)
    tram = Walk(0.5, 7 * MBIT, 0.3, memory=5, fade_every=1e9, limits=limits)
    made, read = walking_trace(rng(11), 12, tram), read_mahimahi(EXAMPLES[0])
    assert read.end == 12
    assert np.abs(read.bandwidth - made.bandwidth).max() <= PACKET / 0.5 + 1
    stroll = Walk(4, 30 * MBIT, memory=60, fade_every=120, fade_s=15)
    made, read = walking_trace(rng(12), 600, stroll), read_csv(EXAMPLES[1])
    assert read.end == 600 and np.abs(read.bandwidth - made.bandwidth).max() <= 0.00501 * MBIT
