"""The library: wrong types, wrong shapes, wrong order, and lists where one is meant.

Each is a line of Python, whose ValueErrors and OSErrors are refusals.
"""

from __future__ import annotations

from tests.odd_inputs.case import Case, accepted, cut, library, refused

# A caption that the small model knows, for it gives a hint about others.
PROMPT = "a small red circle moving up on a black background"
LOAD = f"p = {PROMPT!r}\nm = ltx_jax.load('{{shelf}}/model')\n"
SMALL = "width=40, height=32, frames=5, steps=2"


def load_refused(who: str, code: str, *names: str, **more: object) -> Case:
  """A line before there is a model."""
  return refused(who, library(code), *names, **more)


def refused_by(who: str, code: str, *names: str) -> Case:
  """A line that asks something of a model `m`."""
  return refused(who, library(LOAD + code), *names, seconds=60.0)


def makes(who: str, arguments: str, *names: str) -> Case:
  """A video that is asked for by odd arguments, and refused."""
  return refused_by(who, f"m.generate(p, {SMALL}, {arguments})", *names)


def fine(who: str, code: str) -> Case:
  """A line that asks something odd of a model `m`, and that is fine."""
  return accepted(who, library(LOAD + code), seconds=120.0)


LOADING = (
  load_refused("loads nothing", "ltx_jax.load('')", "preset"),
  load_refused("loads None", "ltx_jax.load(None)", "None"),
  load_refused("loads a number", "ltx_jax.load(3)", "3"),
  load_refused("loads a list", "ltx_jax.load(['moving-shapes'])", "moving-shapes"),
  load_refused("loads bytes", "ltx_jax.load(b'moving-shapes')", "moving-shapes"),
  load_refused("loads a zero in a name", "ltx_jax.load('a\\0b.safetensors')", "a"),
  load_refused(
    "loads what is not there", "ltx_jax.load('nowhere.safetensors')", "nowhere"
  ),
  load_refused("misspells a preset", "ltx_jax.load('moving_shapes')", "moving-shapes"),
  load_refused(
    "gives PyTorch's dtype", "ltx_jax.load('{shelf}/model', dtype='half')", "half"
  ),
  load_refused(
    "gives JAX's dtype",
    "import jax.numpy as jnp\nltx_jax.load('{shelf}/model', dtype=jnp.int8)",
    "int8",
  ),
  load_refused(
    "gives a device as mesh", "ltx_jax.load('{shelf}/model', mesh='cpu')", "cpu"
  ),
  load_refused("gives a number as mesh", "ltx_jax.load('{shelf}/model', mesh=8)", "8"),
  load_refused(
    "gives a LoRA as a text",
    "ltx_jax.load('{shelf}/model', loras='{shelf}/loras/fits.safetensors')",
    "loras",
  ),
  load_refused(
    "gives a LoRA without strength",
    "ltx_jax.load('{shelf}/model', loras=['{shelf}/loras/fits.safetensors'])",
    "loras",
  ),
  load_refused(
    "gives a strength in words",
    "ltx_jax.load('{shelf}/model', "
    "loras=[('{shelf}/loras/fits.safetensors', 'strong')])",
    "strong",
  ),
  load_refused(
    "gives another format of weights",
    "ltx_jax.load('{shelf}/model', weights='int4')",
    "int4",
  ),
  load_refused(
    "gives a format of weights to texts",
    "ltx_jax.load('{shelf}/model', text_weights='nf4')",
    "nf4",
  ),
  load_refused(
    "gives a text encoder that is none",
    "ltx_jax.load('{shelf}/model', text_encoder=3)",
    "3",
  ),
  load_refused(
    "gives True for a text encoder",
    "ltx_jax.load('{shelf}/model', text_encoder=True)",
    "True",
  ),
  load_refused(
    "gives a model for a text encoder",
    "ltx_jax.load('{shelf}/model', text_encoder=ltx_jax.load("
    "'{shelf}/model', text_encoder=False))",
    "text",
  ),
  load_refused("loads an upscaler of None", "ltx_jax.load_upscaler(None)", "upscaler"),
  load_refused(
    "loads an upscaler of a model",
    "ltx_jax.load_upscaler('{shelf}/model/model.safetensors')",
    "model",
  ),
  load_refused("loads an upscaler of a number", "ltx_jax.load_upscaler(2)", "2"),
  load_refused(
    "loads a text encoder of a VAE",
    "ltx_jax.load_text_encoder('{shelf}/vae.safetensors')",
    "text encoder",
  ),
  load_refused(
    "loads a text encoder of nothing", "ltx_jax.load_text_encoder(None)", "None"
  ),
  load_refused(
    "loads half a model",
    "ltx_jax.load('a.safetensors')",
    "a.safetensors",
    files={"a.safetensors": cut("model/model.safetensors", 0.5)},
  ),
  refused_by(
    "saves in another layout", "ltx_jax.save(m, 'a', layout='comfy')", "comfy"
  ),
  refused_by("saves to pickles", "ltx_jax.save(m, 'a.ckpt')", "a.ckpt"),
  refused_by("saves nowhere", "ltx_jax.save(m, 'no/where/a.safetensors')", "no/where"),
  refused_by("saves to nothing", "ltx_jax.save(m, '')", "save"),
  load_refused("saves a path", "ltx_jax.save('a', 'b.safetensors')", "model"),
)

PROMPTS = (
  refused_by("gives no prompt", f"m.generate(None, {SMALL})", "prompt", "None"),
  refused_by("gives no prompts", f"m.generate([], {SMALL})", "prompt"),
  refused_by("gives a number", f"m.generate(7, {SMALL})", "prompt", "7"),
  refused_by("gives bytes", f"m.generate(b'a circle', {SMALL})", "prompt"),
  refused_by("gives numbers in a list", f"m.generate([1, 2, 3], {SMALL})", "prompt"),
  refused_by("gives None in a list", f"m.generate(['a', None], {SMALL})", "prompt"),
  refused_by("gives an array", f"m.generate(np.zeros(3), {SMALL})", "prompt"),
  refused_by("gives a dictionary", f"m.generate({{'prompt': 'a'}}, {SMALL})", "prompt"),
  refused_by(
    "gives half of a text", f"m.generate(m.encode_text(['a'])[0], {SMALL})", "prompt"
  ),
  refused_by("encodes a number", "m.encode_text([1])", "prompt"),
  refused_by("encodes nothing", "m.encode_text([])", "prompt"),
  makes("wants not a number", "negative_prompt=3", "negative"),
  makes("wants not a list", "negative_prompt=['a', 'b']", "negative"),
  load_refused(
    "generates without a text encoder",
    "ltx_jax.load('{shelf}/model', "
    f"text_encoder=False).generate({PROMPT!r}, {SMALL})",
    "text encoder",
  ),
  load_refused(
    "generates by a VAE alone",
    "ltx_jax.load('{shelf}/vae.safetensors', "
    f"text_encoder=False).generate({PROMPT!r}, {SMALL})",
    "transformer",
  ),
)

VALUES = (
  makes("plays as a word says", "fps='fast'", "fast"),
  refused_by("gives a width in words", "m.generate(p, width='40')", "width", "40"),
  refused_by("gives a width of a list", "m.generate(p, width=[40])", "width"),
  refused_by("gives a fraction of a height", "m.generate(p, height=32.5)", "32.5"),
  refused_by(
    "gives frames of NumPy's fraction", "m.generate(p, frames=np.float32(5))", "5"
  ),
  refused_by("gives no frames", "m.generate(p, frames=0)", "frames", "0"),
  refused_by(
    "gives True for frames",
    "m.generate(p, frames=True, width=40, height=32, steps=True)",
    "True",
  ),
  makes("gives a seed of a fraction", "seed=1.5", "seed", "1.5"),
  makes("gives a seed in words", "seed='x'", "seed", "x"),
  makes("gives a seed below 0", "seed=-1", "seed", "-1"),
  makes("gives a seed of None", "seed=None", "seed", "None"),
  makes("gives two seeds for one video", "seed=(1, 2)", "2"),
  makes("gives JAX's key as a seed", "seed=__import__('jax').random.key(0)", "seed"),
  makes("guides by words", "guidance='high'", "guidance", "high"),
  makes("guides by nothing", "guidance=float('nan')", "guidance", "nan"),
  makes("samples by a dictionary", "sampling={'steps': 3}", "sampling"),
  makes("samples by a number", "sampling=20", "sampling", "20"),
  refused_by(
    "steps in words",
    "m.generate(p, width=40, height=32, frames=5, steps='4')",
    "steps",
    "4",
  ),
  load_refused(
    "samples by a misspelt schedule",
    "ltx_jax.Sampling(schedule='LinearQuadratic')",
    "LinearQuadratic",
  ),
  load_refused("samples by a list of nothing", "ltx_jax.Sampling(sigmas=())", "sigmas"),
  load_refused(
    "samples by levels of words", "ltx_jax.Sampling(sigmas=('a',))", "sigmas"
  ),
  load_refused("samples by one level", "ltx_jax.Sampling(sigmas=0.5)", "0.5"),
  load_refused(
    "perturbs by another mode",
    "ltx_jax.Sampling(stg=1, stg_blocks=(1,), stg_mode='all')",
    "all",
  ),
  load_refused(
    "perturbs blocks of words", "ltx_jax.Sampling(stg=1, stg_blocks='19')", "19"
  ),
  load_refused("tiles by a fraction", "ltx_jax.Sampling(tiling=0.5)", "0.5"),
  load_refused("tiles by nothing", "ltx_jax.Sampling(tiling=None)", "None"),
  load_refused("decodes at a word", "ltx_jax.Sampling(decode_sigma='low')", "low"),
  load_refused("makes one pass of two", "ltx_jax.TwoPasses(None, None)", "None"),
  load_refused(
    "scales by a word",
    "ltx_jax.TwoPasses(ltx_jax.Sampling(), ltx_jax.Sampling(), scale='half')",
    "half",
  ),
  makes("calls back a number", "on_step=3", "on_step"),
)

CONDITIONS = (
  makes(
    "conditions on a path alone", "conditions=['{shelf}/images/plain.png']", "Condition"
  ),
  makes(
    "conditions on one thing",
    "conditions=ltx_jax.Condition('{shelf}/images/plain.png')",
    "conditions",
  ),
  makes("conditions on None", "conditions=[None]", "None"),
  makes(
    "shows a path that is none", "conditions=[ltx_jax.Condition('a.png')]", "a.png"
  ),
  makes("shows None", "conditions=[ltx_jax.Condition(None)]", "None"),
  makes("shows a number", "conditions=[ltx_jax.Condition(3)]", "3"),
  makes(
    "shows a flat array",
    "conditions=[ltx_jax.Condition(np.zeros((4, 4), 'u1'))]",
    "(4, 4)",
  ),
  makes(
    "shows channels first",
    "conditions=[ltx_jax.Condition(np.zeros((3, 32, 40), 'u1'))]",
    "(3, 32, 40)",
  ),
  makes(
    "shows a batch",
    "conditions=[ltx_jax.Condition(np.zeros((1, 5, 32, 40, 3), 'u1'))]",
    "(1, 5, 32, 40, 3)",
  ),
  makes(
    "shows whole numbers",
    "conditions=[ltx_jax.Condition(np.zeros((32, 40, 3), 'i8'))]",
    "int64",
  ),
  makes(
    "shows floats of 255",
    "conditions=[ltx_jax.Condition(np.full((32, 40, 3), 255.0, 'f4'))]",
    "255",
  ),
  makes(
    "shows NaN",
    "conditions=[ltx_jax.Condition(np.full((32, 40, 3), np.nan, 'f4'))]",
    "nan",
  ),
  makes(
    "shows nothing",
    "conditions=[ltx_jax.Condition(np.zeros((0, 32, 40, 3), 'u1'))]",
    "(0, 32, 40, 3)",
  ),
  makes("shows objects", "conditions=[ltx_jax.Condition(np.array([['a']]))]", "("),
  load_refused(
    "shows by half a word", "ltx_jax.Condition('a.png', strength='0.5')", "0.5"
  ),
  load_refused("shows at a fraction", "ltx_jax.Condition('a.png', frame=1.5)", "1.5"),
  load_refused("shows at a word", "ltx_jax.Condition('a.png', frame='end')", "end"),
  load_refused("compresses by a word", "ltx_jax.Condition('a.png', crf='low')", "low"),
  load_refused(
    "shows with more than all", "ltx_jax.Condition('a.png', strength=2)", "2"
  ),
  makes("makes over a path that is none", "video='a.mp4'", "a.mp4"),
  makes("makes over a number", "video=3", "3"),
  fine(
    "shows an image of Pillow",
    f"m.generate(p, {SMALL}, conditions=[ltx_jax.Condition(Image.new('P', (50, 40)))])",
  ),
  fine(
    "shows a path of pathlib",
    f"m.generate(p, {SMALL}, conditions=[ltx_jax."
    "Condition(pathlib.Path('{shelf}/images/plain.png'))])",
  ),
  fine(
    "shows numbers of JAX",
    f"m.generate(p, {SMALL}, conditions=[ltx_jax.Condition("
    "__import__('jax').numpy.zeros((32, 40, 3)))])",
  ),
  fine(
    "counts by NumPy",
    "m.generate(p, width=np.int64(40), height=np.int32(32), "
    "frames=np.uint8(5), steps=np.int64(2), seed=np.uint32(7), fps=np.float32(24))",
  ),
  fine("gives a tuple of prompts", f"m.generate((p, p), {SMALL})"),
)

ARRAYS = (
  refused_by("encodes uint8", "m.encode(np.zeros((1, 5, 32, 40, 3), 'u1'))", "uint8"),
  refused_by(
    "encodes no batch", "m.encode(np.zeros((5, 32, 40, 3), 'f4'))", "(5, 32, 40, 3)"
  ),
  refused_by(
    "encodes channels first",
    "m.encode(np.zeros((1, 3, 5, 32, 40), 'f4'))",
    "(1, 3, 5, 32, 40)",
  ),
  refused_by("encodes odd sizes", "m.encode(np.zeros((1, 5, 33, 40, 3), 'f4'))", "33"),
  refused_by("encodes a path", "m.encode('a.mp4')", "a.mp4"),
  refused_by(
    "decodes channels first", "m.decode(np.zeros((1, 6, 3, 4, 5), 'f4'))", "6"
  ),
  refused_by(
    "decodes other channels", "m.decode(np.zeros((1, 3, 4, 5, 128), 'f4'))", "128"
  ),
  refused_by("decodes a list", "m.decode([1, 2])", "latents"),
  refused_by(
    "denoises without a text",
    "m.denoise(None, width=40, height=32, frames=5, "
    "fps=24, sampling=ltx_jax.Sampling())",
    "text",
  ),
  refused_by(
    "denoises a prompt",
    "m.denoise('a circle', width=40, height=32, frames=5, "
    "fps=24, sampling=ltx_jax.Sampling())",
    "text",
  ),
  refused_by(
    "starts from other latents",
    "m.denoise(m.encode_text(['a']), width=40, "
    "height=32, frames=5, fps=24, latents=np.zeros((1, 2, 2, 2, 6), 'f4'), "
    "sampling=ltx_jax.Sampling(steps=4, skip_initial=1))",
    "(1, 2, 2, 2, 6)",
  ),
  refused_by("windows of words", "ltx_jax.LongVideo(m, window='5')", "5"),
  refused_by("windows of a path", "ltx_jax.LongVideo('{shelf}/model', 9)", "model"),
  refused_by(
    "scales by a path",
    "ltx_jax.MultiScale(m, '{shelf}/upscaler.safetensors')",
    "load_upscaler",
  ),
)

CASES = (*LOADING, *PROMPTS, *VALUES, *CONDITIONS, *ARRAYS)
