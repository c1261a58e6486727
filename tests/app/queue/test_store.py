"""The queue's table: order, states, files that are damaged, full, foreign or newer."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time

import pytest

from app.queue import claims, database, order
from app.queue.claims import LostError, Settled
from app.queue.database import FILE
from app.queue.store import Asked, Store
from trainer.core.errors import ResourceError, RunError

GREEDY = 200


def asked(name: str, device: str = "auto") -> Asked:
    return Asked(name, "train", device, "/runs", "{}")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path) as opened:
        yield opened


def waiting(store: Store) -> list[str]:
    return [entry.name for entry in store.entries(("queued",))]


def taken(store: Store) -> str | None:
    worker = next(iter(claims.holders(store).values()), None) or claims.enter(
        store, "cpu", share=False
    )
    entry = claims.claim(store, worker)
    return entry and entry.name


# Order


def test_jobs_are_taken_in_the_order_they_came_but_priority_goes_first(store):
    store.add([asked("a"), asked("b")])
    store.add([asked("urgent")], priority=5)
    store.add([asked("early"), asked("earlier")], first=True)
    names = [taken(store) for _ in range(6)]
    assert names == ["urgent", "early", "earlier", "a", "b", None]


def test_a_waiting_job_is_moved_to_an_end_or_beside_another(store):
    store.add([asked(name) for name in "abcd"])
    order.to_edge(store, store.find("c"), last=False)
    assert waiting(store) == ["c", "a", "b", "d"]
    order.to_edge(store, store.find("a"), last=True)
    assert waiting(store) == ["c", "b", "d", "a"]
    order.beside(store, store.find("a"), store.find("b"), "before")
    assert waiting(store) == ["c", "a", "b", "d"]
    order.beside(store, store.find("c"), store.find("b"), "after")
    assert waiting(store) == ["a", "b", "c", "d"]
    order.prioritise(store, store.find("d"), 1)
    assert waiting(store) == ["d", "a", "b", "c"]
    order.beside(store, store.find("b"), store.find("d"), "after")
    assert waiting(store) == ["d", "b", "a", "c"]


def test_a_job_can_be_moved_between_the_same_two_a_hundred_times(store):
    store.add([asked(name) for name in "axyb"])
    for n in range(100):
        order.beside(store, store.find("xy"[n % 2]), store.find("a"), "after")
        assert waiting(store) == ["a", "xy"[n % 2], "yx"[n % 2], "b"]


def test_only_waiting_jobs_are_moved(store):
    store.add([asked("a"), asked("b")])
    assert taken(store) == "a"
    with pytest.raises(RunError, match="it is running"):
        order.to_edge(store, store.find("a"), last=True)
    with pytest.raises(RunError, match="it is running"):
        order.beside(store, store.find("b"), store.find("a"), "after")


# Names


def test_a_name_that_stands_there_twice_asks_for_the_number(store):
    store.add([asked("fox"), asked("fox"), asked("dog"), asked("7")])
    assert store.find("dog").id == 3
    assert store.find("2").name == "fox"
    assert store.find("7").id == 4
    with pytest.raises(RunError, match="2 jobs are called 'fox': 1, 2"):
        store.find("fox")
    with pytest.raises(RunError, match="no job 'cat'"):
        store.find("cat")


def test_numbers_are_not_given_twice(store):
    store.add([asked("a")])
    store.clear(["queued"])
    assert store.add([asked("b")]) == [2]


# Who works on what


def test_a_worker_takes_only_what_its_device_can_do(store):
    store.add([asked("second", "cuda:1"), asked("any card", "cuda"), asked("cpu only", "cpu")])
    worker = claims.enter(store, "cuda:0", share=False)
    entry = claims.claim(store, worker)
    assert entry is not None
    assert entry.name == "any card"
    assert claims.claim(store, worker) is None


def test_a_second_worker_on_a_device_is_refused_unless_it_shares(store):
    claims.enter(store, "cuda:0", share=False)
    with pytest.raises(RunError, match=rf"process {os.getpid()}\) is on 'cuda:0' already"):
        claims.enter(store, "cuda:0", share=False)
    claims.enter(store, "cuda:0", share=True)
    claims.enter(store, "cuda:1", share=False)


def test_a_worker_that_was_given_up_cannot_write_over_its_successor(store):
    store.add([asked("a")])
    first = claims.enter(store, "cpu", share=False)
    second = claims.enter(store, "cpu", share=True)
    lost = claims.claim(store, first)
    kept = claims.take_over(store, second, lost)
    assert claims.take_over(store, first, lost) is None
    for act in (
        lambda: claims.note(store, lost, stage="training"),
        lambda: claims.look(store, lost),
        lambda: claims.settle(store, lost, Settled("failed"), 1.0),
    ):
        with pytest.raises(LostError):
            act()
    claims.settle(store, kept, Settled("completed", 0), 2.0)
    assert store.find("a").state == "completed"


def greedy(folder: str, results) -> None:
    with Store(folder) as store:
        worker = claims.enter(store, "cpu", share=True)
        names = []
        while (entry := claims.claim(store, worker)) is not None:
            names.append(entry.name)
            claims.settle(store, entry, Settled("completed", 0), 0.0)
        results.put(names)


def test_two_processes_take_each_of_200_jobs_once(store, tmp_path):
    store.add([asked(str(n)) for n in range(GREEDY)])
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=greedy, args=(tmp_path, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    shares = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(map(int, shares[0] + shares[1])) == list(range(GREEDY))
    assert store.counts() == {"completed": GREEDY}


def test_queues_can_be_made_by_many_processes_at_once(tmp_path):
    line = (
        "import sys; from pathlib import Path; from app.queue.store import Asked, Store;"
        "s = Store(Path(sys.argv[1])); s.add([Asked('a', 'train', 'auto', '', '{}')])"
    )
    made = [subprocess.Popen([sys.executable, "-c", line, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(60) for process in made] == [0] * 4
    with Store(tmp_path) as store:
        assert store.counts() == {"queued": 4}


# Ten thousand


def test_ten_thousand_jobs_are_listed_and_taken_quickly(store):
    store.add([asked(f"job-{n}") for n in range(10_000)])
    began = time.perf_counter()
    assert len(store.entries()) == 10_000
    listed = time.perf_counter() - began
    began = time.perf_counter()
    assert taken(store) == "job-0"
    assert time.perf_counter() - began < 0.5  # benchmarks/job_queue.py: about 5 ms
    assert listed < 2  # about 40 ms


@pytest.mark.parametrize("state", ["queued", "running"])
def test_the_next_job_is_found_by_the_index(store, state):
    plan = store.database.execute(
        "EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE state = ? AND device IN ('auto', 'cpu')"
        " ORDER BY priority DESC, position, id LIMIT 1",
        (state,),
    ).fetchall()
    told = " ".join(row[3] for row in plan)
    assert "jobs_in_order" in told
    assert "TEMP B-TREE" not in told


# Files that are not as they should be


def test_a_queue_of_a_newer_sweetspot_is_refused_and_left_alone(tmp_path):
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(RunError, match="of version 99, and this Sweetspot reads up to 1"):
        Store(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_queue_of_an_older_sweetspot_is_brought_up_to_date(tmp_path, monkeypatch):
    with Store(tmp_path) as store:
        store.add([asked("a")])
    added = "ALTER TABLE workers ADD COLUMN mood TEXT NOT NULL DEFAULT 'good'"
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, added))
    with Store(tmp_path) as store:
        assert waiting(store) == ["a"]
        assert store.database.execute("SELECT mood FROM workers").fetchall() == []
        assert store.database.execute("PRAGMA user_version").fetchone() == (2,)


def test_another_programs_database_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / FILE) as raw:
        raw.execute("CREATE TABLE cats (name TEXT)")
    raw.close()
    with pytest.raises(RunError, match="another program's"):
        Store(tmp_path)


@pytest.mark.parametrize("content", [b"not a database at all", b"\xff" * 8192])
def test_a_file_that_is_no_database_is_one_sentence_and_left_as_it_is(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(RunError, match="is damaged"):
        Store(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_damaged_page_is_one_sentence(tmp_path):
    with Store(tmp_path) as store:
        store.add([asked(f"job-{n}") for n in range(2000)])
    path = tmp_path / FILE
    content = bytearray(path.read_bytes())
    content[4096 : len(content) - 4096] = os.urandom(len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(RunError, match="is damaged"), Store(tmp_path) as store:
        store.entries()


def test_a_full_disk_is_one_sentence_and_loses_nothing(store):
    store.add([asked("a")])
    (pages,) = store.database.execute("PRAGMA page_count").fetchone()
    store.database.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(ResourceError, match="the disk is full; the queue is as it was"):
        store.add([asked("b" * 50_000)])
    assert waiting(store) == ["a"]
    store.database.execute("PRAGMA max_page_count = 100000")
    store.add([asked("c")])
    assert waiting(store) == ["a", "c"]


def fill(store: Store) -> None:
    for _ in range(200):
        store.add([asked("b" * 5000)])


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk")
def test_a_disk_that_is_really_full_is_one_sentence_and_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        with Store(disk) as store:
            store.add([asked("a")])
            with pytest.raises(ResourceError, match="the disk is full"):
                fill(store)
            names = waiting(store)
            assert names[0] == "a"
            assert set(names[1:]) <= {"b" * 5000}
        with Store(disk) as again:
            assert waiting(again) == names
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be written"):
        Store(tmp_path / "file" / "queue")


def test_a_queue_on_a_network_drive_keeps_no_memory_shared_by_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "is_remote", lambda folder: True)
    with Store(tmp_path) as store:
        assert store.database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_queue_of_one_machine_is_refused_from_another_until_it_is_shared(tmp_path, monkeypatch):
    Store(tmp_path).close()
    with monkeypatch.context() as far:
        far.setattr(database, "is_remote", lambda folder: True)
        with pytest.raises(RunError, match="for one machine only"):
            Store(tmp_path)
    with Store(tmp_path) as store:
        database.share(store.database, store.path)
    monkeypatch.setattr(database, "is_remote", lambda folder: True)
    Store(tmp_path).close()
