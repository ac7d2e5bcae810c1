"""The policy with which tests run networks if the policy is not their subject.

Programs of loops and plain convolutions compile in half the time of a CPU's own, which
are unrolled and have forms of their own for each convolution. That all of them agree is
tested in `models/test_transformer.py`, `test_vae.py` and `test_convolution.py` there,
and `test_stacks.py`. Whole programs and comparisons with the original run a CPU's own.
"""

import dataclasses

from ltx_jax.platforms import CPU

QUICK = dataclasses.replace(CPU, unroll=False, convolution="direct", dense="derived")
