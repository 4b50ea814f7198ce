#!/usr/bin/env bash
# Sets itself up, then regenerates everything: models, annotations, runs, tables, figures, executed notebooks, summary.
# `./run_all.sh lab` sets up and opens the notebooks in JupyterLab, `./run_all.sh test` sets up and runs the tests,
# `./run_all.sh rehearse` runs a GPU tier on a processor. Safe to interrupt and to start again. Needs no root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

UV="uv==0.13.9" # the installer; where it cannot be had, plain pip does the same more slowly

usage() {
  cat <<'EOF'
usage: ./run_all.sh [options]              set up, then regenerate every figure, table and page
       ./run_all.sh lab [jupyter options]  set up, then open the notebooks in JupyterLab, on this machine alone
       ./run_all.sh test [pytest options]  set up, then run the tests
       ./run_all.sh rehearse --tier NAME[,NAME]   set up for a processor, then run a tier of GPUs on it, with toy models (docs/gpu.md)

options
  --tier NAME        size of the run (default: tiny); one of configs/tiers/*.yaml
  --quick            a look at the whole: one seed, few steps and problems (tier NAME-quick)
  --only NAME[,NAME] only these notebooks, by number (03) or name (03_method)
  --set KEY=VALUE    override one configuration value, e.g. --set train.steps=10; may be repeated
  --force            compute again what is already there
  --dry-run          say what would be done, and do nothing
  -h, --help         this text

environment
  ARTIFACT_VENV        use this existing environment instead of making .venv (nothing is installed into it)
  ARTIFACT_PYTHON      the Python 3.11 to make .venv with (default: python3.11, then python3)
  ARTIFACT_TORCH_INDEX package index for torch alone, e.g. PyTorch's own index of CPU builds
  ARTIFACT_RESULTS     where results go (default: results/); ARTIFACT_FIGURES likewise (default: figures/)
EOF
}

say() { printf '%s\n' "$*"; }
die() { printf 'run_all.sh: %s\n' "$*" >&2; exit 2; }

# ---- arguments: all checked before anything is installed -----------------------------------------------------------
TIER=tiny QUICK=0 ONLY="" FORCE=0 DRY=0 MODE=run SETS=() REST=()
value() { [ "$#" -ge 2 ] && [ -n "$2" ] || die "$1 needs a value; see ./run_all.sh --help"; }
while [ "$#" -gt 0 ]; do
  case "$1" in
    lab | test) MODE="$1"; shift; REST=("$@"); break ;;
    rehearse) MODE=rehearse; shift ;;
    --tier) value "$@"; TIER="$2"; shift 2 ;;
    --tier=*) TIER="${1#*=}"; shift ;;
    --quick) QUICK=1; shift ;;
    --only) value "$@"; ONLY="$2"; shift 2 ;;
    --only=*) ONLY="${1#*=}"; shift ;;
    --set) value "$@"; SETS+=("$2"); shift 2 ;;
    --set=*) SETS+=("${1#*=}"); shift ;;
    --force) FORCE=1; shift ;;
    --dry-run) DRY=1; shift ;;
    -h | --help) usage; exit 0 ;;
    *) die "unknown argument '$1'; allowed: lab test rehearse --tier --quick --only --set --force --dry-run --help" ;;
  esac
done

tiers=$(for f in configs/tiers/*.yaml; do basename "$f" .yaml; done | paste -sd ' ')
if [ "$QUICK" = 1 ]; then
  [ -f "configs/tiers/$TIER-quick.yaml" ] || die "--quick: tier '$TIER' has no quick look (configs/tiers/$TIER-quick.yaml)"
  TIER="$TIER-quick"
fi
each=("$TIER")
[ "$MODE" != rehearse ] || IFS=, read -ra each <<<"$TIER"
for name in ${each[@]+"${each[@]}"}; do
  [ -f "configs/tiers/$name.yaml" ] || die "unknown tier '$name'; the tiers are: $tiers"
done
names=$(for f in notebooks/[0-9][0-9]_*.ipynb; do [ ! -e "$f" ] || basename "$f" .ipynb; done)
IFS=, read -ra wanted <<<"$ONLY"
for name in ${wanted[@]+"${wanted[@]}"}; do
  found=$(grep -E "^(${name}|0?${name}_.*|[0-9][0-9]_${name})$" <<<"$names") ||
    die "--only: no notebook '$name'; the notebooks are: $(paste -sd ' ' <<<"$names")"
  for f in $found; do # the tier's file says which notebooks it leaves out, and why
    for tier in "${each[@]}"; do
      why=$(cat "configs/tiers/$tier.yaml" "configs/tiers/${tier%-quick}.yaml" | sed -n '/^leaves_out:/,/^[^ ]*:/'"s/^  $f: *//p" | head -n 1)
      [ -z "$why" ] || die "--only: notebook $f does not belong to tier $tier: $why"
    done
  done
done
for item in ${SETS[@]+"${SETS[@]}"}; do
  [[ "$item" =~ ^[A-Za-z_][A-Za-z0-9_.-]*=.*$ ]] || die "--set '$item' is not of the form key.subkey=value"
done

# NEEDED_MB: environment, pip and uv caches, results; models and data of a tier of GPUs are told by `artifact doctor`
LOCK=requirements/cpu.lock VENV=.venv DEVICE=cpu NEEDED_MB=8000
if [ "$MODE" != rehearse ] && grep -qE '^[[:space:]]+device:[[:space:]]*cuda' "configs/tiers/$TIER.yaml" "configs/tiers/${TIER%-quick}.yaml"; then
  LOCK=requirements/cuda.lock VENV=.venv-cuda DEVICE=cuda NEEDED_MB=25000
fi
OWN_VENV=1
if [ -n "${ARTIFACT_VENV:-}" ]; then
  VENV="$ARTIFACT_VENV" OWN_VENV=0
  [ -x "$VENV/bin/python" ] || die "ARTIFACT_VENV=$VENV has no bin/python"
fi
PYTHON="$VENV/bin/python"

# Byte code is kept whatever the shell was told: without it each process compiles vLLM, transformers and torch from source
# again (measured: importing vLLM's engine takes 17 s with it, 40 s without).
unset PYTHONDONTWRITEBYTECODE

# ---- the command that follows the set-up ----------------------------------------------------------------------------
if [ "$MODE" = test ]; then
  COMMAND=(-m pytest ${REST[@]+"${REST[@]}"})
elif [ "$MODE" = lab ]; then # loopback only; the server makes a token and prints the address that has it
  COMMAND=(-m jupyterlab --ServerApp.ip=127.0.0.1 --ServerApp.root_dir="$PWD")
  COMMAND+=(--LabApp.default_url="/lab/tree/notebooks/$(head -n 1 <<<"$names").ipynb")
  [ "$(id -u)" != 0 ] || COMMAND+=(--allow-root)
  COMMAND+=(${REST[@]+"${REST[@]}"})
elif [ "$MODE" = rehearse ]; then
  [ "${#SETS[@]}$FORCE" = 00 ] || die "rehearse takes --tier and --only; it runs the tier's own settings, and goes on where it was"
  COMMAND=(-m artifact.cli.main rehearse --tier "$TIER")
  [ -z "$ONLY" ] || COMMAND+=(--only "$ONLY")
else
  COMMAND=(-m artifact.cli.main run-all --tier "$TIER")
  [ -z "$ONLY" ] || COMMAND+=(--only "$ONLY")
  for item in ${SETS[@]+"${SETS[@]}"}; do COMMAND+=(--set "$item"); done
  [ "$FORCE" = 0 ] || COMMAND+=(--force)
fi

# ---- what the environment must be: one stamp, written last ----------------------------------------------------------
find_python() {
  local candidate
  for candidate in ${ARTIFACT_PYTHON:-python3.11 python3}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "Python 3.11 is needed (looked for: ${ARTIFACT_PYTHON:-python3.11 python3}); install it, with its venv module, or" \
    "set ARTIFACT_PYTHON to it, or use environment.yml with conda"
}
sum() { sha256sum "$@" | sha256sum | cut -c1-16; }
stamp_of() { # environment: lock, Python, place; project: what the editable install reads
  printf 'environment %s %s %s\n' "$(sum "$LOCK")" "$("$1" -c 'import sys; print(sys.version.split()[0])')" "$PWD"
  printf 'project %s\n' "$(sum pyproject.toml)"
}
state() { # ready | project | environment
  local have="$VENV/.artifact-stamp" want
  [ -f "$have" ] && [ -x "$PYTHON" ] && "$PYTHON" -c '' 2>/dev/null || { say environment; return; }
  want=$(stamp_of "$PYTHON")
  if [ "$want" = "$(cat "$have")" ]; then say ready
  elif [ "$(head -n 1 <<<"$want")" = "$(head -n 1 "$have")" ]; then say project
  else say environment; fi
}

if [ "$DRY" = 1 ]; then
  if [ "$OWN_VENV" = 0 ]; then say "environment: $VENV (ARTIFACT_VENV), used as it is"
  else say "environment: $VENV from $LOCK: $(state | sed 's/^ready$/ready/; s/^project$/the package would be installed again/; s/^environment$/would be made/')"
  fi
  say "then: $PYTHON ${COMMAND[*]}"
  if [ "$MODE" = run ] && { [ "$OWN_VENV" = 0 ] || [ "$(state)" = ready ]; }; then
    export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
    exec "$PYTHON" "${COMMAND[@]}" --dry-run
  fi
  exit 0
fi

# ---- one at a time in a clone ---------------------------------------------------------------------------------------
exec 9>>.run_all.lock
if ! flock -n 9; then
  die "another run_all.sh is at work in this clone (process $(tail -n 1 .run_all.lock)); wait for it or stop it"
fi
printf '%s\n' "$$" >.run_all.lock

# Extensions that torch and DeepSpeed compile at first use stay in this clone. A process killed while it compiled leaves a
# lock behind, for which every later one would wait for ever; nobody compiles here now, so a lock found here is stale.
export TORCH_EXTENSIONS_DIR="${TORCH_EXTENSIONS_DIR:-$PWD/.torch_extensions/$(basename "$VENV")}"
case "$TORCH_EXTENSIONS_DIR" in "$PWD"/*) find "$TORCH_EXTENSIONS_DIR" -name lock -type f -delete 2>/dev/null || true ;; esac

# ---- checks that are cheap now and expensive later ------------------------------------------------------------------
command -v "${CXX:-g++}" >/dev/null ||
  die "no C++ compiler (${CXX:-g++}): torch and DeepSpeed compile small extensions at first use; install g++ or set CXX"
RESULTS="${ARTIFACT_RESULTS:-results}"
{ mkdir -p "$RESULTS" && tmp=$(mktemp "$RESULTS/.writable.XXXXXX") && rm -f "$tmp"; } 2>/dev/null ||
  die "cannot write to $RESULTS; make it writable or set ARTIFACT_RESULTS"

# ---- the environment ------------------------------------------------------------------------------------------------
phase() { # phase "what" command…: say what is done and how long it took
  local what="$1" start=$SECONDS
  shift
  say "· $what"
  "$@"
  say "  done in $((SECONDS - start)) s"
}
have_uv() { "$PYTHON" -m uv --version >/dev/null 2>&1; }
run_uv() { # with pip's index and certificates, which uv does not read by itself
  [ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
  [ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"
  "$PYTHON" -m uv pip install --quiet --python "$PYTHON" "$@"
}
get_uv() { "$PYTHON" -m pip install --quiet --no-compile "$UV" || say "  $UV cannot be had here; plain pip it is (slower)"; }
install_torch() {
  "$PYTHON" -m pip install --quiet --no-compile ${ARTIFACT_TORCH_INDEX:+--index-url "$ARTIFACT_TORCH_INDEX"} --no-deps \
    "$(grep '^torch==' "$LOCK")" ||
    die "torch cannot be installed (see above); set ARTIFACT_TORCH_INDEX to PyTorch's own package index for this machine"
}
install_lock() {
  # torch is left to install_torch: the plain index may offer another build of it
  local rest="$VENV/.lock-without-torch.txt"
  grep -vE '^(#|torch==)' "$LOCK" >"$rest"
  if have_uv && run_uv --no-deps -r "$rest"; then return; fi
  "$PYTHON" -m pip install --quiet --no-compile --no-deps -r "$rest" || die "the packages of $LOCK cannot be installed (see above)"
}
install_interpreter() { # Triton runs GPU kernels on a CPU under its interpreter; apart, as vLLM takes it for a GPU where it finds it
  local folder="$VENV/interpreter"
  rm -rf "$folder.partial"
  "$PYTHON" -m pip install --quiet --no-compile --no-deps --target "$folder.partial" "$(grep '^triton==' requirements/cuda.lock)" ||
    die "Triton, under whose interpreter the GPU kernels are tested, cannot be installed (see above)"
  mv "$folder.partial" "$folder"
}
install_project() { "$PYTHON" -m pip install --quiet --no-deps --no-build-isolation --editable .; }
torch_works() { # on the tier's own device: a driver that is too old shows only there
  "$PYTHON" -c 'import sys, torch; torch.zeros(1, device=sys.argv[1]) + 1' "$DEVICE" 2>"$VENV/.torch-error.txt"
}
complete_cuda_torch() {
  # A CUDA build on a machine for the CPU tier: it runs without a GPU, but needs the CUDA libraries it was linked with.
  say "  this index gave a CUDA build of torch; fetching its libraries (about 3 GB). To avoid them, remove $VENV and set"
  say "  ARTIFACT_TORCH_INDEX to PyTorch's own index of CPU builds."
  "$PYTHON" -m pip install --quiet --no-compile -c "$LOCK" "$(grep '^torch==' "$LOCK")"
}
check_torch() {
  torch_works && return
  [ "$LOCK" != requirements/cpu.lock ] || complete_cuda_torch || true
  torch_works || die "torch does not work on $DEVICE: $(tail -n 1 "$VENV/.torch-error.txt"). Remedy: remove $VENV, set" \
    "ARTIFACT_TORCH_INDEX to PyTorch's own package index for this machine (CPU builds for --tier tiny), start again;" \
    "where a driver is named, update that."
}
check_imports() { # also compiles byte code for the modules that are used
  "$PYTHON" -W ignore -c 'import ray, deepspeed, papermill, pandas, sklearn, matplotlib
from transformers import AutoModelForCausalLM, AutoTokenizer
from vllm import LLM' >"$VENV/.imports.txt" 2>&1 ||
    { cat "$VENV/.imports.txt" >&2; die "the environment is incomplete (see above); remove $VENV and start again"; }
}
make_environment() {
  local base free
  base=$(find_python)
  free=$(df -Pm . | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$NEEDED_MB" ] || die "$free MB free in $PWD; about $NEEDED_MB MB are needed for the environment and results"
  if [ -e "$VENV" ] && [ ! -e "$VENV/.made-by-run_all" ]; then
    die "$VENV exists but was not made by run_all.sh: move it away, or set ARTIFACT_VENV=$VENV to use it as it is"
  fi
  rm -rf "$VENV"
  mkdir -p "$VENV"
  : >"$VENV/.made-by-run_all"
  phase "environment $VENV from $base" "$base" -m venv "$VENV"
  phase "installer" get_uv
  phase "torch" install_torch
  phase "the packages of $LOCK (about 3 GB)" install_lock
  phase "check of torch" check_torch
  phase "the package itself" install_project
  phase "first import (compiles byte code; about a minute)" check_imports
  stamp_of "$PYTHON" >"$VENV/.artifact-stamp.partial"
  mv "$VENV/.artifact-stamp.partial" "$VENV/.artifact-stamp"
}

if [ "$OWN_VENV" = 1 ]; then
  case "$(state)" in
    ready) say "environment $VENV is up to date" ;;
    project)
      phase "pyproject.toml changed: installing the package again" install_project
      stamp_of "$PYTHON" >"$VENV/.artifact-stamp.partial"
      mv "$VENV/.artifact-stamp.partial" "$VENV/.artifact-stamp"
      ;;
    *)
      say "setting up (once, a few minutes)"
      make_environment
      say "set-up took $SECONDS s"
      ;;
  esac
else
  export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
fi
if [ "$MODE$OWN_VENV$LOCK" = test1requirements/cpu.lock ] && [ ! -d "$VENV/interpreter" ]; then
  phase "Triton's interpreter, for the tests of the GPU kernels (190 MB)" install_interpreter
fi

export PATH="$(cd "$VENV/bin" && pwd):$PATH" # child processes (ninja, ray) are those of this environment
[ "$MODE" != lab ] || exec 9>&- # a series may run in this clone while notebooks are open
exec "$PYTHON" "${COMMAND[@]}"
