"""Takes to a stream that is heard while the rest is still being made."""

from collections.abc import Mapping

from rhapsode.audio.encode import NO_TAGS, StreamEncoder
from rhapsode.deliver.timeline import Timeline, TimelineOptions
from rhapsode.model import AudioFormat, Joint


class LiveStream:
    """The same sound as the finished file, take by take. Used by one thread at a time.

    Args:
        audio_format: Any.
        options: How to join; those of the finished file.
        tags: Metadata, as for :class:`~rhapsode.audio.encode.FileEncoder`.
    """

    def __init__(self, audio_format: AudioFormat, options: TimelineOptions, tags: Mapping[str, str] = NO_TAGS) -> None:
        self._timeline = Timeline(options)
        self._encoder = StreamEncoder(audio_format, options.rate, tags)

    def add(self, take: bytes, joint: Joint) -> bytes:
        """Bytes to send now that ``take`` is there; all of it but the last fifth of a second at most.

        Raises:
            BlobError: The take's bytes are damaged.
            SampleRateMismatch: It is of another rate than the timeline.
        """
        return self._encoder.encode(self._timeline.add_take(take, joint)[0])

    def finish(self) -> bytes:
        """The last bytes. A stream without them is broken: leave them out when the job failed."""
        return self._encoder.encode(self._timeline.finish()) + self._encoder.finish()
