"""Images and clips: what cameras, phones, browsers and broken downloads leave."""

from __future__ import annotations

from tests.odd_inputs.case import (
  Case,
  Make,
  accepted,
  cut,
  folder,
  linked,
  locked,
  quick,
  reads,
  refused,
  shelved,
)

IMAGES = "{shelf}/images/"
CLIPS = "{shelf}/clips/"


def image_refused(who: str, name: str, make: Make | None = None) -> Case:
  """An image of the shelf, or one that is made, that is refused by its name."""
  path = IMAGES + name if make is None else name
  files = {} if make is None else {name: make}
  return refused(who, quick("--image", path), name, files=files)


def clip_refused(who: str, name: str, make: Make | None = None) -> Case:
  """The same of a clip."""
  path = CLIPS + name if make is None else name
  files = {} if make is None else {name: make}
  return refused(who, quick("--condition", path), name, files=files)


def image_fine(who: str, name: str, make: Make | None = None) -> Case:
  """An image that is read."""
  path = IMAGES + name if make is None else name
  files = {} if make is None else {name: make}
  return accepted(who, reads(path), files=files)


def clip_fine(who: str, name: str, make: Make | None = None) -> Case:
  """A clip that is read."""
  path = CLIPS + name if make is None else name
  files = {} if make is None else {name: make}
  return accepted(who, reads(path), files=files)


BAD_IMAGES = (
  image_refused("mistypes a name", "imgae.png", lambda path, shelf: None),
  image_refused("names a folder", "shots.png", folder),
  image_refused("saves nothing", "empty.png", b""),
  image_refused("stops a download", "half.png", cut("images/plain.png", 0.4)),
  image_refused(
    "stops a download of a photo", "half.jpg", cut("images/plain.jpg", 0.5)
  ),
  image_refused("saves a web page as an image", "error.png"),
  image_refused("has a photo of a phone", "photo.heic"),
  image_refused("has a raw photo", "raw.cr2"),
  image_refused("has a drawing", "drawing.svg"),
  image_refused("has layers", "layers.psd"),
  image_refused("has a document", "page.pdf"),
  image_refused("scans a wall", "bomb.png"),
  image_refused("may not read it", "mine.png", locked(shelved("images/plain.png"))),
  image_refused("renames a text", "notes.png", "my notes"),
  image_refused("links to nothing", "gone.png", linked("images/nowhere.png")),
  image_refused("leaves out the suffix", "picture", shelved("images/plain.png")),
  image_refused("names a file of sound", "song.mp3", b"ID3\x04" + bytes(300)),
  image_refused("zips an image", "image.zip", b"PK\x03\x04" + bytes(300)),
  refused("gives a link", quick("--image", "https://example.org/a.png"), "example.org"),
  refused("gives no image", quick("--image", ""), "--image"),
  refused("gives a pattern", quick("--image", "*.png"), "*.png"),
  refused("gives two images", quick("--image", f"{IMAGES}plain.png", "b.png"), "b.png"),
  refused(
    "pastes quotes with it", quick("--image", f"'{IMAGES}plain.png'"), "plain.png"
  ),
  refused(
    "writes Windows' path", quick("--image", r"C:\Users\me\a.png"), r"C:\Users\me"
  ),
)

GOOD_IMAGES = (
  image_fine("renames a JPEG", "really.png"),
  image_fine("has a new format", "plain.avif"),
  image_fine("prints its images", "cmyk.jpg"),
  image_fine("has no colour", "gray.png"),
  image_fine("scans a letter", "scan.tiff"),
  image_fine("has few colours", "palette.gif"),
  image_fine("cuts a figure out", "alpha.png"),
  image_fine("has 16 bits", "deep.png"),
  image_fine("turns the phone", "turned.jpg"),
  image_fine("has a single pixel", "dot.png"),
  image_fine("has a strip", "strip.png"),
  image_fine("loads it slowly", "progressive.jpg"),
  image_fine("has an old bitmap", "plain.bmp"),
  image_fine("has a format of the web", "plain.webp"),
  image_fine("writes the suffix large", "PHOTO.PNG", shelved("images/plain.png")),
  image_fine(
    "may only read it", "kept.png", locked(shelved("images/plain.png"), 0o444)
  ),
  image_fine("links to an image", "link.png", linked("images/plain.png")),
  image_fine("has spaces in names", "my photo (1).png", shelved("images/plain.png")),
  image_fine("has emoji in names", "📷 Straße.png", shelved("images/plain.png")),
  image_fine(
    "has a line's end in a name", "two\nlines.png", shelved("images/plain.png")
  ),
  image_fine(
    "has a broken letter in a name", "caf\udce9.png", shelved("images/plain.png")
  ),
  image_fine("has a colon in a name", "10:30.png", shelved("images/plain.png")),
  image_fine("has a name like markup", "[red]a[/].png", shelved("images/plain.png")),
  image_fine("begins a name with a dot", ".hidden.png", shelved("images/plain.png")),
)

BAD_CLIPS = (
  clip_refused("stops the download of a clip", "half.mp4", cut("clips/plain.mp4", 0.6)),
  clip_refused("stops a recording", "half.mkv", cut("clips/plain.mkv", 0.4)),
  clip_refused("pulls the card out", "no-index.mp4"),
  clip_refused("recovers a file", "zeros.mp4"),
  clip_refused("saves a page as a clip", "page.mp4"),
  clip_refused("takes a part", "part.mp4.part"),
  clip_refused("has only sound", "sound.mp4"),
  clip_refused("has a track without frames", "subtitles.mp4"),
  clip_refused("has nothing", "nothing.mp4", b""),
  clip_refused("names a folder of clips", "clips.mp4", folder),
  clip_refused("pauses for hours", "pause.mkv"),
  clip_refused("has a list of clips", "list.m3u8", "#EXTM3U\n"),
  refused("gives the frame twice", quick("--condition", f"{CLIPS}plain.mp4@0@4"), "@0"),
  refused(
    "writes a frame in seconds", quick("--condition", f"{CLIPS}plain.mp4@1s"), "@1s"
  ),
  refused(
    "gives a strength in words", quick("--condition", f"{CLIPS}plain.mp4:high"), ":high"
  ),
  refused(
    "makes over a clip that is too short",
    quick("--video", f"{CLIPS}short.mp4", "--frames", "9", "--skip-initial", "1"),
    "3 frames",
  ),
  refused(
    "refers to a clip that is not there", quick("--reference", "edges.mp4"), "edges.mp4"
  ),
)

GOOD_CLIPS = (
  clip_fine("films with a phone", "turned.mp4"),
  clip_fine("has a single frame", "one.mp4"),
  clip_fine("has three frames", "short.mp4"),
  clip_fine("has another size", "odd.mp4"),
  clip_fine("has a small clip", "small.mp4"),
  clip_fine("films slowly", "slow.mp4"),
  clip_fine("films fast", "fast.mp4"),
  clip_fine("has uneven frames", "uneven.mkv"),
  clip_fine("renames WebM", "really.mp4"),
  clip_fine("has a GIF", "moving.gif"),
  clip_fine("has a moving WebP", "moving.webp"),
  clip_fine("has an old camera", "plain.avi"),
  clip_fine("records television", "plain.ts"),
  clip_fine("has a DVD", "plain.mpg"),
  clip_fine("has a film of a Mac", "plain.mov"),
  clip_fine("links to a clip", "link.mp4", linked("clips/plain.mp4")),
)

MADE = (
  accepted(
    "begins with a turned photo", quick("--image", f"{IMAGES}turned.jpg"), "video.mp4"
  ),
  accepted(
    "continues a film of a phone",
    quick("--condition", f"{CLIPS}turned.mp4"),
    "video.mp4",
  ),
  accepted(
    "continues a GIF by a broken name",
    quick("--condition", "caf\udce9 [1].gif"),
    "video.mp4",
    files={"caf\udce9 [1].gif": shelved("clips/moving.gif")},
  ),
)

CASES = (*MADE, *BAD_IMAGES, *GOOD_IMAGES, *BAD_CLIPS, *GOOD_CLIPS)
