"""Dask's executor, without the case in which its futures never end.

`Client.get_executor` copies the outcome of a Dask future into one of `concurrent.futures` in a coroutine
(``_cascade_future`` in ``distributed/cfexecutor.py``, up to release 2026.8). If a worker dies after it has finished a
task and before its result was fetched, fetching raises inside of that coroutine, and nobody sets the future.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

__all__ = ["DaskExecutor", "is_dask"]


def is_dask(executor: Executor) -> bool:
    """Whether an executor is what `Client.get_executor` returns."""
    return any(
        (cls.__module__, cls.__name__) == ("distributed.cfexecutor", "ClientExecutor")
        for cls in type(executor).__mro__
    )


class DaskExecutor(Executor):
    """Sends calls to a Dask cluster; each future ends.

    Args:
        executor: of `Client.get_executor`, whose client and options are used.
    """

    def __init__(self, executor: Any) -> None:
        self._client: Any = executor._client
        self._options: dict[str, Any] = {**executor._kwargs, "pure": False}

    @property
    def _max_workers(self) -> int:
        return max(int(sum(self._client.nthreads().values())), 1)

    def submit(
        self, function: Callable[..., Any], /, *args: object, **named: object
    ) -> Future[Any]:
        """Send one call."""
        near: Future[object] = Future()
        far = self._client.submit(function, *args, **named, **self._options)

        def settle(done: Any) -> None:
            if not near.set_running_or_notify_cancel():
                return
            try:
                result = done.result()
            except BaseException as error:
                near.set_exception(error)
            else:
                near.set_result(result)

        def cancel(done: Future[object]) -> None:
            if done.cancelled():
                far.cancel()

        near.add_done_callback(cancel)
        far.add_done_callback(settle)
        return near

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the client open: it is the caller's."""
