#!/usr/bin/env bash
# Installs other people's podcast programs for `make test-podcasts`, and prints their versions. What can't be had is
# named and left out. Nothing is installed into the project's own environment.
#
# CASTGET_GIT and FEEDVALIDATOR_GIT name other places of those two repositories.
set -uo pipefail
cd "$(dirname "$0")"
here=$(cd ../.. && pwd)/build/podcast_programs
castget_git=${CASTGET_GIT:-https://github.com/mlj/castget}
castget_commit=e97b179227b4fc7e2e2bc5a373933624c0467daa
feedvalidator_git=${FEEDVALIDATOR_GIT:-https://github.com/w3c/feedvalidator}
feedvalidator_commit=43dabeb217bd8d8b0a3f12f3a6e7c39a8619d9a8
export DEBIAN_FRONTEND=noninteractive GIT_TERMINAL_PROMPT=0 PIP_DISABLE_PIP_VERSION_CHECK=1
mkdir -p "$here"
log=$here/install.log
: >"$log"

left_out() { echo "$1: LEFT OUT: $2"; }
has() { command -v "$1" >/dev/null; }
apt_updated=
apt_install() { # PACKAGE...
  has apt-get && [ "$(id -u)" = 0 ] || return 1
  if [ -z "$apt_updated" ]; then timeout 300 apt-get update -qq >>"$log" 2>&1 || return 1; fi
  apt_updated=1
  timeout 600 apt-get install -qqy --no-install-recommends "$@" >>"$log" 2>&1
}
checkout() { # ADDRESS COMMIT FOLDER
  timeout 120 git clone -q "$1" "$3.new" >>"$log" 2>&1 && git -C "$3.new" checkout -q "$2" >>"$log" 2>&1 &&
    rm -rf "$3" && mv "$3.new" "$3" && return
  rm -rf "$3.new"
  return 1
}

for program in gpo:gpodder podget:podget podboat:newsboat mpv:mpv liquidsoap:liquidsoap ezstream:ezstream \
  ices2:ices2 gst-launch-1.0:gstreamer1.0-tools curl:curl nginx:nginx caddy:caddy; do
  command=${program%%:*} package=${program#*:}
  has "$command" || case $package in
    nginx | caddy) [ -d /run/systemd/system ] || apt_install "$package" ;;  # which starts a service where it can
    gstreamer*) apt_install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good ;;
    *) apt_install "$package" ;;
  esac || true
  if has "$command"; then echo "$package $(dpkg-query -Wf '${Version}' "$package" 2>/dev/null || echo "(own)")"
  else left_out "$package" "apt could not install it, or would start it as a service"; fi
done

if ! cmp -s requirements.txt "$here/venv/installed"; then
  rm -rf "$here/venv"
  if python3 -m venv "$here/venv" >>"$log" 2>&1 && timeout 300 "$here/venv/bin/pip" install -q -r requirements.txt >>"$log" 2>&1
  then cp requirements.txt "$here/venv/installed"
  else rm -rf "$here/venv"; fi
fi
if [ -d "$here/venv" ]; then "$here/venv/bin/pip" list --format freeze 2>/dev/null | grep -iE '^(greg|yt-dlp)=='
else left_out "greg, yt-dlp" "pip could not install them"; fi

if [ ! -x "$here/castget/bin/castget" ]; then
  if ! { { has autoreconf && has pkg-config && pkg-config --exists libcurl glib-2.0 libxml-2.0; } ||
    apt_install autoconf automake libtool gcc make pkg-config libcurl4-openssl-dev libglib2.0-dev libxml2-dev; }
  then left_out castget "its libraries could not be installed"
  elif ! checkout "$castget_git" "$castget_commit" "$here/castget-source"
  then left_out castget "its source can't be reached"
  elif ! (cd "$here/castget-source" && autoreconf -i && ./configure --without-taglib --prefix="$here/castget" && make install) >>"$log" 2>&1
  then left_out castget "it could not be built (see $log)"
  fi
fi
if [ -x "$here/castget/bin/castget" ]; then "$here/castget/bin/castget" --version | head -1; fi

if [ "$(git -C "$here/feedvalidator" rev-parse HEAD 2>/dev/null)" != "$feedvalidator_commit" ]; then
  checkout "$feedvalidator_git" "$feedvalidator_commit" "$here/feedvalidator" || true
fi
if [ -d "$here/feedvalidator" ] && [ -d "$here/venv" ]; then echo "feedvalidator ${feedvalidator_commit:0:7}"
else left_out feedvalidator "its source or its libraries can't be reached"; fi

if ! has node || ! has npm; then left_out podcast-partytime "node and npm are not both installed"
elif [ node_modules/.package-lock.json -nt package-lock.json ] || { timeout 300 npm ci --loglevel error >>"$log" 2>&1 && touch node_modules/.package-lock.json; }
then echo "podcast-partytime $(node -p 'require("./node_modules/podcast-partytime/package.json").version')"
else left_out podcast-partytime "npm could not install it"; fi
