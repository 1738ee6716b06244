"""One take by itself, as it sounds in the result."""

import numpy as np

from rhapsode.audio.encode import encode
from rhapsode.deliver.timeline import Timeline, TimelineOptions
from rhapsode.model import AudioFormat, Boundary, Joint


def encode_piece(
    take: bytes, audio_format: AudioFormat, options: TimelineOptions, gain_db: float | None = None
) -> bytes:
    """A file with the take alone: gain, faded edges, limiter; of its neighbours' peaks the limiter knows nothing here.

    Raises:
        BlobError: The bytes are damaged.
        SampleRateMismatch: It is of another rate than the timeline.
    """
    timeline = Timeline(options)
    ready, _ = timeline.add_take(take, Joint(Boundary.NONE, gain_db=gain_db))
    return encode(np.concatenate((ready, timeline.finish())), audio_format, options.rate)
