"""Media: text, image, audio, video, series and pose; messages and samples; bounded decoding."""

from polymodal.media.image import Image
from polymodal.media.part import LIMITS, Limits, MediaError, Pose, Text
from polymodal.media.sample import Invalid, Message, Part, Sample, part_of, verify
from polymodal.media.series import Series
from polymodal.media.sound import Audio
from polymodal.media.video import Frame, Video

__all__ = [
    "LIMITS",
    "Audio",
    "Frame",
    "Image",
    "Invalid",
    "Limits",
    "MediaError",
    "Message",
    "Part",
    "Pose",
    "Sample",
    "Series",
    "Text",
    "Video",
    "part_of",
    "verify",
]
