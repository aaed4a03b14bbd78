#!/usr/bin/env bash
# Cargo 1.95.0: a package with an override of its own in a profile loses the profile's `strip`.
#
# `strip = true` (or "symbols") in a profile makes cargo pass `-C strip=symbols` for the program. As soon as
# the same profile, or the one it inherits from, has `[profile.NAME.package.PROGRAM]` with any setting at all
# (here `opt-level`), cargo passes `-C strip=debuginfo` for it instead, without a word, and the program keeps
# its symbols. `strip` cannot be given in the override either: "`strip` may not be specified in a `package`
# profile". Seen: 0 tables of symbols without an override, 1 with one; in a program of 11 MB they had 2.9 MB more.
#
# Fails if that changes. Needs rustup and a C compiler; works in a temporary folder.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir src
echo 'fn main() { println!("hello"); }' >src/main.rs

# The flag that cargo passes, and whether the program has a table of symbols.
build() {
  rm -rf target
  flag=$(rustup run --install 1.95.0 cargo build --profile shipped --verbose 2>&1 | grep -o 'strip=[a-z]*')
  symbols=$(python3 - target/shipped/hello <<'PY'
import struct, sys
data = open(sys.argv[1], "rb").read()
assert data[:5] == b"\x7fELF\x02", "this looks at 64-bit ELF files"
start, = struct.unpack_from("<Q", data, 40)
size, count = struct.unpack_from("<HH", data, 58)
kinds = [struct.unpack_from("<I", data, start + n * size + 4)[0] for n in range(count)]
print(kinds.count(2))  # SHT_SYMTAB
PY
  )
}

cat >Cargo.toml <<'END'
[package]
name = "hello"
version = "0.1.0"
edition = "2024"

[profile.shipped]
inherits = "release"
strip = true
END
build
echo "without an override: $flag, tables of symbols: $symbols"
test "$flag" = "strip=symbols" -a "$symbols" = 0

printf '\n[profile.release.package.hello]\nopt-level = 1\n' >>Cargo.toml
build
echo "with an override of opt-level: $flag, tables of symbols: $symbols"
test "$flag" = "strip=debuginfo" -a "$symbols" = 1
