"""LeRobot datasets (v3.0): to and from HDF5, in Parquet and MP4, without the lerobot package."""
