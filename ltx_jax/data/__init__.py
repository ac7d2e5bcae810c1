"""From clips on disk to batches: manifests, videos, records, buckets, the loader."""
