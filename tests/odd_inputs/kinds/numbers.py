"""Numbers: signs, units, fractions, and values that no machine can serve."""

from __future__ import annotations

from tests.odd_inputs.case import accepted, generate, quick, refused

GPU = "sample.gpu", "a boat", "--model", "{shelf}/model"
PRECOMPUTE = (
  *("train.precompute", "moving-shapes", "--model", "{shelf}/vae.safetensors"),
  *("--text-encoder", "none", "--tokenizer", "{shelf}/model/tokenizer"),
)
EVALUATE = "train.evaluate", "judge"
TINY_VAE = "train.vae", "tiny", "--output.folder", "run"
TINY = (
  *("train.transformer", "tiny", "--vae", "{shelf}/vae.safetensors"),
  *("--data", "{shelf}/records", "--output.folder", "run"),
)
PLAN = "train.plan", "lora"
APP = ("sample.app",)

SIZES = (
  refused("leaves a size at nothing", generate("--width", "0"), "width", "0"),
  refused("types a dash too many", generate("--height", "-64"), "height", "-64"),
  refused("types the unit", generate("--height", "512px"), "--height", "512px"),
  refused("types width and height at once", generate("--width", "512x512"), "512x512"),
  refused("types the shape of the picture", generate("--width", "16:9"), "16:9"),
  refused("computes a size with a fraction", generate("--width", "512.5"), "512.5"),
  refused("writes a number as a float", generate("--height", "512.0"), "512.0"),
  refused("writes thousands with a comma", generate("--width", "1,024"), "1,024"),
  refused("writes a size in words", generate("--width", "large"), "large"),
  refused("wants a wall of screens", generate("--width", "100000"), "100000"),
  refused("gives an empty variable", generate("--height", ""), "--height"),
  refused("gives not a number", generate("--width", "nan"), "--width", "nan"),
  refused("gives the largest there is", generate("--width", "inf"), "--width", "inf"),
  refused("writes in hexadecimal", generate("--width", "0x40"), "0x40"),
  refused("pastes a number with a long tail", generate("--width", "9" * 400), "width"),
  refused("forgets the value", generate("--width"), "--width"),
  refused("asks for no frames", generate("--frames", "0"), "frames", "0"),
  refused("asks for a second", generate("--frames", "1s"), "--frames", "1s"),
  refused("asks for a day", generate("--frames", "2073600"), "frames", "2073600"),
  refused("wants exact sizes", quick("--strict", "--width", "41"), "--strict", "41x32"),
  refused("wants exact frames", quick("--strict", "--frames", "6"), "--strict", "6"),
  accepted(
    "asks for the smallest picture",
    quick("--width", "1", "--height", "1", "--frames", "1", "--output", "a.png"),
    "a.png",
  ),
  accepted("writes a number of another script", quick("--width", "４０"), "video.mp4"),
)

RATES = (
  refused("wants no frames a second", generate("--fps", "0"), "fps", "0"),
  refused("plays backwards", generate("--fps", "-24"), "fps", "-24"),
  refused("wants every frame at once", generate("--fps", "inf"), "fps", "inf"),
  refused("computes a rate from nothing", generate("--fps", "nan"), "fps", "nan"),
  refused("writes a rate as broadcasters do", generate("--fps", "30000/1001"), "30000"),
  refused("mixes up rate and samples", generate("--fps", "44100"), "fps", "44100"),
  accepted("makes a slide show", quick("--fps", "0.5"), "video.mp4"),
)

STEPS = (
  refused("asks for no steps", generate("--steps", "0"), "steps", "0"),
  refused("asks for fewer than none", generate("--steps", "-1"), "steps", "-1"),
  refused("asks for half a step", generate("--steps", "2.5"), "--steps", "2.5"),
  refused("guides by nothing", generate("--guidance", "nan"), "guidance", "nan"),
  refused("guides by all there is", generate("--guidance", "inf"), "guidance", "inf"),
  refused("writes a percentage", generate("--guidance", "150%"), "150%"),
  refused("writes a decimal comma", generate("--guidance", "3,5"), "3,5"),
  refused("lists without levels", generate("--guidance", "1", "3"), "guidance"),
  refused(
    "lists rising levels",
    generate("--guidance-sigmas", "0.1", "0.9", "--guidance", "1", "3"),
    "guidance_sigmas",
  ),
  refused("begins below the noise", generate("--sigmas", "0.5", "0.9"), "0.9"),
  refused("gives a level above 1", generate("--sigmas", "1.5", "0.5"), "1.5"),
  refused("lists no level", generate("--sigmas"), "sigmas"),
  refused(
    "gives steps and levels", generate("--sigmas", "1", "0.5", "--steps", "4"), "4"
  ),
  refused("skips all steps", quick("--skip-final", "2"), "skip"),
  refused("skips without a clip", quick("--skip-initial", "1"), "skip_initial"),
  refused("perturbs by nothing", generate("--stg", "nan"), "stg", "nan"),
  refused("rescales twice over", generate("--rescale", "2"), "rescale", "2"),
  refused(
    "perturbs a block that is not there",
    quick("--stg", "1", "--stg-blocks", "99"),
    "99",
  ),
  refused("names blocks by a range", generate("--stg-blocks", "1-5"), "1-5"),
  refused("gives a share in percent", generate("--tone-map", "60"), "tone_map", "60"),
  refused("gives noise below nothing", generate("--decode-noise", "-0.1"), "-0.1"),
  refused("gives a level of percent", generate("--decode-sigma", "5"), "5"),
  refused("caches below nothing", generate("--cache", "-1"), "cache", "-1"),
  refused("gives noise without end", generate("--condition-noise", "inf"), "inf"),
  refused("tiles by nothing", generate("--tiling", "0"), "tiling", "0"),
  refused("tiles by a picture", generate("--tiling", "512x512x9"), "512x512x9"),
  refused("tiles by a word", generate("--tiling", "yes"), "--tiling", "yes"),
  accepted("turns guidance off", quick("--guidance", "1"), "video.mp4"),
)

SEEDS = (
  refused("takes a lucky number", generate("--seed", "-1"), "seed", "-1"),
  refused("takes a clock's time", generate("--seed", "1764384000000000"), "seed"),
  refused("takes a word as seed", generate("--seed", "random"), "random"),
  refused("gives no seed", generate("--seed"), "--seed"),
  refused("takes a fraction as seed", generate("--seed", "0.5"), "0.5"),
  accepted("takes the largest seed", quick("--seed", "4294967295"), "video.mp4"),
)

CONDITIONS = (
  refused(
    "gives a strength in percent",
    quick("--image", "{shelf}/images/plain.png", "--strength", "80"),
    "80",
  ),
  refused(
    "shows a clip before the video",
    quick("--condition", "{shelf}/images/plain.png@-1"),
    "-1",
  ),
  refused(
    "shows an image after the video",
    quick("--condition", "{shelf}/images/plain.png@99"),
    "99",
  ),
  refused(
    "shows a clip between latents",
    quick("--condition", "{shelf}/clips/plain.mp4@1"),
    "1",
  ),
  refused(
    "gives a strength of nothing at all",
    quick("--condition", "{shelf}/images/plain.png:nan"),
    "nan",
  ),
  refused(
    "compresses beyond the scale",
    quick("--image", "{shelf}/images/plain.png", "--crf", "99"),
    "99",
  ),
  refused(
    "shows a reference in no size",
    quick("--reference", "{shelf}/clips/plain.mp4", "--reference-downscale", "0"),
    "0",
  ),
  refused(
    "overlaps whole windows", quick("--window", "5", "--overlap", "5"), "overlap"
  ),
  refused("makes windows of nothing", quick("--window", "0"), "window"),
  refused(
    "blends by percent",
    quick("--window", "5", "--overlap", "1", "--overlap-strength", "50"),
    "50",
  ),
  refused(
    "corrects by percent",
    quick("--window", "5", "--overlap", "1", "--adain", "100"),
    "100",
  ),
  refused(
    "scales up instead of down",
    quick(
      "--multi-scale", "--upscaler", "{shelf}/upscaler.safetensors", "--scale", "2"
    ),
    "scale",
    "2",
  ),
  refused(
    "weighs a LoRA by nothing",
    quick("--lora", "{shelf}/loras/fits.safetensors:nan"),
    "nan",
  ),
  refused(
    "weighs a LoRA without end",
    quick("--lora", "{shelf}/loras/fits.safetensors:inf"),
    "inf",
  ),
)

PROGRAMS = (
  refused("times it never", (*GPU, "--repeat", "0"), "--repeat", "0"),
  refused("times it for ever", (*GPU, "--repeat", "1000000"), "--repeat"),
  refused("gives a GPU no width", (*GPU, "--width", "-1"), "width", "-1"),
  refused("gives a GPU a negative seed", (*GPU, "--seed", "-5"), "seed", "-5"),
  refused(
    "encodes nothing at a time",
    (*PRECOMPUTE, "--clips-per-call", "0"),
    "clips-per-call",
    "0",
  ),
  refused("fills shards with nothing", (*PRECOMPUTE, "--shard", "0"), "shard", "0"),
  refused("reads by no thread", (*PRECOMPUTE, "--readers", "0"), "readers", "0"),
  refused(
    "allows more faults than clips",
    (*PRECOMPUTE, "--max-faulty", "5"),
    "max-faulty",
    "5",
  ),
  refused(
    "writes a bucket the other way", (*PRECOMPUTE, "--buckets", "32x32"), "32x32"
  ),
  refused(
    "writes a bucket with stars", (*PRECOMPUTE, "--buckets", "5*32*32"), "5*32*32"
  ),
  refused("gives a bucket no frames", (*PRECOMPUTE, "--buckets", "0x32x32"), "0x32x32"),
  refused(
    "gives a bucket that the VAE cannot make",
    (*PRECOMPUTE, "--buckets", "6x33x32"),
    "6x33x32",
  ),
  refused("renders no variant", (*PRECOMPUTE, "--variants", "0"), "variants", "0"),
  refused("shows fewer clips than none", (*PRECOMPUTE, "--samples", "-1"), "samples"),
  refused(
    "counts processes from 1", (*PRECOMPUTE, "--processes", "2", "--process", "2"), "2"
  ),
  refused("shares work among nobody", (*PRECOMPUTE, "--processes", "0"), "processes"),
  refused(
    "computes in a precision that nobody has", (*PRECOMPUTE, "--dtype", "int4"), "int4"
  ),
  refused("judges no clip", (*EVALUATE, "--clips", "0"), "clips", "0"),
  refused(
    "judges with less than no noise", (*EVALUATE, "--noise", "-1"), "noise", "-1"
  ),
  refused("judges frames of no size", (*EVALUATE, "--width", "0"), "width", "0"),
  refused("blurs by nothing at all", (*EVALUATE, "--blur", "nan"), "blur", "nan"),
  refused("trains no steps", (*TINY_VAE, "--steps", "0"), "--steps", "0"),
  refused("trains steps of a float", (*TINY_VAE, "--steps", "1e3"), "--steps", "1e3"),
  refused(
    "learns backwards",
    (*TINY_VAE, "--optimizer.learning-rate", "-1"),
    "learning_rate",
    "-1",
  ),
  refused("learns by nothing", (*TINY, "--optimizer.learning-rate", "nan"), "nan"),
  refused("forgets nothing", (*TINY, "--optimizer.ema-decay", "1"), "ema", "1"),
  refused(
    "divides a batch by nothing",
    (*TINY, "--optimizer.accumulate", "0"),
    "accumulate",
    "0",
  ),
  refused(
    "divides a batch oddly", (*TINY, "--optimizer.accumulate", "7"), "accumulate", "7"
  ),
  refused("saves never", (*TINY, "--output.save-every", "0"), "save_every", "0"),
  refused("keeps no checkpoint", (*TINY, "--output.keep", "0"), "keep", "0"),
  refused(
    "drops captions in percent",
    (*TINY, "--flow.caption-dropout", "10"),
    "caption_dropout",
    "10",
  ),
  refused("seeds with a negative number", (*TINY, "--seed", "-3"), "seed", "-3"),
  refused("drops tokens in percent", (*TINY, "--token-dropping", "50"), "50"),
  refused("gives a LoRA a negative rank", (*TINY, "--lora.rank", "-4"), "rank", "-4"),
  refused("holds out everything", (*TINY, "--held-out", "-1"), "held_out", "-1"),
  refused("clips by nothing", (*TINY, "--optimizer.clip-norm", "0"), "clip_norm", "0"),
  refused("warms up backwards", (*TINY, "--optimizer.warmup-steps", "-1"), "-1"),
  refused("plans a rank of nothing", (*PLAN, "--ranks", "0"), "rank", "0"),
  refused("plans a negative rank", (*PLAN, "--ranks", "-8"), "rank", "-8"),
  refused("plans clips of no frames", (*PLAN, "--buckets", "512x320x0"), "frames", "0"),
  refused("plans clips in another order", (*PLAN, "--buckets", "512x320"), "512x320"),
  refused(
    "gives the tokenizer no pieces",
    ("train.tokenizer", "--pieces", "0", "--output", "out"),
    "--pieces",
    "0",
  ),
  refused(
    "gives texts no tokens",
    ("train.tokenizer", "--max-tokens", "0", "--output", "out"),
    "max",
    "0",
  ),
  refused(
    "listens on a port that is none", (*APP, "--port", "99999"), "--port", "99999"
  ),
  refused("lets nobody wait", (*APP, "--queue", "0"), "--queue", "0"),
  refused("uploads less than nothing", (*APP, "--upload-megabytes", "-1"), "-1"),
  refused(
    "compiles no clip",
    ("sample.compile", "--device", "h100", "--clips", "0"),
    "--clips",
    "0",
  ),
  refused(
    "compiles a size in the wrong form",
    ("sample.compile", "--device", "h100", "--size", "768"),
    "--size",
    "768",
  ),
  refused(
    "compiles a size of nothing",
    ("sample.compile", "--device", "h100", "--size", "0x0"),
    "0",
  ),
  refused(
    "decodes in no memory",
    ("sample.compile", "--device", "h100", "--decode-memory", "0"),
    "--decode-memory",
    "0",
  ),
  refused(
    "trains no clip on a chip",
    ("train.compile", "ltxv_2b", "--device", "h100", "--clips", "0"),
    "clips",
    "0",
  ),
  refused(
    "compiles a bucket in the wrong form",
    ("train.compile", "ltxv_2b", "--device", "h100", "--bucket", "768x512"),
    "--bucket",
    "768x512",
  ),
)

CASES = (*SIZES, *RATES, *STEPS, *SEEDS, *CONDITIONS, *PROGRAMS)
