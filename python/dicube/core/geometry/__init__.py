"""Where voxels are in the patient, and volumes made from parts or on other grids."""
