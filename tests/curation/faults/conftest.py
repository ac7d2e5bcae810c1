"""Without OpenCV nothing is measured, so there are no faults to find."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("cv2") else ["test_*.py"]
