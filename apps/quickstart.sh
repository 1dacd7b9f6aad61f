#!/usr/bin/env bash
# From a fresh clone to a trained model: installs what is missing (Debian, Ubuntu), builds, trains a small vision transformer with
# relative positions, evaluates it, and shows what it predicts for a few images.
#
#   apps/quickstart.sh                 six epochs of Fashion-MNIST; on the generated data set `shapes` where that is not to be had
#   apps/quickstart.sh --epochs 1      further flags go to `vitrine train`
#
# Results: runs/quickstart. Called again, it goes on with the run that is there, by the settings of that run.
set -euo pipefail
cd "$(dirname "$0")/.."
. apps/packages.sh

for flag in "$@"; do
  case $flag in
    --out* | --data*)
      echo "quickstart: $flag is set here, as what is trained is evaluated too; for another: build/vitrine train --help" >&2
      exit 2
      ;;
  esac
done
install_packages "${build_packages[@]}" || echo "Going on with what is there."

cuda=OFF
if nvidia-smi -L 2>/dev/null | grep -q GPU; then cuda=AUTO; fi
mkdir -p build
echo "== building in build (a few minutes the first time); log: build/build.log"
if ! { cmake -S . -B build -G Ninja -DVITRINE_TESTS=OFF -DVITRINE_CUDA=$cuda && cmake --build build; } >build/build.log 2>&1; then
  grep -E "error|Error|FAILED" build/build.log | head -20 || tail -20 build/build.log
  echo "The build failed; build/build.log has everything." >&2
  exit 1
fi

data=fashion-mnist out=runs/quickstart
if ! install_packages dataset-fashion-mnist; then
  echo "No Fashion-MNIST; training on generated shapes instead."
  data=shapes out=runs/quickstart-shapes
fi

echo "== training on $data"
settings=(--model deit_micro_patch4_28 --rpe rpe-1.9-product-ctx-1-k --epochs 6 --lr 2e-3)
if [ -e $out/checkpoint.safetensors ]; then
  echo "Going on with the run in $out, by its settings; remove the folder to start anew."
  settings=()
fi
build/vitrine train --data $data --out $out --resume "${settings[@]}" "$@"

echo "== evaluating"
build/vitrine eval --checkpoint $out/checkpoint.safetensors --data $data

echo "== predicting: labels are in the files' names"
build/vitrine samples --data $data --count 5 --out $out/samples >/dev/null
images=("$out"/samples/*.png)
build/vitrine predict --checkpoint $out/checkpoint.safetensors "${images[@]}"

cat <<END

Made:
  $out/checkpoint.safetensors    the trained model; also best.safetensors
  $out/metrics.jsonl             a line per epoch
  $out/curves.svg                the same as a picture, for any browser
  $out/samples/                  a few test images

Next:
  build/vitrine inspect --checkpoint $out/checkpoint.safetensors ${images[0]} --out page.html
                                                                             a page for any browser: attention, times, memory
  build/vitrine predict --checkpoint $out/checkpoint.safetensors IMAGE...    what it sees in a picture
  build/vitrine rpe --method product --ratio 1.9 --grid 7x7                  the relative positions it uses
  build/vitrine train --rpe none --data $data --out runs/plain               the same without them
  build/vitrine --help                                                       everything else
END
