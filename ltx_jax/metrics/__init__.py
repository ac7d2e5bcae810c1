"""Measures of videos, of sets of videos, of votes on them, and of latents.

| what            | modules                                                          |
|-----------------|------------------------------------------------------------------|
| a clip          | `frames`, `warp`, `optical_flow`                                 |
| two clips       | `psnr`, `ssim`, `lpips`, `flicker`, `bands`, `reconstruction`    |
| sets of clips   | `features`, `fvd`                                                |
| votes           | `win_rates`, `vote_intervals`, `agreement`                       |
| a figure        | `figure`, `estimates`, `tails`                                   |
| latents         | `latents`, `linear_code`                                         |
"""
