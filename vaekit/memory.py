"""What the C library does with memory that it is given back."""

import torch


def keep_freed() -> None:
    """Have it kept for what is allocated next, instead of given back to the system and cleared by it anew at every step.

    glibc gives back what is free at the end of its heap where that is more than twice the largest block it has seen freed.
    It counts blocks of up to 32 MB, so one of almost that is made and freed; nothing is written to it, and other libraries
    do not mind. Without it some processes had 600 page faults a step of a dense network, a fifth of its time, others none.
    """
    torch.empty(_LARGEST - _ROOM, dtype=torch.uint8)


_LARGEST = 32 * 2**20
_ROOM = 2**16  # for alignment and the library's own notes
