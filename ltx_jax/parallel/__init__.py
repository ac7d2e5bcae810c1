"""Several devices and several processes: the mesh, and what is split over it."""
