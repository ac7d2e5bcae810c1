"""Parts of `train.curate`: its folder, its workers, and what each command does."""
