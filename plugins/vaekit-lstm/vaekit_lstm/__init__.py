"""An LSTM or GRU encoder and decoder, as a vaekit plugin."""

import vaekit
from vaekit_lstm.decoder import LSTMDecoder
from vaekit_lstm.encoder import LSTMEncoder


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [LSTMEncoder, LSTMDecoder]
