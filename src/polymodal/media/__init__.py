"""Media: text, image, audio, video, series and pose; messages and samples; bounded decoding."""

from polymodal.media.check import Finding, Summary
from polymodal.media.folder import read
from polymodal.media.image import Image
from polymodal.media.part import Limits, MediaError, Pose, Text
from polymodal.media.sample import Invalid, Message, Part, Sample, part_of, verify
from polymodal.media.series import Series
from polymodal.media.sound import Audio
from polymodal.media.tables import read_tables
from polymodal.media.video import Frame, Video

__all__ = [
    "Audio",
    "Finding",
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
    "Summary",
    "Text",
    "Video",
    "part_of",
    "read",
    "read_tables",
    "verify",
]
