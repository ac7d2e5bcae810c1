"""Flags: near misses, values of other flags, and flags that lack their partner."""

from __future__ import annotations

from tests.odd_inputs.case import generate, quick, refused

IMAGE = "{shelf}/images/plain.png"
CLIP = "{shelf}/clips/plain.mp4"
VAE = "train.vae", "tiny"
TRANSFORMER = "train.transformer", "tiny"
PRECOMPUTE = "train.precompute", "moving-shapes"
SIZE = "--buckets", "5x32x32"

NEAR_MISSES = (
  refused("misspells a flag", generate("--widht", "64"), "--widht", "--width"),
  refused("knows the flag of other programs", generate("--cfg", "3"), "--cfg"),
  refused("remembers diffusers' name", generate("--guidance-scale", "3"), "--guidance"),
  refused("remembers diffusers' frames", generate("--num-frames", "9"), "--frames"),
  refused(
    "remembers diffusers' steps", generate("--num-inference-steps", "9"), "steps"
  ),
  refused("writes with underscores", generate("--guidance_scale", "3"), "guidance"),
  refused("writes one dash", generate("-width", "64"), "-width"),
  refused("writes an em dash", generate("—width", "64"), "—width"),
  refused("takes a short flag", generate("-o", "a.mp4"), "-o"),
  refused("writes it in capitals", generate("--WIDTH", "64"), "--width"),
  refused("gives a switch a value", generate("--strict", "true"), "true"),
  refused("negates what is no switch", generate("--no-width"), "--no-width"),
  refused("misspells a choice", generate("--dtype", "fp16"), "fp16", "float16"),
  refused(
    "writes a dtype as PyTorch", generate("--dtype", "torch.bfloat16"), "bfloat16"
  ),
  refused("misspells a mode", generate("--stg-mode", "attention"), "attention_values"),
  refused("answers yes", generate("--stochastic", "yes"), "yes", "on"),
  refused(
    "misspells a schedule", generate("--schedule", "cosine"), "cosine", "uniform"
  ),
  refused("wants 4 bits", generate("--weights", "int4"), "int4", "int8"),
  refused("names no program's option", (*VAE, "--batch-size", "4"), "--batch-size"),
  refused(
    "leaves out the group",
    (*VAE, "--learning-rate", "1e-3"),
    "--learning-rate",
    "--optimizer.learning-rate",
  ),
  refused("misspells a group", (*VAE, "--optimiser.b2", "0.9"), "--optimizer.b2"),
  refused("writes YAML's way", (*VAE, "optimizer.b2=0.9"), "optimizer.b2=0.9"),
  refused("names a recipe that is none", ("train.vae", "tinny"), "tinny", "tiny"),
  refused("names a recipe by its file", ("train.vae", "configs/tiny.py"), "tiny"),
  refused("names a recipe of the other trainer", ("train.vae", "lora"), "lora"),
  refused("names a recipe by a URL", ("train.vae", "https://x.org/a.yaml"), "a.yaml"),
  refused(
    "trains what no recipe says", ("train.transformer", "--steps", "3"), "--steps"
  ),
  refused(
    "misspells a preset",
    ("sample.generate", "a cat", "--model", "moving-shape"),
    "moving-shape",
    "moving-shapes",
  ),
  refused(
    "leaves out a preset's date",
    ("sample.generate", "a", "--model", "ltxv-2b-9.6"),
    "ltxv-2b-9.6",
    "did you mean",
  ),
  refused(
    "names a family", ("sample.generate", "a", "--model", "ltx-video"), "ltx-video"
  ),
  refused(
    "names a repository",
    ("sample.generate", "a", "--model", "Lightricks/LTX-Video"),
    "Lightricks/LTX-Video",
    "FILE",
  ),
  refused("names another model", ("sample.generate", "a", "--model", "sdxl"), "sdxl"),
  refused(
    "gives a link",
    (
      "sample.generate",
      "a",
      "--model",
      "https://huggingface.co/Lightricks/LTX-Video/blob/main/a.safetensors",
    ),
    "https",
  ),
  refused(
    "compiles for a device that is none",
    ("sample.compile", "--device", "h200"),
    "h200",
    "h100",
  ),
  refused("compiles for no device", ("sample.compile",), "--device"),
  refused(
    "compiles a preset that is none",
    ("sample.compile", "--device", "h100", "--preset", "ltxv"),
    "ltxv",
  ),
  refused(
    "compiles a stage that is none",
    ("sample.compile", "--device", "h100", "--stages", "encode"),
    "encode",
  ),
  refused(
    "trains for a device that is none",
    ("train.compile", "ltxv_2b", "--device", "a6000"),
    "a6000",
  ),
  refused(
    "plans for a device that is none",
    ("train.plan", "lora", "--devices", "rtx9090"),
    "rtx9090",
  ),
  refused("plans what is no LoRA", ("train.plan", "ltxv_2b"), "ltxv_2b", "lora"),
  refused("plans a recipe that is none", ("train.plan", "loar"), "loar", "lora"),
  refused("evaluates what is none", ("train.evaluate", "recon"), "recon"),
  refused("evaluates nothing", ("train.evaluate",), "reconstruction"),
  refused("gives the doctor a flag", ("sample.doctor", "--fix"), "--fix"),
  refused("gives the doctor a word", ("sample.doctor", "now"), "now"),
  refused(
    "converts to a dtype that is none",
    ("sample.convert", "moving-shapes", "a.safetensors", "--dtype", "fp8"),
    "fp8",
  ),
  refused("converts to nowhere", ("sample.convert", "moving-shapes"), "TARGET"),
  refused("converts nothing", ("sample.convert",), "SOURCE"),
  refused(
    "converts two at once",
    ("sample.convert", "a.safetensors", "b.safetensors", "c.safetensors"),
    "c.safetensors",
  ),
  refused("opens the page to all", ("sample.app", "--host", "0.0.0.0"), "--password"),
  refused("shares the page", ("sample.app", "--share"), "--share", "--password"),
  refused(
    "shares it with an empty password",
    ("sample.app", "--share", "--password", ""),
    "--password",
  ),
  refused("misspells the page's flag", ("sample.app", "--prot", "80"), "--port"),
  refused("names no program", ("sample", "genrate", "a cat"), "genrate", "generate"),
)

PARTNERS = (
  refused("gives a strength and no image", generate("--strength", "0.5"), "--image"),
  refused("compresses no image", generate("--crf", "29"), "--crf", "--image"),
  refused(
    "shrinks no reference", generate("--reference-downscale", "2"), "--reference"
  ),
  refused("overlaps no windows", generate("--overlap", "9"), "--window"),
  refused("scales no second pass", generate("--scale", "0.5"), "--multi-scale"),
  refused("guides no second pass", generate("--second.guidance", "2"), "--multi-scale"),
  refused("upscales no second pass", generate("--upscaler", "x"), "--multi-scale"),
  refused(
    "makes over in two passes",
    generate("--video", CLIP, "--multi-scale"),
    "--video",
    "--multi-scale",
  ),
  refused(
    "makes over in windows", generate("--video", CLIP, "--window", "5"), "--window"
  ),
  refused(
    "makes windows in two passes",
    quick("--window", "5", "--multi-scale"),
    "--window",
    "--multi-scale",
  ),
  refused("enhances by no endpoint", generate("--enhance-model", "qwen"), "--enhance"),
  refused(
    "enhances by a path", generate("--enhance", "localhost:8000"), "localhost:8000"
  ),
  refused(
    "enhances where nobody listens",
    generate("--enhance", "http://127.0.0.1:9/v1"),
    "127.0.0.1:9",
  ),
  refused("makes two passes without an upscaler", quick("--multi-scale"), "--upscaler"),
  refused(
    "gives steps in both ways",
    generate("--schedule", "uniform", "--sigmas", "1"),
    "leave",
  ),
  refused("makes over a clip whole", quick("--video", CLIP), "skip"),
  refused(
    "names a tokenizer beside an encoder",
    (*PRECOMPUTE, *SIZE, "--tokenizer", "{shelf}/model/tokenizer"),
    "--tokenizer",
  ),
  refused(
    "decodes a record of no name",
    ("train.records", "{shelf}/records", "--output", "a.mp4"),
    "ID",
  ),
  refused(
    "decodes a record by no model",
    ("train.records", "{shelf}/records", "000#1x32x32", "--output", "a.mp4"),
    "--model",
  ),
  refused(
    "trains a decoder from nothing", (*VAE, "--trained", "decoder"), "--init-from"
  ),
  refused("trains an encoder alone", (*VAE, "--trained", "encoder"), "encoder"),
  refused(
    "wants a board that is not installed", (*VAE, "--output.wandb", "project"), "wandb"
  ),
)

MESHES = (
  refused("gives a mesh a number", quick("--mesh", "8"), "--mesh", "8"),
  refused("gives a mesh a shape", quick("--mesh", "2x4"), "2x4"),
  refused("gives a mesh other axes", quick("--mesh", "model=2"), "model=2", "context"),
  refused("names an axis twice", quick("--mesh", "data=1,data=1"), "data=1,data=1"),
  refused("gives a mesh more than there is", quick("--mesh", "data=8"), "8"),
  refused("gives a mesh nothing", quick("--mesh", "data=0"), "0"),
  refused("gives a mesh a negative number", quick("--mesh", "data=-1"), "data=-1"),
  refused("leaves a mesh empty", quick("--mesh", ""), "--mesh"),
  refused("writes a mesh with spaces", quick("--mesh", "data = 1"), "data = 1"),
  refused("trains on more than there is", (*VAE, "--mesh.data", "16"), "16"),
  refused("splits nothing", (*VAE, "--mesh.fsdp", "0"), "fsdp", "0"),
  refused(
    "splits heads oddly",
    (*TRANSFORMER, "--vae", "{shelf}/vae.safetensors", "--mesh.tensor", "3"),
    "3",
  ),
  refused(
    "compiles chips without a mesh", ("sample.compile", "--device", "v6e-8"), "--mesh"
  ),
)

SWAPPED = (
  refused(
    "gives an image as the video's model",
    ("sample.generate", "a", "--model", IMAGE),
    "plain.png",
  ),
  refused("gives a video as prompts", generate("--prompt-file", CLIP), "plain.mp4"),
  refused(
    "gives a text as an image",
    generate("--image", "a.txt"),
    "a.txt",
    files={"a.txt": "a red circle"},
  ),
  refused(
    "gives a checkpoint as an image",
    quick("--image", "{shelf}/model/model.safetensors"),
    "model.safetensors",
  ),
  refused(
    "gives a model's folder as a LoRA", quick("--lora", "{shelf}/model"), "model"
  ),
  refused(
    "gives a whole model as a LoRA",
    quick("--lora", "{shelf}/model/model.safetensors"),
    "model.safetensors",
  ),
  refused(
    "gives a LoRA as the model",
    ("sample.generate", "a", "--model", "{shelf}/loras/fits.safetensors"),
    "fits",
  ),
  refused(
    "gives a VAE as the model",
    ("sample.generate", "a", "--model", "{shelf}/vae.safetensors"),
    "vae",
  ),
  refused(
    "gives a model as the upscaler",
    quick("--multi-scale", "--upscaler", "{shelf}/model/model.safetensors"),
    "model.safetensors",
  ),
  refused(
    "gives an upscaler as the model",
    ("sample.generate", "a", "--model", "{shelf}/upscaler.safetensors"),
    "upscaler",
  ),
  refused(
    "gives a tokenizer as the text encoder",
    generate("--text-encoder", "{shelf}/model/tokenizer"),
    "tokenizer",
  ),
  refused(
    "gives records as a manifest", ("train.manifest", "{shelf}/records"), "records"
  ),
  refused(
    "gives a manifest as records",
    (
      *TRANSFORMER,
      "--vae",
      "{shelf}/vae.safetensors",
      "--data",
      "{shelf}/data/list.jsonl",
    ),
    "list.jsonl",
  ),
  refused(
    "gives clips as records",
    (*TRANSFORMER, "--vae", "{shelf}/vae.safetensors", "--data", "{shelf}/data"),
    "data",
  ),
  refused("gives records to a VAE", (*VAE, "--data", "{shelf}/records"), "records"),
  refused(
    "gives a transformer as the VAE",
    (*TRANSFORMER, "--vae", "{shelf}/checkpoints/transformer-only.safetensors"),
    "transformer-only",
  ),
  refused("gives a run as records", ("train.records", "{shelf}/run"), "run"),
  refused("draws curves of records", ("train.curves", "{shelf}/records"), "records"),
  refused(
    "draws curves of a file",
    ("train.curves", "{shelf}/run/metrics.jsonl"),
    "metrics.jsonl",
  ),
  refused(
    "writes curves as a video",
    ("train.curves", "{shelf}/run", "--output", "a.mp4"),
    ".mp4",
  ),
  refused("writes a video as a page", generate("--output", "a.html"), ".html"),
  refused(
    "writes a video as a movie of Windows", generate("--output", "a.wmv"), ".wmv"
  ),
  refused("writes a clip as JPEG", quick("--output", "a.jpg"), "a.jpg"),
)

CASES = (*NEAR_MISSES, *PARTNERS, *MESHES, *SWAPPED)
