"""Work of an iterator done ahead of its consumer, by one thread or by several."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Queue
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(items: Iterable[Item], depth: int = 1) -> Generator[Item]:
    """Yields the items, the next ones being made meanwhile.

    Reading files, copying arrays and arithmetic on them run outside Python's global lock, so that
    they overlap with what the consumer does. An error of the iterator is raised at its place. When
    the consumer stops early, so does the thread, after the item it is at.

    Args:
        items: what is iterated in the thread.
        depth: items that may wait to be taken.
    """
    queue: Queue[tuple[str, Item | BaseException | None]] = Queue(depth)
    stopped = threading.Event()

    def work() -> None:
        end: tuple[str, BaseException | None] = ("end", None)
        iterator = iter(items)
        try:
            for item in iterator:
                queue.put(("item", item))
                if stopped.is_set():
                    break
        except BaseException as error:  # noqa: BLE001 — raised again where it is waited for
            end = ("error", error)
        finally:
            if isinstance(iterator, Generator):
                iterator.close()
        queue.put(end)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = queue.get()
            if kind == "end":
                return
            if isinstance(value, BaseException) and kind == "error":
                raise value
            yield value  # type: ignore[misc]  # an item, by its kind
    finally:
        stopped.set()
        while thread.is_alive():
            try:  # room for the item that the thread may be waiting with
                queue.get(timeout=0.01)
            except Empty:
                thread.join(timeout=0.01)


def made_ahead(
    make: Callable[[Item], Made], items: Iterable[Item], threads: int
) -> Generator[Made]:
    """Yields what is made of each item, in order, several being made meanwhile.

    An error is raised at its place. When the consumer stops early, what has been begun is ended.

    Args:
        make: what each thread does, of one item.
        items: looked at by the consumer's thread.
        threads: how many items are worked on at once, besides the one that is taken.
    """
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
