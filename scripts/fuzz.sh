#!/usr/bin/env bash
# Fuzzes the parsers of untrusted input with libFuzzer, on stable Rust:
#
#   scripts/fuzz.sh             every target for FUZZ_SECONDS (20) each
#   scripts/fuzz.sh TARGET..    only these
#
# Starts from fuzz/corpus and from the inputs that earlier runs have kept in
# target/fuzz/corpus. An input that breaks a property ends the run of its target;
# it is printed and kept in target/fuzz/broken. Needs a C++ compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TARGETS=(access_file backup contexts hello report envoy_node envoy_report filter token jwt jwks service_account certificate dataplane_file kube_request mesh_identity store_file)
seconds=${FUZZ_SECONDS:-20}
target=${CARGO_TARGET_DIR:-target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')

# The flags of `cargo fuzz`, without the sanitizers: those need nightly, and this
# crate has no unsafe code. LLVM counts the edges that are executed and passes
# compared values to the fuzzer. With --target, build scripts are not instrumented.
flags=(
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    --cfg fuzzing
)

# Limits of one input, far above what any needs: the slowest takes a third of a
# second, on a machine that is not busy.
limits=(-max_len=4096 -timeout=60 -malloc_limit_mb=128 -rss_limit_mb=1024)

build() {
    RUSTFLAGS="${flags[*]}" cargo build --manifest-path fuzz/Cargo.toml --locked --release \
        --target "$host" --target-dir "$target"
}

fuzz() {
    local name=$1 code=0 began=$SECONDS
    mkdir -p "$target/corpus/$name" "$target/broken" "$target/log"
    local log=$target/log/$name.log dictionary=()
    [ ! -f "fuzz/dictionaries/$name" ] || dictionary=("-dict=fuzz/dictionaries/$name")
    timeout --kill-after=10s $((seconds + 120)) "$target/$host/release/$name" "${limits[@]}" \
        -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$target/broken/$name-" \
        ${dictionary[@]+"${dictionary[@]}"} "$target/corpus/$name" "fuzz/corpus/$name" >"$log" 2>&1 || code=$?
    if [ "$code" = 0 ]; then
        awk -v name="$name" '
            /INITED/ { start = $4 }
            /DONE/ { end = $4; features = $6 }
            /number_of_executed_units/ { runs = $2 }
            /average_exec_per_sec/ { rate = $2 }
            END { printf "%-15s %10d runs %8d/s  edges %d -> %d, features %d\n", name, runs, rate, start, end, features }
        ' "$log"
        return
    fi
    echo "$name: BROKEN after $((SECONDS - began)) s (exit code $code); the end of $log:"
    tail -n 30 "$log"
    local input
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    if [ -n "$input" ]; then
        echo "replay with: $target/$host/release/$name $input"
        echo "keep with:   cp $input fuzz/corpus/$name/ && cargo test --test fuzz"
        if [ "$(stat -c %s "$input")" -le 4096 ]; then
            echo "or recreate it with base64 -d from:"
            base64 "$input"
        fi
    fi
    return 1
}

build
failed=()
for name in ${*:-"${TARGETS[@]}"}; do
    fuzz "$name" || failed+=("$name")
done
if [ ${#failed[@]} != 0 ]; then
    echo "broken: ${failed[*]}"
    exit 1
fi
