"""Writes tests/golden/perceptual.npz: distances and a gradient of the package lpips.

python -m tests.oracle.make_golden_perceptual
"""

import copy
import pathlib

import lpips
import numpy as np
import torch

from tests.models import perceptual_case as case

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "perceptual.npz"


def original(vgg=None, heads=None):
  """Returns the original with given tensors; None keeps its own random VGG16, or heads.

  Its blocks number the layers as torchvision does, so names end alike.
  """
  model = lpips.LPIPS(net="vgg", pnet_rand=True, pretrained=True, verbose=False)
  if vgg is not None:
    fill(model, vgg)
  if heads is not None:
    tensors = {name: torch.tensor(value) for name, value in heads.items()}
    model.load_state_dict(tensors, strict=False)
  return model.eval()


def unweighted(vgg):
  """Returns the original without heads, with given tensors."""
  model = lpips.LPIPS(net="vgg", lpips=False, pnet_rand=True, verbose=False)
  fill(model, vgg)
  return model.eval()


def fill(model, vgg):
  ours = dict(zip(released_names(model), model.net.state_dict(), strict=True))
  assert ours.keys() == vgg.keys()
  model.net.load_state_dict({ours[k]: torch.tensor(v) for k, v in vgg.items()})


def released_names(model):
  """Returns the tensors of the original's VGG16 as torchvision names them."""
  return {
    f"features.{name.split('.', 1)[1]}": tensor
    for name, tensor in model.net.state_dict().items()
  }


def frames(video):
  b, count, height, width, c = video.shape
  return torch.tensor(video).reshape(b * count, height, width, c).permute(0, 3, 1, 2)


def distances(model, reconstruction, video):
  """Returns the original's distance of every frame [b F]."""
  with torch.no_grad():
    out = model(frames(reconstruction), frames(video))
  return out.reshape(video.shape[:2]).numpy()


def gradient(model, reconstruction, video):
  """Returns the gradient of the sum of all distances [b F H W 3].

  It is computed in float64. In float32 the original itself is now and then 1e-2 off:
  where two pixels of a pool are almost equal, rounding decides which one is larger.
  """
  pixels = frames(reconstruction).double().requires_grad_()
  exact = copy.deepcopy(model).double()
  exact(pixels, frames(video).double()).sum().backward()
  return pixels.grad.permute(0, 2, 3, 1).reshape(video.shape).numpy()


def main():
  video, noisy = case.videos()
  model = original(case.vgg(), case.heads())
  arrays = {
    "distances": distances(model, noisy, video),
    "gradient": gradient(model, noisy[:1, :1], video[:1, :1]).astype(np.float32),
    "equal": distances(unweighted(case.vgg()), noisy, video),
  }
  np.savez_compressed(GOLDEN, **arrays)
  print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes, {arrays['distances']}")


if __name__ == "__main__":
  main()
