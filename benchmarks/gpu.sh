#!/usr/bin/env bash
# What needs a GPU, in parts of at most 8 minutes. A part that is cut short is to be run again: w18 to ocr go on where
# they stopped; kernel to pinned begin anew, unless their result is there; cost begins anew, but keeps finished rounds.
#
#   DATA=PATH/TO/camvid bash benchmarks/gpu.sh              # every part, one after the other
#   DATA=PATH/TO/camvid bash benchmarks/gpu.sh cost w48     # some
#   DATA=PATH/TO/camvid bash benchmarks/gpu.sh --small      # tiny sizes, on the CPU where there is no GPU; shows that it runs
#
# kernel, step, profile, waits,
# float16, pinned                        see benchmarks/gpu.py
# cost                                   whole training steps of HRNet-W48 at 512x1024, see benchmarks/training_cost.py
# w18, w48, r50, r101, ocr               CamVid at full size: cross entropy against contrast, SEEDS seeds, JOBS runs at a
#                                        time, STEPS steps (CHECKPOINT: steps between checkpoints)
#
# Results: $OUTPUT/*.json (by default benchmarks/results), and $RUNS/MODEL/compare.{json,md} (by default runs/gpu; for
# docs/results, once all runs are done), copied to $OUTPUT where that is given. Where there is no git,
# PIXELCONTRAST_COMMIT says of which commit the source is.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"
limit="${LIMIT:-450}"
output="${OUTPUT:-benchmarks/results}"
runs="${RUNS:-runs/gpu}"
small=()
[ "${1:-}" = --small ] && { small=(--small); shift; }
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(kernel step profile waits float16 pinned cost w18 w48 r50 r101 ocr)

within_limit() { # runs a command, which is told to stop at the limit, and killed half a minute later
  local code=0
  timeout --signal=INT --kill-after=30 "$limit" "$@" || code=$?
  case $code in
    0) ;;
    124 | 130 | 137) echo "$part: stopped after $limit s; run it again" ;;
    *) echo "$part: failed with exit code $code" >&2; failed=1 ;;
  esac
}

compare() { # NAME RECIPE KEY=VALUE...
  local name=$1 recipe=$2 changes=()
  for change in "data.root=${DATA:?set DATA to the folder of CamVid}" \
    "trainer.max_steps=${STEPS:-6000}" "contrast.start_step=$((${STEPS:-6000} / 4))" trainer.precision=bf16 \
    "trainer.checkpoint_every=${CHECKPOINT:-500}" trainer.evaluate_every=null trainer.logger=none "data.cache=true" "${@:3}"; do
    changes+=(--set "$change")
  done
  within_limit "$python" -m pixelcontrast compare "$recipe" "${changes[@]}" --arms cross_entropy,contrast \
    --seeds "${SEEDS:-3}" --jobs "${JOBS:-2}" --output "$runs/$name"
  for kind in json md; do
    if [ -n "${OUTPUT:-}" ] && [ -e "$runs/$name/compare.$kind" ]; then
      mkdir -p "$output" && cp "$runs/$name/compare.$kind" "$output/camvid_$name.$kind"
    fi
  done
}

camvid() { # NAME RECIPE KEY=VALUE...
  if [ ${#small[@]} -eq 0 ]; then
    compare "$@" model.pretrained=false
  else
    STEPS=2 CHECKPOINT=1 SEEDS=1 JOBS=1 compare "small_$1" "${@:2}" model.pretrained=false model.backbone="$small_backbone" \
      "data.crop_size=[64,64]" data.batch_size=2 data.workers=0 contrast.start_step=0 trainer.precision=32
  fi
}

failed=0
for part in "${parts[@]}"; do
  small_backbone=resnet10t
  case $part in
    kernel | step | profile | waits | float16 | pinned) within_limit "$python" benchmarks/gpu.py "$part" "${small[@]:---output=$output}" ;;
    cost)
      if [ ${#small[@]} -eq 0 ]; then
        within_limit "$python" benchmarks/training_cost.py cityscapes/hrnet_w48 --set data.batch_size=8 \
          --set trainer.precision=bf16 --rounds 2 --output "$output/training_cost_cityscapes_hrnet_w48_cuda.json"
      else
        within_limit "$python" benchmarks/training_cost.py camvid/hrnet_w18_small --set "data.crop_size=[64,64]" \
          --set data.batch_size=2 --steps 2 --rounds 1 --output "$(mktemp -d)/cost.json"
      fi
      ;;
    w18) small_backbone=hrnet_w18_small camvid w18 camvid/hrnet_w48 model.backbone=hrnet_w18 ;;
    w48) small_backbone=hrnet_w18_small camvid w48 camvid/hrnet_w48 ;;
    r50) camvid r50 camvid/deeplabv3_r101 model.backbone=resnet50 ;;
    r101) camvid r101 camvid/deeplabv3_r101 ;;
    ocr) small_backbone=hrnet_w18_small camvid ocr camvid/ocr_hrnet_w48 ;;
    *) echo "no part is called $part; see the head of this file" >&2; exit 2 ;;
  esac
done
exit $failed
