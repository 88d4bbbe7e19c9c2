#!/usr/bin/env bash
# A generation in eight shards, as a SLURM array, and the file that one run would have made:
#
#   array=$(sbatch --parsable docs/examples/slurm_generate.sh)
#   sbatch --dependency=afterok:$array --wrap "mimicctl merge --verify --output-file datasets/merged.hdf5"
#
# Everything runs in the folder it was submitted from, which all nodes share, with mimicctl on the PATH.
# A shard that was preempted, or is submitted again with --array=3, goes on where it stopped.
#SBATCH --job-name=mimicctl-generate
#SBATCH --array=0-7
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail

shards=${SHARDS:-8}  # as many as the array has tasks; not $SLURM_ARRAY_TASK_COUNT, which is 1 when one is submitted again
trials=${TRIALS:-10000}  # successes of all shards together
attempts=${ATTEMPTS:-10400}  # of all shards together: some more than the success rate asks for

# exec: SLURM's SIGTERM reaches mimicctl itself, which then ends as with Ctrl-C.
exec mimicctl generate \
  --shard "$SLURM_ARRAY_TASK_ID/$shards" --trials "$trials" --attempts "$attempts" \
  --workers "$SLURM_CPUS_PER_TASK" --resume --status-file "status/$SLURM_ARRAY_TASK_ID.json"
