#!/bin/sh
# The paper's policies on one example model:  examples/eval/run.sh scenes-flux 2 [options of cfx eval]
# Repeated, it goes on where it was interrupted, and makes only what more --policies ask for. OUT names the folder, RING=N a
# ring degree (the rest is Ulysses), STEPS=N the denoising steps.
set -eu
cd "$(dirname "$0")/../.."
model=$1 ranks=$2
shift 2
python=$(npx cfx setup --print-python)
case $model in
  scenes-flux) judge=scenes ;;
  shapes-pixart) judge=shapes ;;
  shapes-wan) judge=moving ;;
esac
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
ring=${RING:-1}
exec npx cfx eval --device cpu \
  --policies paper-2bit,paper-1bit,stale,examples/eval/naive-1bit.yaml,examples/eval/residual-1bit-open.yaml \
  --prompts "examples/eval/$model.prompts.txt" --seeds 1,2 --measure 4 \
  --judge "'$python' examples/train/judge.py score --judge examples/train/judges/judge-$judge.safetensors --samples {file}" \
  --out "${OUT:-cfx-eval/$model-$ranks}" "$@" \
  -- "$python" -m torch.distributed.run --standalone --nproc-per-node "$ranks" examples/generate.py \
  --model "examples/models/$model" --samples {samples} --skip {start} --ulysses_degree $((ranks / ring)) --ring_degree "$ring" \
  ${STEPS:+--steps "$STEPS"}
