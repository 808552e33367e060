"""A request that is not answered, and why."""

import pydantic_core


class Refused(Exception):
    """What a client is told: a status, and one sentence that says what was asked, what there is and what to do.

    Args:
        status: of HTTP.
        why: the sentence.
        retry: whether the same request may be answered a second later.
        headers: of the answer, besides those that all have.
    """

    def __init__(self, status: int, why: str, *, retry: bool = False, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.body = pydantic_core.to_json({"error": why})
        self.headers = {**(headers or {}), **({"retry-after": "1"} if retry else {})}
