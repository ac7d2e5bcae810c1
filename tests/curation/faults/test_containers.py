"""Files that break pipelines by their times, tracks, packets and formats of pixels."""

import io
import itertools
import os
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from tests.curation.faults import case
from tests.data import media_case

pytest.importorskip("cv2")
from ltx_jax.curation import frames
from ltx_jax.curation.clip import Decision, Source, Span
from ltx_jax.data import video

PQ, HLG, BT2020 = 16, 18, 9


def test_a_variable_frame_rate_keeps_its_times_and_counts_its_frames(tmp_path):
  times = np.cumsum([0] + [20] * 20 + [60] * 19).tolist()  # Milliseconds.
  path = media_case.write(tmp_path / "a.mp4", case.scene(1), times=times)
  clip = case.only(path)
  assert clip.frames == 40 and clip.start == 0
  assert clip.fps == pytest.approx(39 / (times[-1] / 1000), rel=1e-3)
  assert clip.end == pytest.approx(times[-1] / 1000 + 1 / clip.fps, abs=2e-3)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("aspect", [None, Fraction(4, 3)])
def test_turned_files_and_wide_pixels_are_cropped_as_they_are_shown(
  tmp_path, rotation, aspect
):
  shown = np.maximum(case.scene(1), 70)
  shown[:, :, :24] = 0
  path = media_case.write(
    tmp_path / "a.mp4", shown, 25, rotation=rotation, aspect=aspect
  )
  source, (clip,) = case.measured(path)
  upright = video.read(path)[0][20].mean(-1)
  assert (source.height, source.width) == (clip.height, clip.width) == upright.shape
  x, y, width, height = clip.crop
  inside = upright[y : y + height, x : x + width]
  outside = upright.sum() - inside.sum()
  assert inside.min() > 40 and outside / (upright.size - inside.size) < 20


def test_a_duration_that_is_wrong_is_not_believed(tmp_path):
  path = case.plain(tmp_path / "a.mkv", case.scene(1))
  content = bytearray(path.read_bytes())
  at = content.index(b"\x44\x89\x88") + 3  # Matroska's Duration, of 8 bytes.
  assert struct.unpack(">d", content[at : at + 8]) == (1600.0,)
  content[at : at + 8] = struct.pack(">d", 3.6e6)
  path.write_bytes(content)
  with av.open(str(path)) as container:
    assert container.duration == 3600 * 1_000_000
  source, (clip,) = case.measured(path)
  assert (source.frames, source.seconds, source.edges) == (40, 1.6, (0.0,))
  assert (clip.frames, clip.end) == (40, 1.6)


def test_a_stream_without_a_duration_is_planned_by_its_packets(tmp_path, monkeypatch):
  class Pipe:  # Nothing can be written at its beginning afterwards.
    def __init__(self):
      self.content = io.BytesIO()

    def write(self, content):
      return self.content.write(content)

  pipe = Pipe()
  with av.open(pipe, "w", format="matroska") as container:
    stream = container.add_stream("libx264", 25)
    stream.height, stream.width, stream.pix_fmt = 72, 128, "yuv420p"
    for image in case.scene(1):
      frame = av.VideoFrame.from_ndarray(image, format="rgb24")
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  path = tmp_path / "a.mkv"
  path.write_bytes(pipe.content.getvalue())
  with av.open(str(path)) as container:
    assert container.duration is None and container.streams.video[0].frames == 0
  clip = case.only(path)
  assert (clip.frames, clip.end) == (40, 1.6)
  monkeypatch.setattr(frames, "MOST_FRAMES", 20)
  source, clips = case.measured(path)
  assert len(source.edges) == 2 and sum(clip.frames for clip in clips) == 40


def test_an_edit_list_and_a_late_start_are_an_offset(tmp_path):
  whole = media_case.write(
    tmp_path / "whole.mp4", case.scene(1, 60), 25, options={"bf": "0", "g": "100"}
  )
  # An editor cut off the first ten frames, but the others need them.
  moved(whole, tmp_path / "cut.mp4", -10, {"avoid_negative_ts": "disabled"})
  source, (clip,) = case.measured(tmp_path / "cut.mp4")
  assert source.frames == clip.frames == 50 and clip.start == 0
  moved(whole, tmp_path / "late.ts", 125)
  source, (clip,) = case.measured(tmp_path / "late.ts")
  assert source.offset >= 5 and (clip.start, clip.frames) == (0, 60)


def moved(path, to, by, options=None):
  """Copies packets, shown by some frames later."""
  with (
    av.open(str(path)) as given,
    av.open(str(to), "w", container_options=options or {}) as made,
  ):
    track = given.streams.video[0]
    stream = made.add_stream_from_template(track)
    ticks = round(by / 25 / track.time_base)
    for packet in given.demux(track):
      if packet.size:
        packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        packet.stream = stream
        made.mux(packet)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_out_of_order_around_the_edge_of_a_span_are_all_there(
  tmp_path, monkeypatch, suffix
):
  options = {"bf": "3", "g": "12", "x264-params": "open-gop=1"}
  shown = case.scene(1, 100, 0.5)
  path = media_case.write(tmp_path / f"a{suffix}", shown, 25, options=options)
  with av.open(str(path)) as container:
    stamps = [(p.pts, p.dts) for p in container.demux(video=0) if p.size]
  assert min(dts for _, dts in stamps if dts is not None) < 0 or suffix == ".mkv"
  assert [pts for pts, _ in stamps] != sorted(pts for pts, _ in stamps)
  whole = frames.read(Span(frames.probe(path)))
  monkeypatch.setattr(frames, "MOST_FRAMES", 50)
  source, clips = case.measured(path)
  assert len(source.edges) == 2
  assert [clip.frames for clip in clips] == [50, 50]
  assert clips[0].end == clips[1].start and clips[1].end == 4.0
  parts = [frames.read(Span(source, k)).small for k in range(2)]
  np.testing.assert_array_equal(np.concatenate(parts), whole.small)


def damaged(path, places, seed=1):
  """A file of 250 frames, of which the middle half is broken in some places."""
  rng = np.random.default_rng(0)
  noise = rng.integers(60, 200, (25, 72, 128, 3), np.uint8)
  shown = np.maximum(case.scene(seed, 250, 0.3), noise[np.arange(250) % 25] // 2)
  media_case.write(path, shown, 25, options={"g": "10"})
  content, size = bytearray(path.read_bytes()), path.stat().st_size
  for at in rng.integers(size // 4, 3 * size // 4, places):
    content[at : at + 40] = bytes(40)
  path.write_bytes(content)
  return path


def test_a_few_broken_packets_are_noted_and_many_refuse_the_file(tmp_path):
  _, clips = case.measured(damaged(tmp_path / "few.mp4", 1))
  assert sum(clip.frames for clip in clips) >= 245
  assert 0 < clips[0].scores["corrupt"] <= 0.02
  refused = case.found(damaged(tmp_path / "many.mp4", 400))
  assert (refused.reason, refused.threshold) == ("corrupt", 0.02)
  assert refused.value > 0.02


def test_broken_packets_that_leave_a_gap_refuse_the_file(tmp_path, monkeypatch):
  path = damaged(tmp_path / "a.mp4", 1)
  whole = frames.read(Span(frames.probe(path)))
  assert 0 < whole.corrupt <= 0.02
  decode = frames._Decoder.__call__

  def lossy(self, container, stream):
    for k, frame in enumerate(decode(self, container, stream)):
      if not 80 < k < 90:
        yield frame

  monkeypatch.setattr(frames._Decoder, "__call__", lossy)
  refused = case.found(path)
  assert (refused.reason, refused.threshold) == ("corrupt", 0.2)
  assert refused.value == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(
  ("content", "words"),
  [
    ("half", "moov atom not found|Invalid data"),
    ("nothing", "is empty"),
    ("a page", "Invalid data found when processing input"),
  ],
)
def test_a_file_that_is_no_video_is_unreadable_in_the_decoders_words(
  tmp_path, content, words
):
  path = case.plain(tmp_path / "a.mp4", case.scene(1, 10))
  half = path.read_bytes()[: path.stat().st_size // 2]
  page = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
  path.write_bytes({"half": half, "nothing": b"", "a page": page}[content])
  refused = case.found(path)
  assert refused.reason == "unreadable"
  assert any(word in refused.value for word in words.split("|")), refused.value


def tracks(path, *sizes, marked=None, cover=False):
  """A file with several tracks of pictures: seeds of scenes, by width and height."""
  with av.open(str(path), "w") as container:
    streams = []
    for number, (width, height) in enumerate(sizes):
      stream = container.add_stream("mjpeg" if cover else "libx264", 25)
      stream.width, stream.height = width, height
      stream.pix_fmt = "yuvj420p" if cover else "yuv420p"
      default = av.stream.Disposition.default
      stream.disposition = default if number == marked else 0
      if cover:
        stream.disposition = av.stream.Disposition.attached_pic
      streams.append(stream)
    shown = [case.scene(k, 1 if cover else 40) for k in range(len(sizes))]
    for number, images in enumerate(shown):
      for image in images:
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        container.mux(streams[number].encode(frame.reformat(*sizes[number])))
      container.mux(streams[number].encode(None))
  return path


def test_a_file_of_sound_and_a_cover_is_no_video(tmp_path):
  song = media_case.write_sound(tmp_path / "song.mp4")
  cover = tracks(tmp_path / "cover.mp4", (128, 72), cover=True)
  assert case.reason(song) == case.reason(cover) == "no video"


def test_of_several_tracks_the_marked_or_the_largest_is_read_and_noted(tmp_path):
  sizes = (128, 72), (256, 144), (192, 108)
  source, _ = case.measured(tracks(tmp_path / "a.mkv", *sizes, marked=2))
  assert (source.width, source.height, source.track) == (192, 108, 2)
  source, (clip,) = case.measured(tracks(tmp_path / "b.mkv", *sizes))
  assert (clip.width, clip.height, source.track) == (256, 144, 1)
  assert video.read(tmp_path / "b.mkv")[0].shape[1:3] == (144, 256)


@pytest.mark.parametrize(
  ("transfer", "name", "white"), [(PQ, "PQ", 0.5807), (HLG, "HLG", 0.75)]
)
def test_a_wide_range_of_light_is_noted_and_never_read_as_an_ordinary_one(
  tmp_path, transfer, name, white
):
  level = round(white * 1023)
  path = media_case.write_deep(tmp_path / "a.mp4", level, transfer, BT2020)
  source = frames.probe(path)
  assert source.pixels == f"10 bits, BT.2020, {name}"
  read = frames.read(Span(source))
  assert abs(float(read.small.mean()) - 241) <= 2  # White of an ordinary screen.
  assert abs(float(read.stills.mean()) - 241) <= 2
  ordinary = media_case.write_deep(tmp_path / "b.mp4", level, 1, 1)
  assert frames.probe(ordinary).pixels == "10 bits"
  read = frames.read(Span(frames.probe(ordinary)))
  assert abs(float(read.small.mean()) - 255 * white) <= 2


@pytest.mark.parametrize("full", [False, True])
def test_the_full_range_is_noted_and_has_the_same_levels(tmp_path, full):
  image = np.zeros((72, 128, 3), np.uint8)
  image[:, :64], image[:, 64:] = 40, 220
  path = media_case.write_colors(tmp_path / "a.mp4", image, 1, full)
  source = frames.probe(path)
  assert source.pixels == ("8 bits, full range" if full else "8 bits")
  small = frames.read(Span(source)).small[0]
  assert abs(small[:, 5:55].mean() - 40) < 2 and abs(small[:, 70:].mean() - 220) < 2


def woven(fields):
  """Frames of which even rows show one moment, and odd rows another one."""
  for first, second in fields:
    frame = first.copy()
    frame[1::2] = second[1::2]
    yield frame


def test_interlaced_and_telecined_files_are_refused(tmp_path):
  shown = case.scene(1, 48, 2.0)
  options = {"x264-params": "interlaced=1"}
  pairs = list(zip(shown[::2], shown[1::2], strict=True))
  interlaced = case.write(tmp_path / "a.mp4", woven(pairs), options=options)
  # Four frames of film become five of television: two of them are woven.
  film = [shown[k : k + 4] for k in range(0, 48, 4)]
  pulled = [((a, a), (b, b), (b, c), (c, d), (d, d)) for a, b, c, d in film]
  telecine = case.write(
    tmp_path / "b.mp4", woven(itertools.chain(*pulled)), fps=30, options=options
  )
  for path in (interlaced, telecine):
    refused = case.found(path)
    assert (refused.reason, refused.threshold) == ("interlaced", 0.1)
    assert refused.value > 0.1


def test_what_is_transparent_is_measured_as_trainers_read_it(tmp_path):
  shown = np.concatenate([case.scene(1), np.full((40, 72, 128, 1), 255, np.uint8)], -1)
  shown[:, :, :40, :3] = 255  # White, and not to be seen.
  shown[:, :, :40, 3] = 0
  path = case.write(tmp_path / "a.mov", shown, "qtrle", "argb")
  source, (clip,) = case.measured(path)
  read = frames.read(Span(source))
  assert np.abs(video.read(path)[0].astype(int) - read.small).mean() < 1
  assert read.profiles.columns[0, 0, :40].max() < 40
  assert clip.crop == (40, 0, 88, 72)


def test_odd_sizes_become_even_and_tiny_ones_are_refused(tmp_path):
  odd = np.pad(case.scene(1), ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
  clip = case.only(case.write(tmp_path / "a.mp4", odd, pixels="yuv444p"))
  assert (clip.width, clip.height, clip.crop) == (129, 73, (0, 0, 128, 72))
  tiny = case.plain(tmp_path / "b.mp4", case.scene(1)[:, :62, :80])
  assert case.found(tiny) == Decision("readable", "small", 62, 64)


def test_an_image_and_a_video_of_one_frame_are_kept_without_a_rule_of_time(tmp_path):
  shown = case.scene(1, 1)
  Image.fromarray(shown[0]).save(tmp_path / "a.png")
  case.plain(tmp_path / "b.mp4", shown)
  for name, fps in (("a.png", 24), ("b.mp4", 25)):
    clip = case.only(tmp_path / name)
    assert (clip.frames, clip.fps, clip.seconds) == (1, fps, 0)
    assert not {"motion", "repeated", "flashes"} & set(clip.scores)
    assert case.reasons([clip]) == {"a@0": None}


def test_frames_that_take_all_memory_are_refused_before_they_do(tmp_path, monkeypatch):
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # As in workers.
  image = tmp_path / "a.png"
  Image.new("1", (16384, 16384)).save(image)
  wide = np.zeros((4096, 16384, 3), np.uint8)
  clip = case.write(tmp_path / "a.mkv", [wide], "ffv1", "gray")
  assert image.stat().st_size < 1e5 and clip.stat().st_size < 1e6

  def never(*_):
    raise AssertionError("It was decoded.")

  monkeypatch.setattr(frames._Decoder, "__call__", never)
  monkeypatch.setattr(Image.Image, "load", never)
  assert case.reason(image) == case.reason(clip) == "too large"


def endless(path, count, apart=1):
  """A small file of many frames, some milliseconds apart, that show nothing new."""
  with av.open(str(path), "w") as container:
    stream = container.add_stream("mpeg4", 1000, options={"g": "600"})
    stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
    frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
    first, *_, last = [bytes(p) for _ in range(5) for p in stream.encode(frame)]
    for k in range(count):
      packet = av.Packet(last if k else first)
      packet.stream, packet.time_base = stream, Fraction(1, 1000)
      packet.pts = packet.dts = round(k * apart)
      container.mux(packet)
  return path


def test_a_small_file_of_very_many_frames_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(frames, "_MOST_IN_ALL", 1000)
  path = endless(tmp_path / "a.mkv", 1001)
  assert path.stat().st_size < 100_000
  assert case.found(path) == Decision("readable", "too large", 1000, 1000)


@pytest.mark.slow
def test_a_small_file_of_a_million_frames_is_refused(tmp_path):
  path = endless(tmp_path / "a.mkv", 1_000_000)
  assert path.stat().st_size < 30e6
  assert case.reason(path) == "too large"


@pytest.mark.parametrize(
  "name", ["-i.mp4", "a'b\".mp4", "a\nb.mp4", "$(touch c);`.mp4", "\udcff\udcfe.mp4"]
)
def test_a_file_of_any_name_is_measured_under_its_id(tmp_path, name):
  path = case.plain(tmp_path / "plain.mp4", case.scene(1)).rename(tmp_path / name)
  source, (clip,) = case.measured(path, "the id")
  assert isinstance(source, Source) and source.path == clip.path == str(path)
  assert clip.id == "the id@0" and os.listdir(tmp_path) == [name]
