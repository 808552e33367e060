"""How much is taken at a time."""

from dataclasses import dataclass

from vaekit_runtime.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What the service takes, and how long it waits.

    Args:
        max_batch: examples that are computed at once.
        max_wait: seconds that an example waits for others at most, to be computed with them.
        queue: examples that are taken at a time, from when they wait until their answer is sent.
        max_bytes: of the body of one request.
        max_examples: of one request.
        timeout: seconds in which an answer is computed.
        patience: seconds in which a request is sent, or an answer taken.
        grace: seconds in which all that was taken is answered, once the service is told to stop.

    Raises:
        InputError: where a request that is within the limits would never find room.
    """

    max_batch: int = 64
    max_wait: float = 0.002
    queue: int = 1024
    max_bytes: int = 8 * 2**20
    max_examples: int = 256
    timeout: float = 30.0
    patience: float = 15.0
    grace: float = 20.0

    def __post_init__(self) -> None:
        if self.queue < self.max_examples:
            raise InputError(
                f"a queue of {self.queue} has no room for a request of {self.max_examples} examples: "
                "give a larger --queue, or a smaller --max-examples"
            )

    @property
    def max_held(self) -> int:
        """Bytes of all bodies that are held at a time."""
        return 8 * self.max_bytes
