"""An LSTM or GRU encoder, as a vaekit plugin."""

import vaekit
from vaekit_lstm.encoder import LSTMEncoder


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [LSTMEncoder]
