#!/usr/bin/env bash
# boot.sh UNITS: boots systemd in namespaces of its own, apart from the network, with the units in a folder; ends when
# test.target's service ends, with its success. /var/lib and /run are empty and go with it. Needs root.
set -euo pipefail
group=/sys/fs/cgroup/$([ -d /sys/fs/cgroup/unified ] && echo unified/)aircheck-test-$$
mkdir "$group"
trap 'find "$group" -depth -type d -exec rmdir {} +' EXIT
(
  echo "$BASHPID" >"$group/cgroup.procs"
  exec unshare --pid --fork --kill-child --mount --cgroup --uts --ipc --mount-proc bash -ec '
    mount --make-rprivate /
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /run/systemd/system /run/lock
    cp -r "$0"/* /run/systemd/system/
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs /var/lib
    exec env -i container=aircheck PATH="$PATH" /lib/systemd/systemd --system --unit=test.target --log-target=console \
      --show-status=0' "$1" </dev/null
)
