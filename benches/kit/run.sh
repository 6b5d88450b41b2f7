#!/bin/sh
# The GPU kit: everything that one visit to a GPU host can prove, record, tune and time. Needs a driver;
# python3 with PyTorch for the peers; compute-sanitizer and ncu for the last two stages.
#
#   ./run.sh all                     every stage, in eight minutes at most
#   ./run.sh correct time            only these
#   ./run.sh --record DIR all        where the record goes; default: record/DATE_REVISION_MACHINE
#   ./run.sh --require all           a stage that is skipped fails, too
#
# A stage that fails, hangs or runs out of its time stops no other, and what it wrote until then stays.
# Exit status: 0, or 1 if a stage failed.
set -u
caller=$(pwd)
cd "$(dirname "$0")" || exit 1
# once for each kit: one that replaced an older has newer programs
[ bin -nt bin.tar.gz ] || { tar -xzf bin.tar.gz && touch bin; } || exit 1

# stage, seconds; together at most 480
STAGES="doctor:15 correct:75 record:40 peers:45 time:150 tune:70 demo:25 vulkan:25 sanitize:20 profile:15"

# without it, Vulkan's loader complains on every start
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
revision=$(cat revision)
record=
require=
wanted=
while [ $# -gt 0 ]; do
  case $1 in
    --record) [ $# -ge 2 ] || { echo "error: --record wants a folder" >&2; exit 1; }; record=$2; shift ;;
    --require) require=yes ;;
    all) for entry in $STAGES; do wanted="$wanted ${entry%:*}"; done ;;
    *) case " $STAGES" in
         *" $1:"*) wanted="$wanted $1" ;;
         *) echo "error: no stage is called $1; there are: $STAGES" >&2; exit 1 ;;
       esac ;;
  esac
  shift
done
[ -n "$wanted" ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; echo "stages: $STAGES"; exit 1; }

# one folder for the whole run: the caller's, or named by the program, which knows the machine
case $record in
  '') record=$(bin/kit --revision "$revision" where) || exit 1 ;;
  /*) ;;
  *) record=$caller/$record ;;
esac
mkdir -p "$record" || exit 1

kit() { bin/kit --revision "$revision" --record "$record" "$@"; }
skip() { echo "skipped: $*"; return 77; }
# Each stage ends within its budget by itself where it can; $1 is the budget.
stage_doctor() { kit doctor && bin/quickpick doctor --shape 4096,16,4096; }
stage_correct() { kit correct --backend cuda; }
stage_record() { kit record --backend cuda; }
stage_peers() { kit peers --backend cuda --only square --dtypes s8,e4m3,f16 --rounds 5 --seconds $(($1 - 20)); }
stage_time() { kit time --backend cuda --dtypes f16,bf16 --rounds 7 --sample 2 --seconds $(($1 - 20)); }
stage_tune() { kit tune --backend cuda --only llama-3-8b --tokens 16,64,256,1024,4096 --rounds 3 --sample 1 --seconds $(($1 - 20)); }
demo() {
  bin/quickpick demo --backend "$1" --corpus corpus --steps 20 --out "$record/demo" || return
  cp "$record"/demo/*/report-"$1".json "$record"
}
# a backend that is not there is a skip, which the demo itself cannot say
stage_demo() { kit once --backend cuda --shape 64,16,64 || return; demo cuda; }
stage_vulkan() {
  kit once --backend wgpu --shape 64,16,64 || return
  kit correct --backend wgpu || return
  if grep -q '"wgpu.adapter.0": ".*(software)"' "$record/machine.json"; then
    echo "a software adapter: no demo on it"
  else
    demo wgpu
  fi
}
stage_sanitize() {
  command -v compute-sanitizer >/dev/null || { skip "compute-sanitizer is not installed"; return; }
  kit once --backend cuda --shape 64,16,64 || return
  status=0
  for kernel in spmm24_f16_mma_sp_sm80_64x64x64_s4 spmm24_f16_mma_sp_sm80_skinny_16x16x64_w8; do
    for tool in memcheck racecheck; do
      echo "== $tool $kernel"
      compute-sanitizer --tool $tool --error-exitcode 9 --target-processes all \
        bin/kit once --backend cuda --kernel $kernel --shape 129,13,416 || status=1
    done
  done
  return $status
}
stage_profile() {
  command -v ncu >/dev/null || { skip "ncu is not installed"; return; }
  kit once --backend cuda --shape 64,16,64 || return
  # the clocks are the host's, and stay as they are
  for shape in 4096,16,4096 4096,4096,4096; do
    ncu --clock-control none --set detailed --kernel-name regex:spmm24 --launch-count 1 \
      bin/kit once --backend cuda --shape $shape || return
  done
}

if [ "${QUICKPICK_STAGE:-}" ]; then # a stage in a process of its own, below timeout
  "stage_$QUICKPICK_STAGE" "$QUICKPICK_BUDGET"
  exit
fi

table=
failed=0
for stage in $wanted; do
  for entry in $STAGES; do [ "${entry%:*}" = "$stage" ] && budget=${entry#*:}; done
  printf '\n== %s (at most %s s)\n' "$stage" "$budget"
  start=$(date +%s)
  # the stage's own status must come through the pipe
  { QUICKPICK_STAGE=$stage QUICKPICK_BUDGET=$budget timeout -k 5 "$budget" "./$(basename "$0")" --record "$record" "$stage" 2>&1
    echo $? >"$record/.status"; } | tee "$record/$stage.log"
  status=$(cat "$record/.status")
  rm -f "$record/.status"
  bad=1
  case $status in
    0) state=ran bad=0 ;;
    77) state=skipped; [ "$require" ] || bad=0 ;;
    124 | 137) state="out of time" ;;
    *) state="FAILED ($status)" ;;
  esac
  failed=$((failed + bad))
  why=
  [ "$state" = ran ] || why=$(grep -E '^(skipped|error)|panicked at|Missing symbol' "$record/$stage.log" | tail -n 1 | cut -c 1-110)
  table="$table$(printf '%-9s %-12s %4s s  %s' "$stage" "$state" $(($(date +%s) - start)) "$why")
"
done
printf '\nstage     state        time    why\n%s' "$table" | tee "$record/stages.txt"
tar -czf "$record.tar.gz" -C "$(dirname "$record")" --exclude=demo "$(basename "$record")" && printf '\nrecord  %s.tar.gz\n' "$record"
[ $failed -eq 0 ]
