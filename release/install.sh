#!/bin/sh
# Installs fieldmark @VERSION@: downloads the archive for this system, checks its SHA-256, and unpacks the program.
#
#   curl -fsSL @REPOSITORY@/releases/download/v@VERSION@/install.sh | sh
#
# FIELDMARK_INSTALL_DIR is where the program goes; ~/.local/bin otherwise. FIELDMARK_DOWNLOAD_URL is another place from
# which to take the archives.
set -eu

main() {
    folder="${FIELDMARK_INSTALL_DIR:-$HOME/.local/bin}"
    from="${FIELDMARK_DOWNLOAD_URL:-@REPOSITORY@/releases/download/v@VERSION@}"
    target="$(target)"
    expected="$(checksum "$target")"
    archive="fieldmark-$target.tar.gz"

    work="$(mktemp -d)"
    trap 'rm -rf "$work"' EXIT
    download "$from/$archive" "$work/$archive"
    found="$(sha256 "$work/$archive")"
    [ "$found" = "$expected" ] || fail "$archive: expected the SHA-256 $expected, found $found"
    tar -xzf "$work/$archive" -C "$work"
    mkdir -p "$folder"
    # Written beside the old one and renamed, so that a program that runs goes on.
    cp "$work/fieldmark-$target/fieldmark" "$folder/.fieldmark.new"
    chmod 755 "$folder/.fieldmark.new"
    mv "$folder/.fieldmark.new" "$folder/fieldmark"
    echo "installed fieldmark @VERSION@ in $folder"
    case ":$PATH:" in
    *":$folder:"*) ;;
    *) echo "add $folder to PATH to run it as fieldmark" ;;
    esac
}

target() {
    case "$(uname -s)" in
    Linux)
        # A system with another C library than glibc 2.35 or newer runs the static program.
        libc=musl
        version="$(getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc 2\.\([0-9]*\).*/\1/p')"
        [ -z "$version" ] || [ "$version" -lt 35 ] || libc=gnu
        system="unknown-linux-$libc"
        ;;
    Darwin) system=apple-darwin ;;
    *) fail "expected Linux or macOS, found $(uname -s); on Windows use install.ps1" ;;
    esac
    case "$(uname -m)" in
    x86_64 | amd64) echo "x86_64-$system" ;;
    aarch64 | arm64) echo "aarch64-$system" ;;
    *) fail "expected an x86-64 or ARM64 processor, found $(uname -m); use cargo install fieldmark" ;;
    esac
}

checksum() {
    case "$1" in
    x86_64-unknown-linux-gnu) echo @SHA256:x86_64-unknown-linux-gnu@ ;;
    x86_64-unknown-linux-musl) echo @SHA256:x86_64-unknown-linux-musl@ ;;
    aarch64-unknown-linux-gnu) echo @SHA256:aarch64-unknown-linux-gnu@ ;;
    aarch64-unknown-linux-musl) echo @SHA256:aarch64-unknown-linux-musl@ ;;
    x86_64-apple-darwin) echo @SHA256:x86_64-apple-darwin@ ;;
    aarch64-apple-darwin) echo @SHA256:aarch64-apple-darwin@ ;;
    esac
}

download() {
    if command -v curl >/dev/null; then
        curl -fsSL --retry 3 -o "$2" "$1" || fail "$1 could not be downloaded"
    elif command -v wget >/dev/null; then
        wget -q -O "$2" "$1" || fail "$1 could not be downloaded"
    else
        fail "expected curl or wget, found neither"
    fi
}

sha256() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$1" | cut -d ' ' -f 1
    elif command -v shasum >/dev/null; then
        shasum -a 256 "$1" | cut -d ' ' -f 1
    else
        fail "expected sha256sum or shasum, found neither"
    fi
}

fail() {
    echo "error: $*" >&2
    exit 1
}

# All of it has arrived when this line runs.
main
