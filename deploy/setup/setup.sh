#!/usr/bin/env bash
# Makes a Debian or Ubuntu machine with Rust, Python 3 + pip and npm ready to build and run Rollcall.
# Does only what is not done yet. System packages need root; all else lands in .assets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
  printf 'set-up: error: %s\n' "$1" >&2
  exit 1
}

# need COMMAND WHAT-TO-DO
need() {
  command -v "$1" >/dev/null 2>&1 || fail "$1 not found: $2"
}

# FFmpeg's libraries and program; clang for their bindings; a C compiler for SQLite and the kernels.
PACKAGES=(
  ffmpeg libavcodec-dev libavdevice-dev libavfilter-dev libavformat-dev libavutil-dev
  libswresample-dev libswscale-dev clang libclang-dev pkg-config gcc g++ libc6-dev make
)
# Servers that the tests of capture start: RTSP by GStreamer, RTMP and HTTP by nginx.
PACKAGES+=(gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good nginx libnginx-mod-rtmp)
# The browser that the page's tests drive, and a font for it. Ubuntu has it under another name.
BROWSER=chromium
grep -qs '^ID=ubuntu$' /etc/os-release && BROWSER=chromium-browser
PACKAGES+=("$BROWSER" fonts-dejavu-core)

has_browser() {
  command -v chromium || command -v chromium-browser || command -v google-chrome
} >/dev/null 2>&1

system_packages() {
  if ! command -v dpkg-query >/dev/null 2>&1; then
    # Not Debian: the names differ, the needs do not.
    need ffmpeg "install FFmpeg 5.1 or newer with its development files"
    need clang "install clang and libclang"
    need pkg-config "install pkg-config"
    has_browser || fail "no browser found for the page's tests: install Chromium"
    pkg-config --exists libavcodec libavformat libavutil libavfilter libavdevice libswscale libswresample ||
      fail "FFmpeg's development files not found by pkg-config: install them"
    return
  fi
  local missing=() package installed
  installed="$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null)"
  for package in "${PACKAGES[@]}"; do
    grep -qx "installed $package" <<<"$installed" && continue
    # A machine may have a tool from elsewhere: another compiler, pkgconf under the older name.
    case "$package" in
      "$BROWSER") has_browser && continue ;;
      ffmpeg | clang | pkg-config | gcc | g++ | make) command -v "$package" >/dev/null 2>&1 && continue ;;
    esac
    missing+=("$package")
  done
  [[ ${#missing[@]} -eq 0 ]] && return
  if [[ "$(id -u)" -ne 0 ]]; then
    fail "system packages are missing. Run this, then again what you ran:

    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}
"
  fi
  printf 'set-up: installing system packages: %s\n' "${missing[*]}"
  local log
  log="$(mktemp)"
  if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "apt-get could not install ${missing[*]}; its whole output is in $log"
  fi
  rm -f "$log"
  # The tests start their own; nobody asked for a web server on this machine.
  if [[ " ${missing[*]} " == *" nginx "* && -d /run/systemd/system ]]; then
    systemctl disable --now nginx >/dev/null 2>&1 || true
  fi
}

need cargo "install Rust 1.95 or newer (rustup is the usual way) and open a new shell"
need python3 "apt-get install python3 python3-pip"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
  fail "python3 is $(python3 -V 2>&1), set-up needs 3.9 or newer"
system_packages
if python3 -B deploy/setup/assets.py --check; then
  echo "set-up: up to date"
  exit 0
fi
python3 -m pip --version >/dev/null 2>&1 ||
  fail "python3 has no pip: apt-get install python3-pip"
need npm "apt-get install npm"
exec python3 -B deploy/setup/assets.py
