"""A plugin of pytest that holds every call to its annotations: `-p tests.annotations`.

`.ci/run` asks for it. Annotations are read as type checkers read them: 24 is welcome
where a float is asked.
"""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
install_import_hook("ltx_jax", "tests.annotations.checked")
