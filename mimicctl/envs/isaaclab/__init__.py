"""Tasks on NVIDIA Isaac Lab: any of its Mimic environments as a `MimicEnv`.

`names` knows its task ids, `versions` what differs between 2.x and 3.x, `launch` starts it in this process, `spec` reads a task off an
environment's config, `actions` turns targets into actions, and `env` is the environment. Importing any of them imports nothing of Isaac Lab.
"""
